"""One deployment in two clouds of this computer: one is a CPI of ours, the other an executable that speaks BOSH's wire form."""

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
def other_net(site_net: str) -> str:
    return next(net for net in (free_range() for _ in range(100)) if net != site_net)


@pytest.fixture(scope="module")
def site_net() -> str:
    return free_range()


@pytest.fixture(scope="module")
def site(make_site: Any, site_net: str, other_net: str) -> Iterator[Site]:
    site: Site = make_site(site_net)
    site.director.start()
    cpis = [
        {"name": "here", "type": "local"},
        {"name": "wired", "type": "anything", "exec_path": str(executable(site.folder)),
         "properties": {"state_dir": str(site.folder / "wired")}},
    ]
    site.director.run("update-cpi-config", str(site.write("cpi.yml", yaml.safe_dump({"cpis": cpis}))))
    site.director.run("update-cloud-config", str(site.write("cloud.yml", yaml.safe_dump(cloud_config(site, other_net)))))
    site.director.run("upload-stemcell", "manifests/stemcells/debian-12.yml")
    site.upload(HERE / "releases/probe")
    try:
        yield site
    finally:
        site.director.run("director", "stop", check=False)
        for folder in clouds(site).values():
            subprocess.run([sys.executable, "-m", "cpis.local.clean", str(folder)], check=True, cwd=ROOT, timeout=300)
            assert not left(folder)


def executable(folder: Path) -> Path:
    """As an operator has it: nothing of the director's surroundings reaches it."""
    path = folder / "cpi"
    path.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cpis.wire local\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def cloud_config(site: Site, other_net: str) -> dict[str, Any]:
    """A subnet for each zone, since a range of one cloud is not the other's."""
    tree: dict[str, Any] = yaml.safe_load(site.text("cloud.yml"))
    (subnet,) = tree["networks"][0]["subnets"]
    other = json.loads(json.dumps(subnet).replace(f"{site.net}.", f"{other_net}."))
    tree["azs"] = [{"name": "z1", "cpi": "here"}, {"name": "z2", "cpi": "wired"}]
    tree["networks"][0]["subnets"] = [{**subnet, "azs": ["z1"]}, {**other, "azs": ["z2"]}]
    return tree


def manifest(site: Site) -> str:
    """A machine with a disk in each zone."""
    text = site.text("one.yml", NAME="app", RELEASE="probe", JOB="probe", PROPERTIES='{probe: {report: "REPORT"}}')
    tree = yaml.safe_load(text.replace("REPORT", f"{site.net}.1:{site.listener.port}"))
    tree["instance_groups"][0] |= {"instances": 2, "azs": ["z1", "z2"], "persistent_disk_type": "small"}
    return yaml.safe_dump(tree)


def clouds(site: Site) -> dict[str, Path]:
    return {"here": site.director.state / "cpis" / "here", "wired": site.folder / "wired"}


def there(folder: Path, kind: str) -> set[str]:
    return {path.parent.name for path in folder.glob(f"{kind}s/*/{kind}.json")}


def test_a_deployment_stands_in_both_and_goes_from_both(site: Site) -> None:
    site.deploy("app", manifest(site), timeout=600)
    rows = site.query("select v.cid as cid, v.cpi as cpi, v.address as address from vms v")
    assert sorted(row["cpi"] for row in rows) == ["here", "wired"]
    for name, folder in clouds(site).items():
        assert there(folder, "vm") == {row["cid"] for row in rows if row["cpi"] == name}
        assert there(folder, "disk") == {row["cid"] for row in site.query("select cid, cpi from disks") if row["cpi"] == name}
        assert len(there(folder, "stemcell")) == 1
    assert {row["process_state"] for row in site.director.instances("app")} == {"running"}
    assert site.director.run("-d", "app", "deploy", str(site.folder / "app.yml"), timeout=300).code == 0
    assert {row["cid"] for row in site.query("select cid from vms")} == {row["cid"] for row in rows}, "the second deploy changed nothing"


def test_checks_and_orphans_ask_both(site: Site) -> None:
    assert site.director.run("cloud", "check", "here").code == 0
    rows = site.director.run("cloud", "check", "wired", "--json").rows()
    assert (rows[0]["kind"], rows[0]["result"]) == ("reach", "ok")
    assert site.director.rows("orphans", "--cloud") == []
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
    assert {row["cpi"] for row in rows} == {"here", "wired"}
    site.director.run("orphans", "--cloud", "--remove", timeout=300)
    for folder in clouds(site).values():
        assert not there(folder, "vm")
        assert not there(folder, "disk")


def age(site: Site) -> None:
    """Half an hour passes for all machines and disks."""
    for folder in clouds(site).values():
        for path in folder.glob("*/*/*.json"):
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "created_at": record["created_at"] - 1800}))
