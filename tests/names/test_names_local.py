"""How a machine finds out how it is: monit, processes, jobs' scripts. Source: DNS contract, section 4.3; agent contract, 4.4 and 4.5."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from director.guest.dns.local import monit, watched
from director.guest.dns.local.jobs import Jobs
from director.guest.dns.local.monit import Monit, Places
from director.guest.dns.local.watch import Watch
from director.guest.dns.loop import Loop
from director.guest.dns.peers.speaker import Local


def status(*services: tuple[str, int, int, int], group: str = "vcap") -> bytes:
    """Monit's document: name, monitor, status, pid of each service."""
    items = "".join(
        f'<service name="{name}"><type>3</type><monitor>{monitored}</monitor><status>{state}</status><pid>{pid}</pid></service>'
        for name, monitored, state, pid in services)
    members = "".join(f"<service>{name}</service>" for name, *_ in services)
    return (
        f'<?xml version="1.0"?><monit><services>{items}'
        '<service name="system"><type>5</type><monitor>1</monitor><status>0</status></service>'
        f'</services><servicegroups><servicegroup name="{group}">{members}</servicegroup></servicegroups></monit>').encode()


ME = os.getpid()


@pytest.mark.parametrize(("services", "expected"), [
    pytest.param([], "running", id="no services"),
    pytest.param([("a", 1, 0, ME)], "running", id="running"),
    pytest.param([("a", 1, 0, ME), ("b", 2, 0, 0)], "starting", id="one starts"),
    pytest.param([("a", 1, 0, ME), ("b", 0, 0, 0)], "failing", id="one is not monitored, as while draining"),
    pytest.param([("a", 1, 512, 0)], "failing", id="one is not there"),
])
def test_the_state_of_all_services(services: list[tuple[str, int, int, int]], expected: str) -> None:
    assert monit.read(status(*services))[0] == expected


def test_services_of_other_groups_do_not_count() -> None:
    assert monit.read(status(("a", 0, 0, 0), group="others"))[0] == "running"


class FakeMonit:
    """Answers on a Unix socket like monit."""

    def __init__(self, path: Path) -> None:
        self.answer = status()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + self.answer)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(*(str(tmp_path / name) for name in ("monit.sock", "stopped", "health.json", "jobs")))


def test_a_process_that_is_gone_is_seen_before_monit_sees_it(places: Places) -> None:
    process = subprocess.Popen(["sleep", "60"])
    fake = FakeMonit(Path(places.monit_socket))
    fake.answer = status(("web", 1, 0, process.pid))
    looked = Monit(places)
    assert looked.look() == "running"
    process.kill()
    process.wait()
    assert looked.glance() == "failing"
    fake.close()


def test_a_stopped_instance_is_stopped_whatever_monit_says(places: Places) -> None:
    fake = FakeMonit(Path(places.monit_socket))
    looked = Monit(places)
    assert looked.look() == "running"
    Path(places.stopped).touch()
    assert looked.glance() == "stopped"
    fake.close()


@pytest.mark.parametrize("answer", [b"", b"<monit>", b"no xml"])
def test_a_monit_that_says_nothing_sensible_is_failing(places: Places, answer: bytes) -> None:
    fake = FakeMonit(Path(places.monit_socket))
    fake.answer = answer
    assert Monit(places).look() == "failing"
    fake.close()


@pytest.mark.parametrize(("text", "expected"), [
    ('{"state":"running"}', "running"), ('{"state":"stopped"}', "stopped"), ("", "failing"), ("[]", "failing"), (None, "failing"),
])
def test_without_monit_it_is_what_the_agent_wrote(places: Places, text: str | None, expected: str) -> None:
    if text is not None:
        Path(places.health).write_text(text)
    assert Monit(places).look() == expected


def job(places: Places, name: str, script: str | None, groups: list[int] = []) -> Path:  # noqa: B006 - never changed
    folder = Path(places.jobs) / name
    (folder / ".bosh").mkdir(parents=True)
    (folder / ".bosh/links.json").write_text(json.dumps([{"group": str(number), "name": name, "type": "x"} for number in groups]))
    if script is not None:
        path = folder / "bin/dns/healthy"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return folder


def settle(jobs: Jobs, now: float) -> None:
    """Begin what is due, and wait until it has ended."""
    jobs.look()
    jobs.attend(now)
    for script in jobs._scripts.values():
        if script._process is not None:
            script._process.wait()
    jobs.attend(now + 0.01)


def test_scripts_decide_for_their_groups_and_for_the_machine(places: Places) -> None:
    job(places, "good", "exit 0", [7, 8])
    job(places, "bad", "exit 3", [9])
    job(places, "plain", None, [10])
    jobs = Jobs(places.jobs, 5.0, 5.0)
    jobs.look()
    assert jobs.failing, "nothing is known before the first run ended"
    settle(jobs, 0.0)
    assert jobs.failing
    assert jobs.groups == {"7": True, "8": True, "9": False}


def test_a_script_that_cannot_be_started_is_failing(places: Places) -> None:
    (job(places, "odd", "exit 0", [7]) / "bin/dns/healthy").write_text("not a program")
    jobs = Jobs(places.jobs, 5.0, 5.0)
    settle(jobs, 0.0)
    assert jobs.groups == {"7": False}


def test_a_script_runs_once_at_a_time_and_not_for_ever(places: Places, tmp_path: Path) -> None:
    started: list[str] = []

    def run(path: str) -> subprocess.Popen[bytes]:
        started.append(path)
        return subprocess.Popen(["sleep", "600"], start_new_session=True)

    job(places, "slow", "sleep 600", [7])
    jobs = Jobs(places.jobs, 2.0, 5.0, run)
    jobs.look()
    for now in (0.0, 1.0, 2.0, 4.9):
        jobs.attend(now)
    assert len(started) == 1
    jobs.attend(5.0)
    assert jobs.groups == {"7": False}
    assert len(started) == 2, "the next run is due by now"
    jobs.close()


def test_jobs_come_and_go_with_deploys(places: Places) -> None:
    folder = job(places, "good", "exit 0", [7])
    jobs = Jobs(places.jobs, 5.0, 5.0)
    settle(jobs, 0.0)
    (folder / "bin/dns/healthy").unlink()
    job(places, "late", "exit 1", [11])
    settle(jobs, 1.0)
    assert jobs.groups == {"11": False}


def test_the_watch_tells_both_together(places: Places) -> None:
    fake = FakeMonit(Path(places.monit_socket))
    job(places, "good", "exit 0", [7])
    jobs = Jobs(places.jobs, 5.0, 5.0)
    watch = Watch(Monit(places), jobs, lambda: 0.0)
    assert watch.step()["running"] is False
    settle(jobs, 0.0)
    assert watch.step() == {"running": True, "state": "running", "groups": {"7": True}}
    Path(places.stopped).touch()
    assert watch.step() == {"running": False, "state": "stopped", "groups": {"7": True}}
    fake.close()


def test_the_resolvers_end_believes_only_what_it_can_read() -> None:
    local, changes = Local(), []
    end = watched.Watched(Loop(), local, lambda: changes.append(1), ["true"])
    end.hear(b'{"running": true, "groups": {"7": false}}')
    assert (local.running, local.groups) == (True, {7: False})
    for line in (b"", b"[]", b"{}", b'{"running": true, "groups": {"x": true}}', b'{"running": true, "groups": 3}'):
        end.hear(line)
    end.hear(b'{"running": true, "groups": {"7": false}}')
    assert len(changes) == 1


def test_a_watch_that_ends_is_started_again(tmp_path: Path) -> None:
    loop = Loop()
    local = Local()
    counted = tmp_path / "runs"
    program = f"open({str(counted)!r}, 'a').write('x'); print('{{\"running\": true, \"groups\": {{}}}}', flush=True)"
    end = watched.Watched(loop, local, lambda: None, [sys.executable, "-c", program])
    end.start()
    for _ in range(100):
        loop.turn(0.1)
        if counted.exists() and len(counted.read_text()) >= 2:
            break
    end.close()
    loop.close()
    assert len(counted.read_text()) >= 2
    assert local.running


def test_the_program_itself_ends_with_the_resolver() -> None:
    process = subprocess.Popen(watched.command(2.0, 5.0), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    told = json.loads(process.stdout.readline())
    assert told["running"] in (True, False)
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
