"""Scripts of jobs: all jobs' scripts of one kind at the same time. Source: the planning contract, section 11."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional

from . import files
from .errors import ActionError, Cancelled, ScriptFailed
from .host import Call, Host
from .shell import Script

TAIL_BYTES = 4000


def jobs_with(host: Host, jobs: List[str], name: str) -> List[str]:
    """Those of the jobs that have `bin/NAME`."""
    return [job for job in jobs if path_of(host, job, name).is_file()]


def path_of(host: Host, job: str, name: str) -> Path:
    return host.layout.data_jobs / job / _current(host, job) / "bin" / name


def _current(host: Host, job: str) -> str:
    link = host.layout.jobs / job
    return Path(str(link.resolve())).name if link.is_symlink() else "none"


def command(host: Host, job: str, name: str) -> List[str]:
    """How the machine names the script: by the stable path, as scripts look at their own `$0`."""
    if host.is_real:
        return [str(host.layout.jobs / job / "bin" / name)]
    return [str(path_of(host, job, name))]


def run_logged(call: Call, job: str, name: str, env: Mapping[str, str]) -> None:
    """Run one script, its output appended to the job's logs. Raises ScriptFailed with the last lines, Cancelled."""
    folder = call.host.layout.log / job
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / ("%s.%s.log" % (name, stream)) for stream in ("stdout", "stderr")]
    before = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    with paths[0].open("ab") as stdout, paths[1].open("ab") as stderr:
        for path in paths:
            path.chmod(0o640)
        try:
            code = Script(command(call.host, job, name), env).run(call.cancelled, stdout, stderr)
        except OSError as error:
            raise ScriptFailed("%s of job %s cannot be run: %s" % (name, job, error)) from error
    if code != 0:
        output = "".join(files.tail(path, TAIL_BYTES, start) for path, start in before.items())
        raise ScriptFailed("%s of job %s ended with exit code %d" % (name, job, code), output)


def run_all(call: Call, name: str, jobs: List[str], one: Callable[[str], None]) -> None:
    """Run `one(job)` for all jobs at once and wait for all.

    Raises ScriptFailed `1 of 2 pre-start scripts failed. Failed Jobs: a. Successful Jobs: b.`, or Cancelled.
    """
    failures: Dict[str, Exception] = {}

    def guarded(job: str) -> None:
        try:
            one(job)
        except Exception as error:  # told below, with the others
            failures[job] = error

    threads = [threading.Thread(target=guarded, args=(job,), name="%s %s" % (name, job), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    call.check()
    if not failures:
        return
    cancelled = next((error for error in failures.values() if isinstance(error, Cancelled)), None)
    if cancelled is not None:
        raise cancelled
    failed = [job for job in jobs if job in failures]
    succeeded = [job for job in jobs if job not in failures]
    message = "%d of %d %s scripts failed. Failed Jobs: %s." % (len(failed), len(jobs), name, ", ".join(failed))
    if succeeded:
        message += " Successful Jobs: %s." % ", ".join(succeeded)
    raise ScriptFailed(message, "\n".join(_told(job, failures[job]) for job in failed))


def _told(job: str, error: Exception) -> str:
    output = error.output.rstrip() if isinstance(error, ActionError) else ""
    return "%s: %s%s" % (job, error, "\n" + output if output else "")


class Tail:
    """The last bytes of a stream."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * self._size:
            del self._data[:-self._size]

    @property
    def text(self) -> str:
        return bytes(self._data[-self._size:]).decode("utf-8", "replace")


class Capture:
    """Keeps the last bytes of both outputs, and passes all of it on when the director wants to see it."""

    def __init__(self, call: Call, size: int, stream: bool) -> None:
        import codecs

        self.tails = {"stdout": Tail(size), "stderr": Tail(size)}
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in self.tails}
        self._call: Optional[Call] = call if stream else None

    def __call__(self, name: str, data: bytes) -> None:
        self.tails[name].add(data)
        if self._call is not None:
            text = self._decoders[name].decode(data)
            if text:
                self._call.progress({"stream": name, "text": text})
