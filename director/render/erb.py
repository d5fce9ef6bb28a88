"""ERB templates, filled in by one resident Ruby process. Source: release contract, section 17.

The process runs as nobody and without a network where this computer lets us, is started when the first template needs it, and
started again, a bounded number of times, when a template kills or blocks it. See `erb_worker.rb` for the protocol.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from director import errors
from director.render.engine import Failure, Outcome, Source

_WORKER = Path(__file__).with_name("erb_worker.rb")
_BOOT = "eval(STDIN.read(Integer(ARGV[0])).force_encoding('UTF-8'), TOPLEVEL_BINDING, 'erb_worker.rb', 1)"
_BATCH_BYTES = 4 << 20
_BATCH_JOBS = 256
_MOST_TEMPLATES = 20_000


class Work:
    """One context with the templates to fill in: `spec`, `properties` and `links` are JSON texts, encoded. Works that have the same
    properties or links share the object, and it is sent once."""

    __slots__ = ("links", "name", "properties", "spec", "templates")

    def __init__(self, name: str, spec: bytes, properties: bytes, links: bytes, templates: Sequence[Source]) -> None:
        self.name = name
        self.spec = spec
        self.properties = properties
        self.links = links
        self.templates = templates


class _Died(Exception):
    """The process ended or blocked; `why` says which."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Erb:
    """The resident process. Safe to call from many threads; calls wait for each other."""

    def __init__(
        self, ruby: str = "ruby", *, isolate: bool = True, seconds: float = 30.0, grace_seconds: float = 10.0, starts: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds` bounds one template. After `starts` deaths in one call the rest of the call fails."""
        self._ruby = ruby
        self._isolate = isolate
        self._seconds = seconds
        self._grace = grace_seconds
        self._starts = starts
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._known: dict[tuple[str, str], str] = {}
        self._sent: set[str] = set()
        self._lock = threading.Lock()

    def fill_in(self, work: Sequence[Work]) -> list[list[Outcome]]:
        """For each work the outcomes of its templates, in order. Raises RenderError when there is no Ruby."""
        with self._lock:
            return self._fill_in(work)

    def close(self) -> None:
        """End the process. The next call starts another."""
        with self._lock:
            self._stop()

    def _fill_in(self, work: Sequence[Work]) -> list[list[Outcome]]:
        if len(self._known) > _MOST_TEMPLATES:
            # Templates of releases long gone: the process forgets them with us.
            self._stop()
            self._known.clear()
        done: list[list[Outcome]] = []
        deaths = 0
        tried_alone = False
        while len(done) < len(work):
            batch = [work[len(done)]] if tried_alone else list(_first_batch(work, len(done)))
            try:
                for outcomes in self._run(batch):
                    done.append(outcomes)
                tried_alone = False
            except _Died as death:
                self._stop()
                deaths += 1
                if tried_alone or deaths >= self._starts:
                    stuck = work[len(done)]
                    done.append([Failure(death.why)] * len(stuck.templates))
                    tried_alone = False
                    if deaths >= self._starts:
                        skipped = Failure(f"not tried: the Ruby process died {deaths} times")
                        done += [[skipped] * len(item.templates) for item in work[len(done):]]
                else:
                    # The first one without an answer is to blame, or the process was ill: once more, alone.
                    tried_alone = True
        return done

    def _run(self, batch: Sequence[Work]) -> Iterator[list[Outcome]]:
        process = self._started()
        header, bodies = self._request(batch)
        text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogateescape")
        self._write(process, b"%d\n" % len(text) + text + b"".join(bodies))
        for item in batch:
            yield self._answer(process, item)

    def _request(self, batch: Sequence[Work]) -> tuple[dict[str, object], list[bytes]]:
        define: list[list[object]] = []
        bodies: list[bytes] = []
        jobs: list[list[object]] = []
        texts: dict[int, tuple[int, bytes]] = {}
        for item in batch:
            ids = []
            for source in item.templates:
                key = self._id(source)
                if key not in self._sent:
                    self._sent.add(key)
                    text = source.text.encode("utf-8", "surrogateescape")
                    define.append([key, source.file, len(text)])
                    bodies.append(text)
                ids.append(key)
            shared = [texts.setdefault(id(text), (len(texts), text))[0] for text in (item.properties, item.links)]
            jobs.append([len(item.spec), *shared, ids])
        bodies += [text for _, text in texts.values()]
        bodies += [item.spec for item in batch]
        lengths = [len(text) for _, text in texts.values()]
        return {"define": define, "texts": lengths, "jobs": jobs, "seconds": self._seconds}, bodies

    def _id(self, source: Source) -> str:
        key = (source.file, source.text)
        if key not in self._known:
            self._known[key] = hashlib.sha256(f"{source.file}\0{source.text}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self._known[key]

    def _answer(self, process: subprocess.Popen[bytes], item: Work) -> list[Outcome]:
        deadline = self._clock() + self._seconds * max(1, len(item.templates)) + self._grace
        length = int(self._read_line(process, deadline))
        results = json.loads(self._read(process, length, deadline))["results"]
        outcomes: list[Outcome] = []
        for result in results:
            if result[0] == "ok":
                outcomes.append(self._read(process, result[1], deadline).decode("utf-8", "surrogateescape"))
            else:
                outcomes.append(Failure(str(result[2]), result[1]))
        return outcomes

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        script = _WORKER.read_bytes()
        ruby = [self._ruby_path(), "--disable=did_you_mean,error_highlight", "-e", _BOOT, str(len(script))]
        command = [*(_cage() if self._isolate else []), *ruby]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": "/nonexistent"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env=environment, bufsize=0,
            start_new_session=True,
        )
        self._write(self._process, script)
        if self._read_line(self._process, self._clock() + 30) != b"ready":
            raise _Died("the Ruby process does not start")
        return self._process

    def _ruby_path(self) -> str:
        path = shutil.which(self._ruby)
        if path is None:
            raise errors.RenderError(
                "The release has ERB templates, but there is no Ruby to fill them in",
                suggestion="Install it (apt-get install ruby), or write the templates in Jinja2 (*.j2).",
            )
        return path

    def _stop(self) -> None:
        process, self._process = self._process, None
        self._buffer = b""
        self._sent.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _write(self, process: subprocess.Popen[bytes], data: bytes) -> None:
        """The worker reads a whole batch before it answers, so that both sides never wait for each other."""
        assert process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[process.stdin.write(view) or 0:]
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _Died("the Ruby process ended") from error

    def _read_line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            self._fill(process, deadline)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _read(self, process: subprocess.Popen[bytes], length: int, deadline: float) -> bytes:
        chunks = [self._buffer]
        have = len(self._buffer)
        while have < length:
            self._buffer = b""
            self._fill(process, deadline)
            chunks.append(self._buffer)
            have += len(self._buffer)
        data = b"".join(chunks)
        self._buffer = data[length:]
        return data[:length]

    def _fill(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - self._clock())):
                raise _Died("the template does not end")
        data = os.read(process.stdout.fileno(), 1 << 18)
        if not data:
            raise _Died("the template ended the Ruby process")
        self._buffer += data


def _first_batch(work: Sequence[Work], start: int) -> Iterator[Work]:
    size = 0
    shared: set[int] = set()
    for item in work[start:start + _BATCH_JOBS]:
        yield item
        size += len(item.spec) + sum(len(text) for text in (item.properties, item.links) if id(text) not in shared)
        shared |= {id(item.properties), id(item.links)}
        if size > _BATCH_BYTES:
            return


def _cage() -> list[str]:
    """The command prefix that takes rights away: no network, user nobody, no new privileges; as much of it as works here."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    prefix: list[str] = []
    if unshare:
        for arguments in (["--net"], ["--net", "--map-current-user"]):
            candidate = [unshare, *arguments, "--"]
            if _works(candidate):
                prefix = candidate
                break
    if setpriv:
        user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        candidate = [*prefix, setpriv, *user, "--no-new-privs", "--"]
        if _works(candidate):
            return candidate
    return prefix


def _works(prefix: Sequence[str]) -> bool:
    try:
        done = subprocess.run([*prefix, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
