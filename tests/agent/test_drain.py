"""The drain protocol: rows of the planning contract, section 12, and of the agent contract, section 8."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from director.guest.agent.actions import drain
from director.guest.agent.errors import ActionError, Cancelled, InvalidArguments, ScriptFailed
from director.guest.agent.spec import Spec

from .conftest import Machine

JOB = {"templates": [{"name": "a"}]}
RECORD = 'echo "$@|$BOSH_JOB_STATE|${BOSH_JOB_NEXT_STATE-unset}|$(env | cut -d= -f1 | sort | tr "\\n" ,)" >> "$(dirname "$0")/../calls"\n'


def packages(**digests: str) -> dict[str, Any]:
    return {name: {"name": name, "version": "1", "sha1": "sha256:" + digest} for name, digest in digests.items()}


def calls(folder: Any) -> list[list[str]]:
    return [line.split("|") for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize(
    ("output", "slept"),
    [("0", [0]), ("5", [5]), (" 3\n\n", [3]), ("0; exit 1", [0])],
    ids=["at once", "static wait", "spaces around", "exit status means nothing"],
)
def test_a_static_drain_waits_once(machine: Machine, output: str, slept: list[int]) -> None:
    number, _, rest = output.partition(";")
    machine.job("a", drain=f"printf '{number}'; {rest or 'true'}")
    machine.spec("a")
    assert drain.run(machine.call(), "shutdown") == 0
    assert machine.slept == slept


def test_a_dynamic_drain_is_asked_again(machine: Machine) -> None:
    folder = machine.job("a", drain=RECORD + 'if [ "$1" = job_check_status ]; then echo 0; else echo -10; fi')
    machine.spec("a", persistent_disk=1024)
    drain.run(machine.call(), "shutdown", {"persistent_disk": 2048})
    assert machine.slept == [10, 0]
    first, second = calls(folder)
    assert first[:3] == ["job_shutdown hash_unchanged", '{"persistent_disk": 1024}', '{"persistent_disk": 2048}']
    assert second[:3] == ["job_check_status hash_unchanged", '{"persistent_disk": 1024}', "unset"]


def test_a_drain_may_ask_for_more_time_and_end_with_a_wait(machine: Machine) -> None:
    """Planning contract, section 27, row 26."""
    count = machine.root / "count"
    answer = f"case $(cat {count} 2>/dev/null) in x|'') echo -5;; *) echo 3;; esac; printf x >> {count}"
    folder = machine.job("a", drain=RECORD + answer)
    machine.spec("a")
    drain.run(machine.call(), "shutdown")
    assert machine.slept == [5, 5, 3]
    assert [call[0] for call in calls(folder)] == ["job_shutdown hash_unchanged", *["job_check_status hash_unchanged"] * 2]


@pytest.mark.parametrize("output", ["", "soon", "1.5", "1 2"])
def test_anything_but_one_integer_fails(machine: Machine, output: str) -> None:
    machine.job("a", drain=f"printf '{output}'; echo why >&2")
    machine.job("b", drain="echo 0")
    machine.spec("a", "b")
    with pytest.raises(ScriptFailed) as caught:
        drain.run(machine.call(), "shutdown")
    assert caught.value.message == "1 of 2 drain scripts failed. Failed Jobs: a. Successful Jobs: b."
    assert "Script did not return a signed integer" in caught.value.output
    assert "why" in caught.value.output


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        ({}, {"configuration_hash": "h"}, ["job_new", "hash_new"]),
        ({"configuration_hash": "h", "job": JOB}, {"configuration_hash": "h"}, ["job_changed", "hash_unchanged"]),
        ({"configuration_hash": "h", "job": JOB}, {"configuration_hash": "i"}, ["job_changed", "hash_changed"]),
        (
            {"configuration_hash": "h", "job": JOB, "packages": packages(same="1", changed="2", gone="3")},
            {"configuration_hash": "h", "packages": packages(zebra="9", same="1", changed="4")},
            ["job_changed", "hash_unchanged", "changed", "zebra"],
        ),
    ],
)
def test_arguments_of_an_update(current: dict[str, Any], wanted: dict[str, Any], expected: list[str]) -> None:
    assert drain.first_arguments("update", Spec(current), Spec(wanted)) == expected


def test_a_shutdown_without_spec_has_no_next_state(machine: Machine) -> None:
    folder = machine.job("a", drain=RECORD + "echo 0")
    machine.spec("a")
    drain.run(machine.call(), "shutdown")
    (only,) = calls(folder)
    assert only[0] == "job_shutdown hash_unchanged"
    assert only[2] == "unset"


def test_scripts_have_no_other_environment(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    folder = machine.job("a", drain=RECORD + "echo 0")
    machine.spec("a")
    drain.run(machine.call(), "shutdown", {})
    names = set(calls(folder)[0][3].strip(",").split(","))
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "BOSH_JOB_STATE", "BOSH_JOB_NEXT_STATE"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("status",), "Unexpected call with drain type 'status'"),
        (("update",), "Drain update requires new spec"),
        (("sometimes",), "Unknown drain type sometimes"),
    ],
)
def test_refused_types(machine: Machine, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InvalidArguments, match=sentence):
        drain.run(machine.call(), *arguments)


def test_processes_are_unmonitored_first_and_the_health_file_says_failing(machine: Machine) -> None:
    machine.monit.add("a")
    machine.job("a", drain=f"cat {machine.host.layout.health} > $(dirname $0)/../seen; echo 0")
    machine.spec("a")
    drain.run(machine.call(), "shutdown")
    assert machine.monit.acts == [("unmonitor", ["a"])]
    seen = machine.host.layout.data_jobs / "a/v1/seen"
    assert json.loads(seen.read_text()) == {"state": "failing"}


def test_cancelled_while_the_script_runs(machine: Machine) -> None:
    machine.job("a", drain="trap 'echo ended > $(dirname $0)/../ended; exit' TERM; touch $(dirname $0)/../begun; sleep 60 & wait")
    machine.spec("a")
    cancelled = threading.Event()
    folder = machine.host.layout.data_jobs / "a/v1"

    def cancel() -> None:
        while not (folder / "begun").exists():
            time.sleep(0.01)
        cancelled.set()

    threading.Thread(target=cancel).start()
    with pytest.raises(Cancelled, match="Script was cancelled by user request"):
        drain.run(machine.call(cancelled), "shutdown")
    assert (folder / "ended").exists()


def test_a_script_that_cannot_run_fails(machine: Machine) -> None:
    machine.job("a", drain="#!/no/such/interpreter\n")
    machine.spec("a")
    with pytest.raises(ActionError, match=r"1 of 1 drain scripts failed\. Failed Jobs: a\."):
        drain.run(machine.call(), "shutdown")
