"""A director of its own in a temporary folder, with networks of its own, and all that the benchmarks deploy."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.e2e.harness import CAISSON, ROOT, Director, Outcome, traces

PREFIX = "10.93.16."
BARE_PREFIX = "10.93.17."
RELEASES = sorted(path.parent.parent.name for path in (ROOT / "releases").glob("*/config/final.yml"))
Made = TypeVar("Made")

IDLE_RELEASE = {
    "config/final.yml": "name: idle\n",
    "jobs/idle/spec": "name: idle\ntemplates: {ctl.erb: bin/ctl}\npackages: []\nproperties: {}\n",
    "jobs/idle/monit": (
        "check process idle\n  with pidfile /var/vcap/sys/run/idle/idle.pid\n"
        '  start program "/var/vcap/jobs/idle/bin/ctl start" with timeout 30 seconds\n'
        '  stop program "/var/vcap/jobs/idle/bin/ctl stop" with timeout 30 seconds\n  group vcap\n'
    ),
    "jobs/idle/templates/ctl.erb": (
        "#!/bin/bash\nset -eu\npidfile=/var/vcap/sys/run/idle/idle.pid\nmkdir -p /var/vcap/sys/run/idle\n"
        'case "$1" in\n'
        '  start) exec start-stop-daemon --start --oknodo --background --make-pidfile --pidfile "$pidfile" --chuid vcap:vcap '
        "--startas /usr/bin/sleep -- infinity ;;\n"
        '  stop) exec start-stop-daemon --stop --oknodo --pidfile "$pidfile" --remove-pidfile --retry TERM/10/KILL/5 ;;\n'
        "esac\n"
    ),
}

IDLE_MANIFEST = """name: idle
releases: [{name: idle, version: latest}]
stemcells: [{alias: default, os: debian-bookworm, version: latest}]
update: {canaries: 0, max_in_flight: 100%, canary_watch_time: 100-60000, update_watch_time: 100-60000, serial: false}
instance_groups:
- name: idle
  instances: COUNT
  azs: [z1, z2, z3]
  vm_type: small
  stemcell: default
  networks: [{name: default}]
  jobs: [{name: idle, release: idle, properties: {}}]
"""


class World:
    """Made when first asked for, taken away with `close`, whatever happened meanwhile. `folder` is for anything temporary."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="caisson-bench-"))
        self._made: dict[str, object] = {}
        self._undo = contextlib.ExitStack()
        self._undo.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """What several benchmarks share."""
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]  # type: ignore[return-value]

    def later(self, undo: Callable[[], object]) -> None:
        """Do that at the end."""
        self._undo.callback(undo)

    def close(self) -> list[str]:
        """Remove everything; what is left on this computer all the same."""
        self._undo.close()
        return traces([str(self.folder)])

    @property
    def director(self) -> Director:
        """Running, with stemcell, releases and cloud config."""
        return self.once("director", self._director)

    def _director(self) -> Director:
        made = Director(self.folder / "state", free_port())
        self.later(made.clean)
        made.start()
        made.run("upload-stemcell", str(ROOT / "manifests/stemcells/debian-12.yml"))
        for path, text in IDLE_RELEASE.items():
            file = self.folder / "idle" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        made.run("upload-release", "--dir", str(self.folder / "idle"))
        made.run("update-cloud-config", self.file("cloud.yml", _moved("manifests/cloud-configs/local.yml")))
        return made

    @property
    def foundation(self) -> str:
        """The foundation's manifest, its releases uploaded and compiled, not deployed."""
        return self.once("foundation", self._foundation)

    def _foundation(self) -> str:
        for name in RELEASES:
            self.director.run("upload-release", "--dir", str(ROOT / "releases" / name))
        versions = {row["name"]: row["version"].rstrip("*") for row in self.director.rows("releases")}
        self.director.run(
            "update-runtime-config", str(ROOT / "manifests/runtime-configs/dns.yml"),
            "-v", f"bosh_dns_version={versions['bosh-dns']}", "-v", f"metrics_version={versions['metrics']}",
        )
        manifest = self.file("foundation.yml", _moved("manifests/foundation.yml"))
        self.deploy("foundation", manifest)
        self.delete("foundation")
        return manifest

    def idle(self, count: int) -> str:
        """A manifest of machines with one job that does nothing."""
        return self.file(f"idle-{count}.yml", IDLE_MANIFEST.replace("COUNT", str(count)))

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def deploy(self, name: str, manifest: str, *options: str) -> Outcome:
        return self.director.run("-d", name, "deploy", manifest, *options)

    def delete(self, name: str) -> Outcome:
        return self.director.run("-d", name, "delete-deployment")

    def addresses(self, name: str) -> list[str]:
        return [row["ips"].split()[0] for row in self.director.instances(name)]

    @property
    def login_key(self) -> str:
        return str(self.director.state / "login.key")


def _moved(path: str) -> str:
    """The file with our range in the place of its own, so that a foundation that runs on this computer is left alone."""
    return (ROOT / path).read_text().replace("10.244.16.", PREFIX)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(work: Callable[[], object], times: int) -> float:
    """Of the seconds that it took."""
    return sorted(seconds(work) for _ in range(times))[times // 2]


def command_seconds(arguments: list[str], times: int) -> float:
    """The median of running a command to its end."""
    return median(lambda: subprocess.run(arguments, check=True, capture_output=True, cwd=ROOT), times)


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """One line on stderr, since some of this takes a while."""
    started = time.perf_counter()
    print(f"==> {what}", file=sys.stderr, flush=True)
    yield
    print(f"    {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


__all__ = ["BARE_PREFIX", "CAISSON", "ROOT", "World", "command_seconds", "free_port", "median", "progress", "seconds"]
