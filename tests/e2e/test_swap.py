"""create-swap-delete on real machines: the new one stands beside the old one, which answers until its jobs are stopped."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Any

import pytest
from harness import wait_for
from worksite import Site, done_once

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site()
    site.open(names=True)
    return site


def ask(address: str) -> dict[str, Any] | None:
    """What the probe at that address answers; None when nobody does."""
    done = subprocess.run(["curl", "-sS", "--max-time", "2", f"http://{address}:8080/"], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


class Watcher:
    """Asks an address again and again, and keeps when it answered."""

    def __init__(self, address: str) -> None:
        self.answered: list[float] = []
        self._address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            if ask(self._address) is not None:
                self.answered.append(time.time())
            self._ended.wait(0.05)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def machines(site: Site) -> dict[str, tuple[str, str]]:
    """GROUP/INDEX -> CID and address of the active machine."""
    rows = site.query(
        'select i."group" as name, i."index" as number, v.cid as cid, v.address as address from vms v join instances i'
        " on i.id = v.instance_id where v.active")
    return {f"{row['name']}/{row['number']}": (row["cid"], row["address"]) for row in rows}


def names(site: Site, name: str) -> list[str]:
    """Addresses that a machine finds for a name."""
    told = site.director.ssh("swap", "fixed/0", f"getent ahostsv4 {name} | awk '{{print $1}}' | sort -u")
    return told.split()


def at(events: list[dict[str, Any]], stage: str, state: str, task: str = "") -> list[float]:
    return [float(event["time"]) for event in events if event.get("stage") == stage and event["state"] == state and task in event["task"]]


def test_new_machines_take_over_disks_and_names_while_old_ones_serve_until_then(site: Site) -> None:
    site.deploy("swap", site.text("swap.yml"))
    before = machines(site)
    starts = {name: (ask(before[name][1]) or {})["starts"] for name in ("probe/0", "probe/1")}
    assert names(site, "q-s0.probe.default.swap.bosh") == sorted(before[name][1] for name in starts)
    site.listener.take()
    watchers = {name: Watcher(before[name][1]) for name in starts}
    site.deploy("swap", site.text("swap.yml"), "--recreate")
    for watcher in watchers.values():
        watcher.end()
    after = machines(site)
    assert not {cid for cid, _ in before.values()} & {cid for cid, _ in after.values()}, "all are new"
    for name, count in starts.items():
        assert after[name][1] != before[name][1], "with other addresses"
        assert (ask(after[name][1]) or {})["starts"] == count + 1, "and what was on the disk"
        assert ask(before[name][1]) is None
    assert after["fixed/0"][1] == before["fixed/0"][1] == f"{site.net}.10", "this one had to go first"
    assert names(site, "q-s0.probe.default.swap.bosh") == sorted(after[name][1] for name in starts)

    events = site.task_events(site.last_task("update_deployment"))
    filled = max(at(events, "Downloading packages", "finished"))
    order = sorted((at(events, "Updating instance", "started", site_name(site, name))[0], name) for name in starts)
    for begun, name in order:
        answers = watchers[name].answered
        assert any(filled < moment < begun + 5 for moment in answers), f"{name} answered after its successor was filled"
        assert max(answers) < at(events, "Updating instance", "finished", site_name(site, name))[0]
    told = site.listener.take()
    assert told["probe/0"] == [
        "pre-stop delete/keep/keep", "drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged", "post-stop", "pre-start",
        "post-start", "post-deploy"]
    done_once(site.journal())


def site_name(site: Site, name: str) -> str:
    """GROUP/UUID of GROUP/INDEX."""
    group, _, index = name.partition("/")
    row = site.query('select id from instances where "group" = ? and "index" = ?', group, int(index))[0]
    return f"{group}/{row['id']}"


def test_old_machines_are_orphaned_with_their_addresses_until_the_clean_up(site: Site) -> None:
    rows = site.director.rows("orphaned-vms")
    assert [row["deployment"] for row in rows] == ["swap", "swap"]
    assert all(row["instance"].startswith("probe/") and row["ips"].startswith(site.net) for row in rows)
    orphaned = {row["vm_cid"] for row in rows}
    assert site.cids() == {cid for cid, _ in machines(site).values()} | orphaned
    wait_for(lambda: not any(running(site, cid) for cid in orphaned), 20, "orphaned machines are shut down")
    told = site.director.run("clean-up")
    assert told.out.count("Deleting orphaned vms: vm-") == 2
    assert site.director.rows("orphaned-vms") == []
    assert site.cids() == {cid for cid, _ in machines(site).values()}
    held = {row["ip"] for row in site.query("select ip from addresses")}
    assert held == {address for _, address in machines(site).values()}


def running(site: Site, cid: str) -> bool:
    from cpis.local.names import Names

    listed = subprocess.run(
        ["ip", "netns", "pids", Names(site.cloud).namespaces + cid], capture_output=True, text=True, check=False)
    return bool(listed.stdout.split())


def test_nothing_is_left_to_do(site: Site) -> None:
    before = machines(site)
    last = site.journal()[-1]["id"]
    site.deploy("swap", site.text("swap.yml"))
    assert machines(site) == before
    assert site.journal(last) == []


def test_machines_of_deleted_instances_are_orphaned_too(site: Site) -> None:
    doomed = machines(site)
    site.director.run("-d", "swap", "delete-deployment")
    rows = site.director.rows("orphaned-vms")
    assert {row["vm_cid"] for row in rows} == {doomed["probe/0"][0], doomed["probe/1"][0]}, "the one with a static address went at once"
    site.director.run("clean-up")
    assert site.cids() == set()


def test_templates_have_the_address_that_the_cloud_chose(site: Site) -> None:
    cloudy = "- {name: cloudy, type: dynamic, subnets: [{azs: [z1], cloud_properties: {range: NET.0/24}}]}\n\ncompilation:"
    config = site.text("cloud.yml").replace("compilation:", cloudy.replace("NET", site.net), 1)
    site.director.run("update-cloud-config", str(site.write("cloudy.yml", config)))
    text = site.text("swap.yml").replace("  - name: default\n  jobs:", "  - name: cloudy\n  jobs:")
    site.deploy("swap", text)
    before = machines(site)
    assert told_address(site, "probe/0") == before["probe/0"][1]
    site.deploy("swap", text, "--recreate")
    after = machines(site)
    assert after["probe/0"][1] != before["probe/0"][1]
    assert told_address(site, "probe/0") == after["probe/0"][1]
    last = site.journal()[-1]["id"]
    site.deploy("swap", text)
    assert site.journal(last) == []
    assert before["probe/0"][1] in {row["ips"] for row in site.director.rows("orphaned-vms")}
    site.director.run("-d", "swap", "delete-deployment")
    site.director.run("clean-up")
    assert site.cids() == set()


def told_address(site: Site, name: str) -> str:
    config = json.loads(site.director.ssh("swap", name, "sudo cat /var/vcap/jobs/probe/config/probe.json"))
    return str(config["ip"])
