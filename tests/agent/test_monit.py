"""State mapping and stopping: the releases contract, section 14; the agent contract, sections 4.4, 4.5 and 8."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from director.guest.agent import monit
from director.guest.agent.actions import get_state, start, stop
from director.guest.agent.errors import ActionError

from .conftest import Machine

STATUS = """<?xml version="1.0" encoding="ISO-8859-1"?><monit id="x" incarnation="1">
<server><poll>10</poll></server><services>
<service name="agent_1_abc123"><type>5</type><status>0</status><monitor>1</monitor><pendingaction>0</pendingaction></service>
<service name="nginx"><type>3</type><status>0</status><monitor>1</monitor><pendingaction>0</pendingaction><pid>77</pid><uptime>12</uptime>
<memory><percent>0.1</percent><percenttotal>1.5</percenttotal><kilobyte>10</kilobyte><kilobytetotal>2048</kilobytetotal></memory>
<cpu><percent>0.0</percent><percenttotal>3.5</percenttotal></cpu></service>
<service name="worker"><type>3</type><status>512</status><monitor>2</monitor><pendingaction>3</pendingaction></service>
<service name="other"><type>3</type><status>0</status><monitor>1</monitor><pendingaction>0</pendingaction></service>
</services><servicegroups><servicegroup name="vcap"><service>nginx</service><service>worker</service></servicegroup>
<servicegroup name="else"><service>other</service></servicegroup></servicegroups></monit>"""


def test_status_document() -> None:
    status = monit.parse(STATUS.encode())
    assert status.generation == "abc123"
    assert status.services == [
        monit.Service("nginx", 1, 0, False, 77, 12, 2048, 1.5, 3.5),
        monit.Service("worker", 2, 512, True),
    ]


@pytest.mark.parametrize(
    ("monitor", "status", "state"),
    [(0, 0, "unknown"), (0, 512, "unknown"), (2, 0, "starting"), (2, 512, "starting"), (1, 0, "running"), (1, 512, "failing")],
)
def test_state_of_a_service(monitor: int, status: int, state: str) -> None:
    assert monit.Service("a", monitor, status, False).state == state


@pytest.mark.parametrize(
    ("states", "stopped", "expected"),
    [
        ([], False, "running"),
        ([], True, "stopped"),
        (["running", "running"], False, "running"),
        (["running", "unknown"], False, "failing"),
        (["running", "failing"], False, "failing"),
        (["starting", "failing"], False, "starting"),
        (["failing"], True, "stopped"),
        (["unknown"], True, "stopped"),
        (["running"], True, "stopped"),
    ],
)
def test_state_of_an_instance(states: list[str], stopped: bool, expected: str) -> None:
    assert monit.aggregate(states, stopped) == expected


def test_get_state_without_jobs(machine: Machine) -> None:
    state = get_state.run(machine.call())
    assert (state["job_state"], state["processes"], state["vitals"], state["spec"]) == ("running", [], None, {})
    assert state["disks"] == []


def test_get_state_in_full(machine: Machine) -> None:
    machine.monit.add("a", uptime=5, memory_kib=0, memory_percent=0.5, cpu_percent=1.0, pid=os.getpid())
    machine.spec("a")
    state = get_state.run(machine.call(), True)
    assert state["processes"] == [
        {"name": "a", "state": "running", "uptime": {"secs": 5}, "mem": {"percent": 0.5}, "cpu": {"total": 1.0}},
    ]
    vitals = state["vitals"]
    assert set(vitals) == {"cpu", "disk", "load", "mem", "swap", "uptime"}
    assert set(vitals["disk"]) == {"system"}
    assert all(isinstance(value, str) for value in [*vitals["cpu"].values(), *vitals["mem"].values(), *vitals["load"]])
    assert (state["configuration_hash"], state["job_state"]) == ("h1", "running")
    assert json.loads(machine.host.layout.health.read_text()) == {"state": "running"}


def test_monit_that_does_not_answer(machine: Machine) -> None:
    machine.monit.available = False
    assert get_state.run(machine.call())["job_state"] == "unknown"


def test_a_process_that_is_gone_fails_at_once_and_wakes_monit(machine: Machine) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    machine.monit.add("a", pid=child)
    state = get_state.run(machine.call())
    assert (state["job_state"], state["processes"][0]["state"]) == ("failing", "failing")
    assert ("wake", []) in machine.monit.acts


def test_after_stop_all_is_stopped(machine: Machine) -> None:
    machine.monit.add("a")
    machine.monit.add("b", status=512)
    stop.run(machine.call())
    assert machine.monit.acts == [("stop", ["a", "b"])]
    assert get_state.run(machine.call())["job_state"] == "stopped"
    assert json.loads(machine.host.layout.health.read_text()) == {"state": "stopped"}


def test_stop_without_services(machine: Machine) -> None:
    assert stop.run(machine.call()) == "stopped"


def clock_of(machine: Machine) -> Any:
    return lambda: sum(machine.slept)


def test_stop_takes_five_minutes_at_most(machine: Machine) -> None:
    for name in ("a", "b"):
        machine.monit.add(name)
        machine.monit.stubborn[name] = monit.Service(name, 1, 0, True)
    with pytest.raises(ActionError, match=r"^Timed out waiting for services 'a, b' to stop after 5 minutes$"):
        stop.run(machine.call(), clock=clock_of(machine))
    assert 300 <= sum(machine.slept) < 301


def test_a_service_that_cannot_be_stopped(machine: Machine) -> None:
    machine.monit.add("a")
    machine.monit.stubborn["a"] = monit.Service("a", 1, 2048, False)
    with pytest.raises(ActionError, match=r"^Stopping services '\[a\]' errored$"):
        stop.run(machine.call())


def test_what_is_still_alive_after_stopping_is_an_error(machine: Machine) -> None:
    machine.monit.add("a", pid=os.getpid())  # monit unmonitors a service whose stop program failed as if it had ended
    with pytest.raises(ActionError, match=r"^Stopping services '\[a\]' errored$"):
        stop.run(machine.call())


def test_drained_services_are_monitored_again_so_that_monit_stops_them(machine: Machine) -> None:
    child = subprocess.Popen(["sleep", "100"])
    for name, pid in (("alive", child.pid), ("dead", 0)):
        (machine.root / name).write_text(str(pid))
        text = f"check process {name}\n  with pidfile {machine.root / name}\n  group vcap\n"
        (machine.host.layout.monit_jobs / f"0000_{name}.monitrc").write_text(text)
        machine.monit.add(name, monitor=0)
    act = machine.monit.act

    def obey(action: str, names: Sequence[str]) -> None:
        act(action, names)
        if action == "stop":
            child.kill()
            child.wait()

    machine.monit.act = obey  # type: ignore[method-assign]
    stop.run(machine.call())
    assert machine.monit.acts == [("monitor", ["alive"]), ("stop", ["alive", "dead"])]


def test_stop_waits_for_pending_actions_first(machine: Machine) -> None:
    machine.monit.add("a", pending=True)
    call = machine.call()

    def ready(seconds: float) -> None:
        machine.monit.add("a")

    call.pause = ready  # type: ignore[method-assign]
    stop.run(call)
    assert machine.monit.acts == [("stop", ["a"])]


def test_start_without_jobs_removes_the_marker(machine: Machine) -> None:
    machine.host.layout.stopped.write_text("")
    machine.spec()
    assert start.run(machine.call()) == "started"
    assert get_state.run(machine.call())["job_state"] == "running"


def test_configuration_is_named_by_its_content(machine: Machine) -> None:
    real = monit.Monit(machine.host.layout, machine.shell)
    assert real.configure("agent-1")
    text = machine.host.layout.monitrc.read_text()
    assert not real.configure("agent-1")
    (machine.host.layout.monit_jobs / "0000_a.monitrc").write_text("check process a\n")
    assert real.configure("agent-1")
    assert machine.host.layout.monitrc.read_text() != text
    assert machine.host.layout.monitrc.stat().st_mode & 0o777 == 0o600
    assert "set daemon 10" in text


def test_a_process_that_monit_does_not_know_to_be_back_wakes_it(machine: Machine) -> None:
    pid_file = machine.root / "pid"
    text = f'check process other\n  with pidfile /x\nCHECK PROCESS a MATCHING "y"\ncheck process a\n  PIDFILE {pid_file}\n  group vcap\n'
    (machine.host.layout.monit_jobs / "0000_a.monitrc").write_text(text)
    machine.monit.add("a", status=monit.NOT_EXISTING)
    assert get_state.run(machine.call())["job_state"] == "failing"
    assert machine.monit.acts == []
    pid_file.write_text(str(os.getpid()))
    get_state.run(machine.call())
    assert machine.monit.acts == [("wake", [])]
    assert (machine.monit.pid_file("other"), machine.monit.pid_file("none")) == ("/x", "")
