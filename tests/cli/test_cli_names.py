"""`dns`: how far the records have come, and why a machine answers as it does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_world import Cli, Script

from director.state.instances import InstanceRow
from director.state.vms import VmRow

ID = "3b1c4dcb-0000-4000-8000-00000000000{}"

RECORDS = {
    "name": "q-s0.web.default.app.bosh.", "type": "A", "zone": "bosh.", "handler": "records", "prepared": True, "records_version": 7,
    "selections": [{
        "form": "a long query", "filter": "smart", "health": "on", "records": [
            {"instance": "web/a", "deployment": "app", "network": "default", "ip": "10.0.0.5", "state": "running", "named": True},
            {"instance": "web/b", "deployment": "app", "network": "default", "ip": "10.0.0.6", "state": "failing", "named": False}],
    }],
}
OTHERS = {
    "name": "example.com.", "type": "A", "zone": ".", "handler": "recursion", "prepared": False,
    "recursors": [{"server": "10.0.0.2:53", "usual_seconds": 0.1, "failures_in_a_row": 2}], "cache": {"state": "fresh", "seconds": 12},
}


@pytest.fixture
def machines(cli: Cli) -> Cli:
    """Two instances; the second is behind."""
    store = cli.world.store
    store.deployments.ensure("app")
    for index in (0, 1):
        store.instances.add(InstanceRow(ID.format(index), "app", "web", index))
        store.vms.add(VmRow(f"vm-{index}", f"t-{index}", "app", f"agent-{index}", instance_id=ID.format(index), active=True))
    return cli


def publish(cli: Cli) -> int:
    store = cli.world.store
    row = store.dns.begin("content")
    store.dns.publish(row.version, "blob", "sha256:x")
    return row.version


def told(explanation: dict[str, Any], problem: str = "") -> str:
    status = {"records": {"version": 7, "count": 2, "problem": problem, "left_out": []}}
    return json.dumps({"instance": f"web/{ID.format(0)}", "explanation": explanation, "status": status})


def test_nothing_is_published_yet(cli: Cli) -> None:
    (row,) = cli.ok("dns", "--json").rows
    assert (row["version"], row["on"]) == ("none", "0 of 0 machines")


def test_who_is_behind_and_since_when(machines: Cli) -> None:
    first, second = publish(machines), publish(machines)
    machines.world.store.dns.acknowledge(ID.format(0), second)
    machines.world.store.dns.acknowledge(ID.format(1), first)
    found = machines.ok("dns", "--json")
    (row,) = found.json["Tables"][1]["Rows"]
    assert (row["deployment"], row["instance"], row["version"]) == ("app", f"web/{ID.format(1)}", str(first))
    assert row["behind_since"].startswith("20")
    assert (found.rows[0]["version"], found.rows[0]["on"]) == (str(second), "1 of 2 machines")
    machines.world.store.dns.acknowledge(ID.format(1), second)
    found = machines.ok("dns", "status", "--json")
    assert found.json["Tables"][1]["Rows"] == []
    assert found.rows[0]["on"] == "2 of 2 machines"
    assert len(machines.ok("dns").out.splitlines()) == 1


def test_a_name_is_explained_with_the_machines_it_stands_for(machines: Cli) -> None:
    machines.tasks.scripts["explain_name"] = Script(result=told(RECORDS))
    found = machines.ok("-d", "app", "dns", "query", "q-s0.web.default.app.bosh", "--on", "web/0", "--json").json["Tables"]
    answer, rows = found[0]["Rows"][0], found[1]["Rows"]
    assert (answer["handler"], answer["filter"], answer["records"]) == (
        "records", "smart: 1 of 2 named", "version 7, 2 of instances")
    assert [(row["ip"], row["health"], row["named"]) for row in rows] == [("10.0.0.5", "running", "true"), ("10.0.0.6", "failing", "false")]
    assert machines.tasks.created[-1] == (
        "explain_name", {"instance": ID.format(0), "name": "q-s0.web.default.app.bosh", "type": "A"})


def test_a_name_of_others_is_explained_with_recursors_and_cache(machines: Cli) -> None:
    machines.tasks.scripts["explain_name"] = Script(result=told(OTHERS, "the director did not send it"))
    out = machines.ok("-d", "app", "dns", "query", "example.com", "--on", f"web/{ID.format(0)}", "--type", "aaaa").out
    assert "10.0.0.2:53, 2 failures in a row" in out
    assert "state fresh, seconds 12" in out
    assert "the director did not send it" in out
    assert machines.tasks.created[-1][1]["type"] == "AAAA"


@pytest.mark.parametrize(("arguments", "message"), [
    (("dns", "query", "a.bosh"), "'query' needs a name and an instance"),
    (("dns", "query", "--on", "web/0"), "'query' needs a name and an instance"),
    (("-d", "app", "dns", "query", "a.bosh", "--on", "web"), "Expected one instance"),
    (("-d", "app", "dns", "query", "a.bosh", "--on", "web/7"), "doesn't exist"),
    (("dns", "status", "a.bosh"), "'status' takes no name and no instance"),
    (("dns", "serve"), "A records file is needed"),
    (("dns", "serve", "--records", "nowhere.json"), "There is no file 'nowhere.json'"),
])
def test_what_is_missing_is_said(machines: Cli, arguments: tuple[str, ...], message: str) -> None:
    found = machines(*arguments)
    assert found.code == 1
    assert message in found.err
