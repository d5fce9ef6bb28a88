"""One deployment in three clouds of this computer: a CPI of ours, our executable, and an executable that could be anybody's."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import ROOT
from local_left import left
from worksite import HERE, Site, free_range

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def nets() -> list[str]:
    """A range for each cloud."""
    found: set[str] = set()
    while len(found) < 3:
        found.add(free_range())
    return sorted(found)


@pytest.fixture(scope="module")
def site(make_site: Any, nets: list[str]) -> Iterator[Site]:
    site: Site = make_site(nets[0])
    site.director.start()
    cpis = [
        {"name": "here", "type": "local"},
        {"name": "wired", "type": "anything", "exec_path": str(executable(site.folder)),
         "properties": {"state_dir": str(site.folder / "wired")}},
        {"name": "foreign", "type": "process", "properties": {
            "path": str(executable(site.folder, FOREIGN.format(python=sys.executable, root=str(ROOT)))), "ssh_user": "vcap",
            "properties": {"state_dir": str(site.folder / "foreign")}}},
    ]
    site.director.run("update-cpi-config", str(site.write("cpi.yml", yaml.safe_dump({"cpis": cpis}))))
    site.director.run("update-cloud-config", str(site.write("cloud.yml", yaml.safe_dump(cloud_config(site, nets)))))
    site.director.run("upload-stemcell", "manifests/stemcells/debian-12.yml")
    site.upload(HERE / "releases/probe")
    try:
        yield site
    finally:
        site.director.run("director", "stop", check=False)
        for folder in clouds(site).values():
            subprocess.run([sys.executable, "-m", "cpis.local.clean", str(folder)], check=True, cwd=ROOT, timeout=300)
            assert not left(folder)


def executable(folder: Path, text: str = f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cpis.wire local\n") -> Path:
    """As an operator has it: nothing of the director's surroundings reaches it."""
    path = folder / f"cpi-{len(list(folder.glob('cpi-*')))}"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


FOREIGN = """#!{python}
# A CPI of somebody else: it knows nothing of ours, though the cloud behind it is this computer, too.
import json, subprocess, sys
surroundings = {{"PYTHONPATH": {root!r}, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}}
done = subprocess.run([{python!r}, "-m", "cpis.wire", "local"], stdin=sys.stdin, stdout=subprocess.PIPE, env=surroundings)
answer = json.loads(done.stdout)
if isinstance(answer["result"], dict):
    answer["result"].pop("caisson", None)
print(json.dumps(answer))
"""


def cloud_config(site: Site, nets: list[str]) -> dict[str, Any]:
    """A zone and a subnet for each cloud, since a range of one is not another's."""
    tree: dict[str, Any] = yaml.safe_load(site.text("cloud.yml"))
    (subnet,) = tree["networks"][0]["subnets"]
    tree["azs"] = [{"name": f"z{number}", "cpi": name} for number, name in enumerate(clouds(site), 1)]
    tree["networks"][0]["subnets"] = [
        {**json.loads(json.dumps(subnet).replace(f"{site.net}.", f"{net}.")), "azs": [f"z{number}"]} for number, net in enumerate(nets, 1)]
    return tree


def manifest(site: Site) -> str:
    """A machine with a disk in each zone."""
    text = site.text("one.yml", NAME="app", RELEASE="probe", JOB="probe", PROPERTIES='{probe: {report: "REPORT"}}')
    tree = yaml.safe_load(text.replace("REPORT", f"{site.net}.1:{site.listener.port}"))
    tree["instance_groups"][0] |= {"instances": 3, "azs": ["z1", "z2", "z3"], "persistent_disk_type": "small"}
    return yaml.safe_dump(tree)


def clouds(site: Site) -> dict[str, Path]:
    return {"here": site.director.state / "cpis" / "here", "wired": site.folder / "wired", "foreign": site.folder / "foreign"}


def there(folder: Path, kind: str) -> set[str]:
    return {path.parent.name for path in folder.glob(f"{kind}s/*/{kind}.json")}


def test_a_deployment_stands_in_all_of_them(site: Site) -> None:
    site.deploy("app", manifest(site), timeout=600)
    rows = site.query("select v.cid as cid, v.cpi as cpi, v.address as address from vms v")
    assert sorted(row["cpi"] for row in rows) == ["foreign", "here", "wired"]
    for name, folder in clouds(site).items():
        assert there(folder, "vm") == {row["cid"] for row in rows if row["cpi"] == name}
        assert there(folder, "disk") == {row["cid"] for row in site.query("select cid, cpi from disks") if row["cpi"] == name}
        assert len(there(folder, "stemcell")) == 1
    assert {row["process_state"] for row in site.director.instances("app")} == {"running"}
    users = {row["cpi"]: row["ssh_user"] for row in site.query("select cpi, ssh_user from vms")}
    assert users == {"here": "caisson", "wired": "caisson", "foreign": "vcap"}
    assert site.director.run("-d", "app", "deploy", str(site.folder / "app.yml"), timeout=300).code == 0
    assert {row["cid"] for row in site.query("select cid from vms")} == {row["cid"] for row in rows}, "the second deploy changed nothing"


def test_checks_and_orphans_ask_each(site: Site) -> None:
    assert site.director.run("cloud", "check", "here").code == 0
    rows = site.director.run("cloud", "check", "wired", "--json").rows()
    assert (rows[0]["kind"], rows[0]["result"]) == ("reach", "ok")
    assert site.director.rows("orphans", "--cloud") == []
    rows = site.director.run("cloud", "check", "foreign", "--json").rows()
    assert [(row["kind"], row["result"]) for row in rows] == [("reach", "ok"), ("permission", "unknown")]
    refused = site.director.run("update-cpi-config", str(site.write("less.yml", "cpis: [{name: here, type: local}]")), check=False)
    assert "CPI 'wired' is used by 1 instance: deployment 'app'" in refused.all
    assert os.path.exists(clouds(site)["wired"])


def test_what_stands_in_no_record_is_found_and_removed_after_a_yes(site: Site) -> None:
    """Machines whose records are gone, as after a state that was restored from an older copy."""
    lost = site.vms("app")
    site.director.run("director", "stop")
    with sqlite3.connect(site.director.state / "caisson.db") as connection:
        connection.execute("delete from vms")
        connection.execute("delete from disks")
    connection.close()
    age(site)
    site.director.start()
    rows = site.director.rows("orphans", "--cloud")
    assert {row["cid"] for row in rows if row["kind"] == "vm"} == set(lost)
    assert sorted({row["kind"] for row in rows}) == ["disk", "vm"]
    assert {row["cpi"] for row in rows} == {"here", "wired", "foreign"}
    site.director.run("orphans", "--cloud", "--remove", timeout=300)
    for folder in clouds(site).values():
        assert not there(folder, "vm")
        assert not there(folder, "disk")


def age(site: Site) -> None:
    """Half an hour passes for all machines and disks, and for what is written down beside the CPI that knows no tokens."""
    tokens = site.director.state / "cpis/foreign/tokens"
    for path in (*(path for folder in clouds(site).values() for path in folder.glob("*/*/*.json")), *tokens.glob("*.json")):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "created_at": record["created_at"] - 1800}))
