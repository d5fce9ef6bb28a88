"""The foundation on this computer: deployed through the director's death, proven through its real protocols, updated through death again.

The tests run in order over one deployment; each leaves it running.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from harness import ROOT, wait_for
from local_left import left
from worksite import Site, done_once, stages, vm_of

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


def test_nothing_is_left_of_it(site: Site) -> None:
    site.director.run("-d", "foundation", "delete-deployment")
    assert site.cids() == set()
    assert {row["orphaned_at"] is not None for row in site.query("select orphaned_at from disks")} == {True}
    site.director.run("clean-up", "--all")
    assert site.cids("disk") == set()
