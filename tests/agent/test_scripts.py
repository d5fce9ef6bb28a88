from __future__ import annotations

import os
import threading
import time

import pytest

from director.guest.agent.actions import run_errand, run_script
from director.guest.agent.errors import ActionError, Cancelled, InvalidArguments, ScriptFailed
from director.guest.agent.shell import Script

from .conftest import Machine


def test_one_of_two_fails(machine: Machine) -> None:
    machine.job("a", pre_start="echo trying; echo broken >&2; exit 1")
    machine.job("b", pre_start="exit 0")
    machine.spec("a", "b")
    with pytest.raises(ScriptFailed) as caught:
        run_script.run(machine.call(), "pre-start", {})
    assert caught.value.message == "1 of 2 pre-start scripts failed. Failed Jobs: a. Successful Jobs: b."
    assert "a: pre-start of job a ended with exit code 1" in caught.value.output
    assert "broken" in caught.value.output


def test_all_fail(machine: Machine) -> None:
    machine.job("a", post_start="exit 1")
    machine.spec("a")
    with pytest.raises(ScriptFailed, match=r"^1 of 1 post-start scripts failed\. Failed Jobs: a\.$"):
        run_script.run(machine.call(), "post-start", {})


def test_jobs_without_the_script_are_skipped(machine: Machine) -> None:
    machine.job("a")
    machine.spec("a")
    assert run_script.run(machine.call(), "pre-start", {}) == {}


def test_output_is_appended_to_the_logs_and_the_environment_is_bare(machine: Machine) -> None:
    machine.job("a", pre_stop='echo "$BOSH_VM_NEXT_STATE $PATH ${HOME-none}"; echo e >&2')
    machine.spec("a")
    for _ in range(2):
        run_script.run(machine.call(), "pre-stop", {"BOSH_VM_NEXT_STATE": "delete"})
    log = machine.host.layout.log / "a/pre-stop.stdout.log"
    assert log.read_text() == "delete /usr/sbin:/usr/bin:/sbin:/bin none\n" * 2
    assert log.stat().st_mode & 0o777 == 0o640
    assert (machine.host.layout.log / "a/pre-stop.stderr.log").read_text() == "e\ne\n"


def test_jobs_run_at_the_same_time(machine: Machine) -> None:
    meet = machine.root / "meet"
    for mine, other in (("a", "b"), ("b", "a")):
        wait = f"for i in $(seq 200); do [ -e {meet}.{other} ] && exit 0; sleep 0.01; done; exit 1"
        machine.job(mine, pre_start=f"touch {meet}.{mine}; {wait}")
    machine.spec("a", "b")
    run_script.run(machine.call(), "pre-start", {})


def test_only_the_failing_runs_output_is_told(machine: Machine) -> None:
    machine.job("a", pre_start="echo first; exit 0")
    machine.spec("a")
    run_script.run(machine.call(), "pre-start", {})
    machine.job("a", pre_start="echo second; exit 3")
    with pytest.raises(ScriptFailed) as caught:
        run_script.run(machine.call(), "pre-start", {})
    assert "second" in caught.value.output
    assert "first" not in caught.value.output


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden"])
def test_names_that_lead_elsewhere(machine: Machine, name: str) -> None:
    with pytest.raises(InvalidArguments):
        run_script.run(machine.call(), name, {})


def test_errand_output_and_exit_code(machine: Machine) -> None:
    machine.job("x", run="echo out; echo err >&2; exit 7")
    machine.spec("x")
    assert run_errand.run(machine.call(), "x") == {"exit_code": 7, "stdout": "out\n", "stderr": "err\n"}
    assert machine.progress == []


def test_errand_killed_by_a_signal(machine: Machine) -> None:
    machine.job("x", run="kill -9 $$")
    machine.spec("x")
    assert run_errand.run(machine.call(), "x")["exit_code"] == 137


def test_errand_streams_all_and_keeps_the_end(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_errand, "KEPT_BYTES", 10)
    machine.job("x", run="seq 1 1000")
    machine.spec("x")
    result = run_errand.run(machine.call(), "x", True)
    assert result["stdout"] == "8\n999\n1000\n"[-10:]
    assert "".join(message["text"] for message in machine.progress) == "".join(f"{number}\n" for number in range(1, 1001))


def test_errand_that_is_no_job(machine: Machine) -> None:
    machine.spec("y")
    with pytest.raises(ActionError, match=r"^Could not find errand x$"):
        run_errand.run(machine.call(), "x")


def test_errand_without_a_name_is_the_first_job(machine: Machine) -> None:
    machine.job("x", run="exit 0")
    machine.spec("x", job={"name": "g", "template": "x", "templates": [{"name": "x"}]})
    assert run_errand.run(machine.call())["exit_code"] == 0
    machine.spec()
    with pytest.raises(ActionError, match="At least one job template"):
        run_errand.run(machine.call())


def test_cancelling_ends_the_whole_group(machine: Machine) -> None:
    pids = machine.root / "pids"
    machine.job("x", run=f"trap '' TERM; sleep 300 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait; sleep 300")
    machine.spec("x")
    cancelled = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            Script([str(machine.host.layout.jobs / "x/bin/run")], {}).run(cancelled, kill_after=0.2)
        except Cancelled as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not pids.exists():
        time.sleep(0.01)
    cancelled.set()
    thread.join(5)
    assert len(failed) == 1
    for pid in pids.read_text().split():
        deadline = time.monotonic() + 5
        while _state(int(pid)) not in ("", "Z"):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _state(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0]
