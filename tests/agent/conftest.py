from __future__ import annotations

import dataclasses
import io
import os
import tarfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from director.guest.agent import files, monit
from director.guest.agent.host import Call, Host
from director.guest.agent.shell import Result, Shell


class FakeShell(Shell):
    """Remembers commands; `answers` maps the first words of a command to (exit code, stdout)."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self.lacks: set[str] = set()

    def run(
        self, argv: Sequence[str], check: bool = True, stdin: str = "", timeout: float | None = 300.0, env: Mapping[str, str] | None = None,
    ) -> Result:
        self.ran.append(list(argv))
        line = " ".join(argv)
        for start, (code, stdout) in self.answers.items():
            if line.startswith(start):
                return Result(code, stdout, "")
        return Result(0, "", "")

    def has(self, command: str) -> bool:
        return command not in self.lacks


class FakeMonit(monit.Monit):
    """Services by name; `act` does at once what was asked, unless a service is stubborn."""

    def __init__(self, host_layout: Any, shell: Shell) -> None:
        super().__init__(host_layout, shell)
        self.services: dict[str, monit.Service] = {}
        self.acts: list[tuple[str, list[str]]] = []
        self.reloads = 0
        self.stubborn: dict[str, monit.Service] = {}
        self.available = True
        self.alive = True

    @property
    def is_alive(self) -> bool:
        return self.alive

    def add(self, name: str, **facts: Any) -> None:
        self.services[name] = monit.Service(**{"name": name, "monitor": 1, "status": 0, "pending": False, **facts})

    def status(self) -> monit.Status:
        if not self.available:
            raise monit.Unavailable("not running")
        return monit.Status("", list(self.services.values()))

    def act(self, action: str, names: Sequence[str]) -> None:
        if names or action == "wake":
            self.acts.append((action, list(names)))
        for name in names:
            if action == "stop" and name in self.stubborn:
                self.services[name] = self.stubborn[name]
            else:
                self.services[name] = self.services[name]._replace(monitor=1 if action in ("start", "monitor") else 0)

    def reload(self, name: str, seconds: float = 60.0) -> None:
        self.reloads += 1

    def wake(self) -> None:
        self.acts.append(("wake", []))


@dataclasses.dataclass
class Machine:
    """A machine in a folder."""

    root: Path
    host: Host
    shell: FakeShell
    monit: FakeMonit
    progress: list[dict[str, Any]]
    slept: list[float]

    def call(self, cancelled: threading.Event | None = None) -> Call:
        made = Call(self.host, self.progress.append, cancelled)
        pause = made.pause

        def quick(seconds: float) -> None:
            self.slept.append(seconds)
            pause(0.0)

        made.pause = quick  # type: ignore[method-assign]
        return made

    def job(self, name: str, **scripts: str) -> Path:
        """Install a job by hand, with `bin/` scripts (underscores in names are dashes)."""
        folder = self.host.layout.data_jobs / name / "v1"
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        for script, text in scripts.items():
            path = folder / "bin" / script.replace("_", "-")
            path.write_text(text if text.startswith("#!") else "#!/bin/bash\n" + text)
            path.chmod(0o750)
        files.link(self.host.layout.jobs / name, str(folder))
        (self.host.layout.log / name).mkdir(parents=True, exist_ok=True)
        return folder

    def spec(self, *jobs: str, **more: Any) -> dict[str, Any]:
        """Store a spec with these jobs."""
        tree = {"job": {"name": "g", "templates": [{"name": job} for job in jobs]}, "configuration_hash": "h1", **more}
        self.host.layout.bosh.mkdir(parents=True, exist_ok=True)
        files.write_json(self.host.layout.spec, tree)
        return tree

    def blob(self, members: Mapping[str, str | bytes | tarfile.TarInfo]) -> str:
        """Put a tgz among the blobs; its digest."""
        data = tgz(members)
        self.host.layout.blobs.mkdir(parents=True, exist_ok=True)
        path = self.host.layout.blobs / "new"
        path.write_bytes(data)
        digest = files.sha256(path)
        path.rename(self.host.layout.blobs / digest)
        return digest


def tgz(members: Mapping[str, str | bytes | tarfile.TarInfo]) -> bytes:
    """A tgz of name -> content, or of ready headers. Names ending in `/` are folders."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
                continue
            data = content.encode() if isinstance(content, str) else content
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root = tmp_path / "machine"
    root.mkdir()
    shell = FakeShell()
    host = Host(root, shell)
    fake = FakeMonit(host.layout, shell)
    host.monit = fake
    for path in (host.layout.bosh, host.layout.instance, host.layout.monit_jobs, host.layout.tmp, host.layout.log, host.layout.blobs):
        path.mkdir(parents=True)
    return Machine(root, host, shell, fake, [], [])


@pytest.fixture
def umask() -> Any:
    before = os.umask(0o022)
    yield None
    os.umask(before)


Factory = Callable[..., Machine]
