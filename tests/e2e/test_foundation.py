"""The foundation on this computer: deployed through the director's death, proven through its real protocols, updated through death again.

The tests run in order over one deployment; each leaves it running.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from harness import ROOT, wait_for
from local_left import left
from test_names import Eye, say
from worksite import HERE, Site, done_once, stages, vm_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NET = "10.92.16"
RELEASES = sorted(path.parent.parent.name for path in ROOT.glob("releases/*/config/final.yml"))
GROUPS = {"nats": 3, "database": 1, "blobstore": 1, "hello": 2, "router": 1, "prometheus": 1, "smoke-tests": 1}
MACHINES = sum(GROUPS.values())


@pytest.fixture(scope="module")
def site(make_site: Callable[[str], Site]) -> Site:
    """A director with the releases uploaded and the configs set, in a range of its own; nothing deployed."""
    site = make_site(NET)
    director = site.director
    director.start()
    director.run("upload-stemcell", "manifests/stemcells/debian-12.yml")
    for release in RELEASES:
        director.run("upload-release", "--dir", f"releases/{release}", timeout=900)
    director.run("update-cloud-config", str(site.write("cloud.yml", _moved("cloud-configs/local.yml"))))
    versions = {row["name"].replace("-", "_"): row["version"].rstrip("*") for row in director.rows("releases")}
    flags = [flag for name, version in versions.items() for flag in ("-v", f"{name}_version={version}")]
    director.run("update-runtime-config", "manifests/runtime-configs/dns.yml", *flags)
    site.write("foundation.yml", _moved("foundation.yml"))
    return site


def _moved(path: str) -> str:
    """A file of the manifests in this module's range."""
    return (ROOT / "manifests" / path).read_text().replace("10.244.16.", f"{NET}.")


def _killed(site: Site, begun: Callable[[], Any], what: str, *command: str) -> int:
    """Begin a command, kill the director once `begun`, start it again, and follow the same task to its end. The task's number."""
    before = site.last_task()
    process = site.director.begin("-d", "foundation", *command)
    try:
        wait_for(begun, 120, what, every=0.01)
        site.director.kill()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    number = site.last_task()
    assert number > before
    assert site.task(number)["state"] == "processing", "killed in the middle"
    site.director.start()
    site.director.run("task", str(number), timeout=300)
    assert site.task(number)["state"] == "done"
    return number


def _made(site: Site, effect: str, since: int = 0) -> int:
    return sum(row["effect"] == effect and row["state"] == "done" for row in site.journal(since))


def _power(site: Site, position: str) -> None:
    subprocess.run([sys.executable, "-m", "cpis.local.power", position, str(site.cloud)], check=True, cwd=ROOT, timeout=120)


def _rows(site: Site) -> list[dict[str, str]]:
    return site.director.rows("-d", "foundation", "instances", "--details")


def _running(site: Site) -> dict[str, str]:
    """Instance -> VM, after a look that all processes run."""
    rows = _rows(site)
    assert {row["process_state"] for row in rows} == {"running"}
    assert {group: sum(row["instance"].startswith(f"{group}/") for row in rows) for group in GROUPS} == GROUPS
    return vm_of(rows)


def _whole(site: Site) -> None:
    """Nothing is left over and nothing was done twice."""
    assert site.cids() == site.recorded()
    assert len(site.cids()) == MACHINES
    assert site.cids("disk") == site.recorded("disk")
    done_once(site.journal())


def _smoke(site: Site) -> str:
    rows = site.director.rows("-d", "foundation", "run-errand", "smoke-tests")
    assert rows[0]["exit_code"] == "0", rows[0]["stdout"]
    return rows[0]["stdout"]


def _routed() -> tuple[int, str, str]:
    """Status, router's verdict and body of a request for hello through the router."""
    request = urllib.request.Request(f"http://{NET}.10/", headers={"Host": "hello.foundation.internal"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("X-Cf-RouterError", ""), ""


def _visits() -> int:
    status, _, body = _routed()
    found = re.search(r"visit (\d+)", body)
    assert status == 200
    assert found is not None, body
    return int(found[1])


def test_first_deploy_survives_the_directors_death(site: Site) -> None:
    """Killed while machines are made, after those that compile are gone."""
    _killed(
        site, lambda: len(site.query("select * from vms where instance_id is not null")) >= 4, "four machines are made",
        "deploy", str(site.folder / "foundation.yml"),
    )
    _running(site)
    _whole(site)
    compiled = site.query("select name, count(*) as times from compiled_packages group by name")
    assert {row["times"] for row in compiled} == {1}


def test_every_part_answers_through_its_own_protocol(site: Site) -> None:
    told = _smoke(site)
    for part in ("names of groups", "database", "bus", "blobstore, links", "router, hello", "router, own route", "metrics"):
        assert re.search(rf"^ok\s+{part}", told, re.MULTILINE), told


def test_deploying_again_changes_nothing(site: Site) -> None:
    machines, rows = _running(site), len(site.journal())
    site.director.run("-d", "foundation", "deploy", str(site.folder / "foundation.yml"))
    work = ("Updating", "Creating", "Deleting", "Compiling")
    assert not [title for title in stages(site.task_events(site.last_task())) if title.startswith(work)]
    assert _running(site) == machines
    assert len(site.journal()) == rows


def test_a_stopped_program_loses_its_route(site: Site) -> None:
    assert _routed()[0] == 200
    site.director.run("-d", "foundation", "stop", "hello")
    wait_for(lambda: _routed()[:2] == (404, "unknown_route"), 20, "the route is gone")
    site.director.run("-d", "foundation", "start", "hello")
    wait_for(lambda: _routed()[0] == 200, 20, "the route is back")


def test_data_outlives_its_machine(site: Site) -> None:
    before, visits = _running(site), _visits()
    site.director.run("-d", "foundation", "recreate", "database")
    after = _running(site)
    changed = {name.split("/")[0] for name in before if before[name] != after[name]}
    assert changed == {"database"}
    wait_for(lambda: _routed()[0] == 200, 20, "hello has its database again")
    assert _visits() > visits


def test_update_survives_the_directors_death(site: Site) -> None:
    """A new size of all small machines recreates them; the director dies while that is under way."""
    cloud = _moved("cloud-configs/local.yml").replace("{memory: 512, cpus: 1}", "{memory: 448, cpus: 1}")
    site.director.run("update-cloud-config", str(site.write("smaller.yml", cloud)))
    before, since = _running(site), site.journal()[-1]["id"]
    _killed(
        site, lambda: _made(site, "delete_vm", since) >= 2, "two machines are replaced",
        "deploy", str(site.folder / "foundation.yml"),
    )
    after = _running(site)
    kept = {name.split("/")[0] for name in before if before[name] == after[name]}
    assert kept == {"database", "prometheus"}
    replaced = MACHINES - 2
    assert _made(site, "delete_vm", since) == replaced
    assert _made(site, "create_vm", since) == replaced
    _whole(site)
    _smoke(site)


def test_machines_come_back_after_a_power_cut(site: Site) -> None:
    """As after a restart of this computer: jobs and disks are there again without a deploy."""
    machines, visits = _running(site), _visits()
    site.director.stop()
    _power(site, "off")
    assert left(site.cloud, files=False) == []
    _power(site, "on")
    site.director.start()
    wait_for(lambda: {row["process_state"] for row in _rows(site)} == {"running"}, 60, "all processes run again", every=1)
    assert _running(site) == machines
    wait_for(lambda: _routed()[0] == 200, 30, "the route is back")
    assert _visits() > visits


WATCHER = """
name: NAME
releases: [{name: probe, version: latest}]
stemcells: [{alias: default, os: debian-bookworm, version: latest}]
update: {canaries: 1, max_in_flight: 5, canary_watch_time: 500-60000, update_watch_time: 500-60000}
instance_groups:
- name: probe
  instances: COUNT
  azs: [z1]
  vm_type: small
  stemcell: default
  networks: [{name: default}]
  jobs: [{name: probe, release: probe, properties: {probe: {report: 'NET.1:PORT'}}}]
"""
ALL, HEALTHY, FAILING = (f"q-s{code}.hello.default.foundation.bosh" for code in (4, 3, 1))


def _watcher(site: Site, name: str, count: int) -> str:
    text = WATCHER.replace("NAME", name).replace("COUNT", str(count)).replace("NET", NET).replace("PORT", str(site.listener.port))
    site.deploy(name, text, timeout=300)
    return site.vms(name)[0]


def _hello(site: Site) -> list[tuple[str, Eye]]:
    """Address and machine of the instances of hello, the first one first."""
    rows = [row for row in _rows(site) if row["instance"].startswith("hello/")]
    return [(row["ips"], Eye(site, row["vm_cid"])) for row in sorted(rows, key=lambda row: row["index"])]


def _kill_program(machine: Eye) -> None:
    machine.inside("sh", "-c", "kill -9 $(cat /var/vcap/sys/run/hello/hello.pid)")


def test_what_is_answered_for_hello_when(site: Site) -> None:
    """The transcript: `pytest -s` shows it, docs/operator/names.md has one. Asked is the resolver of a machine of another deployment."""
    site.upload(HERE / "releases/probe")
    eye = Eye(site, _watcher(site, "watcher", 1))
    (one, first), (other, second) = _hello(site)
    both = {one, other}
    say(f"hello is {one} and {other}; asked is the resolver of a machine of another deployment")
    say(f"healthy: both, {eye.until(HEALTHY, both, 20):.2f} s after the first question")
    _kill_program(first)
    out = eye.until(HEALTHY, {other}, 6)
    say(f"hello's process on {one} killed: healthy {other} alone after {out:.2f} s; failing {eye.ask(FAILING)[1]}, all still both")
    assert eye.ask(FAILING)[1] == {one}
    assert eye.ask(ALL)[1] == both
    say(f"monit has begun it again: healthy both after {eye.until(HEALTHY, both, 40):.2f} s")
    site.director.stop()
    _kill_program(first)
    down = eye.until(HEALTHY, {other}, 6)
    say(f"the director is down, the process killed: healthy {other} alone after {down:.2f} s")
    say(f"still without director: healthy both after {eye.until(HEALTHY, both, 40):.2f} s")
    site.director.start()
    second.kill_all()
    dead = eye.until(HEALTHY, {one}, 8)
    say(f"the machine of {other} killed: healthy {one} alone after {dead:.2f} s; failing {eye.ask(FAILING)[1] or 'nobody'}; all still both")
    assert (eye.ask(FAILING)[1], eye.ask(ALL)[1]) == (set(), both)
    assert max(out, down) < 3.5
    assert dead < 4.0
    site.director.run("-d", "foundation", "recreate", "hello", "--fix", timeout=300)
    say(f"made anew: healthy both after {eye.until(HEALTHY, both, 20):.2f} s")


def test_hellos_address_goes_to_another_deployment(site: Site) -> None:
    """The machine that asks cannot be told: its sshd is stopped. It has the old records, and believes the new machine nothing."""
    eye = Eye(site, site.vms("watcher")[0])
    (keeps, _), (goes, _) = _hello(site)
    eye.until(HEALTHY, {keeps, goes}, 20)
    eye.inside("systemctl", "stop", "ssh")
    fewer = (site.folder / "foundation.yml").read_text().replace("- name: hello\n  instances: 2", "- name: hello\n  instances: 1")
    told = site.deploy("foundation", fewer, timeout=300).all
    assert "may still find what is about to be removed" in told
    say(f"hello scaled to one, {goes} is deleted; the machine that asks was not told: all {sorted(eye.ask(ALL)[1])}")
    assert eye.ask(ALL)[1] == {keeps, goes}
    say(f"healthy {keeps} alone after {eye.until(HEALTHY, {keeps}, 8):.2f} s")
    taken = {row["address"] for row in site.query("select address from vms")}
    before = [number for number in range(60, int(goes.split(".")[3]) + 1) if f"{NET}.{number}" not in taken]
    _watcher(site, "heir", len(before))
    heir = Eye(site, site.query("select cid from vms where deployment = 'heir' and address = ?", goes)[0]["cid"])
    heir.until("q-s3.probe.default.heir.bosh", {f"{NET}.{number}" for number in before}, 20)
    until = time.monotonic() + 6
    while time.monotonic() < until:
        assert eye.ask(HEALTHY)[1] == {keeps}
    say(f"{goes} is a healthy machine of deployment 'heir' now: for 6 s never given as hello's, though the old records name it")
    eye.inside("systemctl", "start", "ssh")
    site.deploy("watcher", (site.folder / "watcher.yml").read_text().replace("500-60000", "400-60000"), timeout=300)
    say(f"sshd runs again, the next deploy brings the records: all {keeps} alone after {eye.until(ALL, {keeps}, 20):.2f} s")
    for name in ("heir", "watcher"):
        site.director.run("-d", name, "delete-deployment", timeout=300)


def test_nothing_is_left_of_it(site: Site) -> None:
    site.director.run("-d", "foundation", "delete-deployment")
    assert site.cids() == set()
    assert {row["orphaned_at"] is not None for row in site.query("select orphaned_at from disks")} == {True}
    site.director.run("clean-up", "--all")
    assert site.cids("disk") == set()
