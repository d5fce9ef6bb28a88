"""`instances` and `vms`: tables, columns and what is shown when asked for more."""

from __future__ import annotations

import json

import pytest
from cli_world import Cli, Script

UUID = "aaaaaaaa-1111-2222-3333-444444444444"
ROW = {
    "vm_cid": "i-1",
    "active": True,
    "vm_created_at": "2026-01-02T03:04:05Z",
    "cloud_properties": {},
    "disk_cid": None,
    "disk_cids": ["d-1"],
    "ips": ["10.0.0.5"],
    "agent_id": "agent",
    "job_name": "db",
    "index": 0,
    "job_state": "running",
    "state": "started",
    "vm_type": "small",
    "vitals": {
        "cpu": {"sys": "0.3", "user": "1.2", "wait": "0.0"},
        "mem": {"kb": "391000", "percent": "10"},
        "swap": {"kb": "0", "percent": "0"},
        "load": ["0.01", "0.05", "0.10"],
        "uptime": {"secs": 93784},
        "disk": {"system": {"percent": "40", "inode_percent": "31"}},
    },
    "processes": [
        {"name": "postgres", "state": "running", "uptime": {"secs": 1200}, "mem": {"kb": 20480, "percent": 0.5}, "cpu": {"total": 0.1}}
    ],
    "az": "z1",
    "id": UUID,
    "bootstrap": True,
    "ignore": False,
    "stemcell": {"name": "debian", "version": "12", "api_version": 3},
}


@pytest.fixture
def rows(cli: Cli) -> Cli:
    bad = {**ROW, "index": 1, "id": UUID.replace("a", "b"), "job_state": "running", "processes": [], "vitals": None, "ips": []}
    cli.world.store.deployments.ensure("app")
    cli.tasks.scripts["fetch_instances"] = Script(result="".join(json.dumps(row) + "\n" for row in (bad, ROW)))
    return cli


def test_instances(rows: Cli) -> None:
    table = rows.ok("-d", "app", "instances", "--json").json["Tables"][0]
    assert table["Content"] == "instances"
    assert table["Header"] == {
        "instance": "Instance",
        "process_state": "Process State",
        "az": "AZ",
        "ips": "IPs",
        "deployment": "Deployment",
    }
    assert table["Rows"] == [
        {"instance": f"db/{UUID}", "process_state": "running", "az": "z1", "ips": "10.0.0.5", "deployment": "app"},
        {"instance": f"db/{UUID.replace('a', 'b')}", "process_state": "", "az": "z1", "ips": "", "deployment": "app"},
    ]


def test_instances_in_full(rows: Cli) -> None:
    found = rows.ok("-d", "app", "instances", "--ps", "--vitals", "--details", "--json").rows
    assert [row["process"] for row in found] == ["", "postgres", ""]
    assert found[0]["uptime"] == "1d 2h 3m 4s"
    assert found[0]["memory_usage"] == "10% (391 MB)"
    assert found[0]["system_disk_usage"] == "40% (31i%)"
    assert found[0]["disk_cids"] == "d-1"
    assert found[1]["memory_usage"] == "0.5% (20 MB)"
    assert found[1]["cpu_total"] == "0.1%"


def test_failing_only(rows: Cli) -> None:
    assert [row["instance"] for row in rows.ok("-d", "app", "is", "--failing", "--json").rows] == [f"db/{UUID.replace('a', 'b')}"]


def test_instances_of_all_deployments(rows: Cli) -> None:
    rows.world.store.deployments.ensure("second")
    assert len(rows.ok("instances", "--json").json["Tables"]) == 2


def test_vms(rows: Cli) -> None:
    (first, _second) = rows.ok("-d", "app", "vms", "--json").rows
    assert first == {
        "instance": f"db/{UUID}",
        "process_state": "running",
        "az": "z1",
        "ips": "10.0.0.5",
        "vm_cid": "i-1",
        "vm_type": "small",
        "active": "true",
        "stemcell": "debian/12",
    }
    assert rows.ok("-d", "app", "vms", "--column", "vm_cid").out == "i-1\t\ni-1\t\n"
