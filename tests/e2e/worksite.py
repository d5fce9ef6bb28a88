"""A director of a test module with everything to deploy the probe release: releases, configs, a listener for what scripts tell."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import re
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import ROOT, Director, Outcome, wait_for
from local_left import left

from cpis.local.names import Names

HERE = Path(__file__).parent
NOT_SOURCE = shutil.ignore_patterns("dev_releases", ".dev_builds", ".mypy_cache", "__pycache__")
Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Told:
    """A line of a probe's script: its name, arguments, next states (VM/INSTANCE/DEPLOYMENT) and instance (GROUP/INDEX)."""

    script: str
    arguments: str
    states: str
    instance: str

    @property
    def short(self) -> str:
        return " ".join(filter(None, (self.script, self.arguments, self.states if self.states != "//" else "")))


class Listener:
    """Keeps what scripts on machines tell, in the order in which it came: logs on machines go with them."""

    def __init__(self) -> None:
        told: list[Told] = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline().decode().strip()
                if line:
                    told.append(Told(*line.split("|")))

        self._told = told
        self._server = socketserver.ThreadingTCPServer(("0.0.0.0", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def take(self) -> dict[str, list[str]]:
        """What was told since the last time, by instance."""
        lines, self._told[:] = list(self._told), []
        return {name: [line.short for line in lines if line.instance == name] for name in sorted({line.instance for line in lines})}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Site:
    """`net` are the first three numbers of the range that the module's machines take."""

    def __init__(self, folder: Path, net: str) -> None:
        self.folder = folder
        self.net = net
        self.listener = Listener()
        self.director = Director(folder / "state", free_port())
        self.cloud = self.director.state / "local"

    def open(self, *, names: bool = False, data: str = "probe") -> None:
        """Start, upload the probe release (and the resolver's), set the cloud config (and the runtime config)."""
        director = self.director
        director.start()
        director.run("upload-stemcell", "manifests/stemcells/debian-12.yml")
        self.upload(HERE / "releases" / data)
        director.run("update-cloud-config", str(self.write("cloud.yml", self.text("cloud.yml"))))
        if names:
            self.upload(ROOT / "releases/bosh-dns")
            version = next(row["version"] for row in director.rows("releases") if row["name"] == "bosh-dns").rstrip("*")
            director.run("update-runtime-config", str(HERE / "data/runtime.yml"), "-v", f"bosh_dns_version={version}")

    def close(self) -> None:
        """Remove everything, and see that nothing is left."""
        self.listener.close()
        self.director.clean()
        remains = left(self.cloud)
        assert not remains, remains

    def upload(self, source: Path) -> Outcome:
        """Make the release of a copy of its folder, and upload it."""
        copy = self.folder / "releases" / source.name
        shutil.copytree(source, copy, ignore=NOT_SOURCE, dirs_exist_ok=True)
        return self.director.run("upload-release", "--dir", str(copy))

    def text(self, name: str, **values: str) -> str:
        """A data file with this site's range and listener; `values` replace upper-case words."""
        text = (HERE / "data" / name).read_text()
        for word, value in {"REPORT": f"{self.net}.1:{self.listener.port}", "NET": self.net, **values}.items():
            text = text.replace(word, value)
        return text

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def deploy(self, name: str, text: str, *flags: str, check: bool = True, timeout: float = 120) -> Outcome:
        path = self.write(f"{name}.yml", text)
        return self.director.run("-d", name, "deploy", str(path), *flags, check=check, timeout=timeout)

    # What is recorded, read past the director

    def query(self, sql: str, *values: Any) -> list[Tree]:
        with sqlite3.connect(f"file:{self.director.state}/caisson.db?mode=ro", uri=True, timeout=30) as connection:
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(sql, values)]
        connection.close()
        return found

    def dump(self) -> dict[str, list[str]]:
        """All rows of all tables but those that every request touches, and the files of the cloud's records."""
        names = [row["name"] for row in self.query("select name from sqlite_master where type = 'table'")]
        tables = {name: sorted(map(str, self.query(f'select * from "{name}"'))) for name in names}
        records = sorted(self.cloud.glob("*/*/*.json"))
        return {**tables, "cloud": [f"{path.relative_to(self.cloud)} {path.read_text()}" for path in records]}

    def journal(self, since: int = 0) -> list[Tree]:
        return self.query("select * from journal where id > ? order by id", since)

    def task(self, number: int) -> Tree:
        return self.query("select * from tasks where id = ?", number)[0]

    def last_task(self, kind: str = "%") -> int:
        return int(self.query("select max(id) as id from tasks where type like ?", kind)[0]["id"])

    def task_events(self, number: int) -> list[Tree]:
        """Lines of the task's event log."""
        path = self.director.state / "tasks" / str(number) / "event"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def await_event(self, number: int, fits: Callable[[Tree], Any], what: str, seconds: float = 60) -> None:
        wait_for(lambda: any(fits(event) for event in self.task_events(number)), seconds, what, every=0.01)

    def cids(self, kind: str = "vm") -> set[str]:
        """What the cloud has."""
        return {path.parent.name for path in self.cloud.glob(f"{kind}s/*/{kind}.json")}

    def vms(self, deployment: str) -> list[str]:
        """CIDs of a deployment's machines."""
        return [str(row["cid"]) for row in self.query("select cid from vms where deployment = ?", deployment)]

    def inside(self, cid: str, *command: str) -> None:
        """Run a command in a machine's file system, from outside."""
        subprocess.run(["nsenter", "-m", "-t", init_of(Names(self.cloud).namespaces + cid), "--", *command], check=True)

    def recorded(self, kind: str = "vm") -> set[str]:
        """What the director believes to be there."""
        return {str(row["cid"]) for row in self.query(f"select cid from {kind}s")}


def init_of(namespace: str) -> str:
    """The first process of the machine in that network namespace. Not the lowest number: numbers begin anew at some time."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True).stdout.split()
    for pid in listed:
        with contextlib.suppress(OSError):
            if re.search(r"^NSpid:\t\d+\t1$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
                return pid
    raise AssertionError(f"no machine runs in {namespace}")


def done_once(rows: list[Tree]) -> None:
    """No effect of the journal was done twice, none is open."""
    tokens = [row["token"] for row in rows if row["state"] == "done"]
    assert len(tokens) == len(set(tokens))
    assert [row["effect"] for row in rows if row["state"] == "intent"] == []


def stages(events: list[Tree]) -> list[str]:
    """Titles of finished steps, `STAGE: TASK`."""
    return [f"{event['stage']}: {event['task']}" for event in events if event.get("state") == "finished"]


def vm_of(rows: list[Mapping[str, str]]) -> dict[str, str]:
    """Instance to VM cid, out of rows of `instances --details` or `vms`."""
    return {row["instance"]: row["vm_cid"] for row in rows}


def free_range() -> str:
    """The first three numbers of a /24 that nobody on this computer uses, so that suites of several checkouts can run side by side."""
    used = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    return next(net for net in (f"10.207.{random.randrange(1, 255)}" for _ in range(1000)) if f" {net}." not in used)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
