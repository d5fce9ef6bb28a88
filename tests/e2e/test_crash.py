"""The director is killed with kill -9 in the middle of things and started again: the same task ends by itself, nothing is left over and
nothing is done twice. The moments are chosen by what the journal and the task's events say, as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import wait_for
from local_left import processes
from worksite import Site, Tree, done_once

from cpis.registry import load

pytestmark = pytest.mark.e2e

Moment = Callable[[Site, int], Any]


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site()
    site.open()
    return site


def begun(effect: str, nth: int = 1) -> Moment:
    """The journal's `nth` row of that effect in the task is there, without an outcome."""
    def seen(site: Site, task: int) -> bool:
        rows = [row for row in site.journal() if row["task_id"] == task and row["effect"] == effect]
        return len(rows) >= nth and rows[nth - 1]["state"] == "intent"

    return seen


def ended(effect: str, nth: int = 1) -> Moment:
    def seen(site: Site, task: int) -> bool:
        return len([row for row in site.journal() if row["task_id"] == task and row["effect"] == effect and row["state"] == "done"]) >= nth

    return seen


def told(status: str, nth: int = 1) -> Moment:
    """The task's events tell for the `nth` time that this is being done to an instance."""
    def seen(site: Site, task: int) -> bool:
        return len([event for event in site.task_events(task) if (event.get("data") or {}).get("status") == status]) >= nth

    return seen


def compiling(nth: int) -> Moment:
    """The `nth` package begins to be compiled; from the second on that is on a machine which has compiled the first."""
    def seen(site: Site, task: int) -> bool:
        begun = [event for event in site.task_events(task) if event.get("stage") == "Compiling packages" and event["state"] == "started"]
        return len(begun) >= nth

    return seen


def through_deaths(site: Site, *arguments: str, moments: list[Moment]) -> int:
    """Run a command whose task loses its director at each of the moments; answers the task's number when it is done."""
    last = site.last_task()
    with site.director.begin(*arguments) as follower:
        task = int(wait_for(lambda: site.last_task() > last and site.last_task(), 30, "the task", every=0.005))
        for number, moment in enumerate(moments):
            wait_for(lambda moment=moment: moment(site, task) or not active(site, task), 60, f"moment {number}", every=0.003)
            site.director.kill()
            assert active(site, task), f"the task ended before moment {number}"
            site.director.start()
            assert site.task(task)["resumptions"] == number + 1
        said = follower.communicate(timeout=120)[0]
    assert follower.returncode == 0, said
    assert said.count("The director does not answer, asking again") == len(moments), "who follows sees it and goes on"
    assert said.count("the task is taken up again") == len(moments)
    assert site.task(task)["state"] == "done"
    assert site.last_task() == task, "no other task was needed"
    return task


def active(site: Site, task: int) -> bool:
    return site.task(task)["state"] in ("queued", "processing")


def nothing_left_over(site: Site) -> None:
    """What the cloud says that it has is what is recorded, and each machine runs once."""
    cpi = load("local", {"state_dir": str(site.cloud), "director": "caisson"})
    owned = {found.cid for found in cpi.owned()}
    cpi.close()
    assert owned == site.recorded() | site.recorded("disk") | site.recorded("stemcell")
    running = processes(site.cloud)
    assert len(running) == len(site.recorded())
    assert all(any(cid in line for line in running) for cid in site.recorded())
    assert site.query("select * from addresses where purpose = 'compilation'") == []
    assert site.query("select * from vms where instance_id is null") == []
    done_once(site.journal())
    assert site.query("select * from locks") == []


def done(site: Site, task: int, effect: str) -> list[Tree]:
    return [row for row in site.journal() if row["task_id"] == task and row["effect"] == effect and row["state"] == "done"]


def machines(site: Site) -> dict[str, str]:
    rows = site.query('select instances."group", instances."index", vms.cid from vms join instances on instances.id = vms.instance_id')
    return {f"{row['group']}/{row['index']}": row["cid"] for row in rows}


def all_run(site: Site) -> None:
    rows = site.director.rows("-d", "life", "instances")
    # The watcher runs nothing, so nothing of it can run.
    assert {(row["instance"].partition("/")[0], row["process_state"]) for row in rows} == {("probe", "running"), ("watcher", "")}


def test_first_deploy(site: Site) -> None:
    """Three deaths: while packages compile, while machines are made, while jobs are started."""
    path = site.write("life.yml", site.text("probe.yml"))
    moments = [compiling(2), begun("create_vm", 4), told("executing pre-start", 2)]
    task = through_deaths(site, "-d", "life", "deploy", str(path), moments=moments)
    all_run(site)
    nothing_left_over(site)
    instances = {row["id"] for row in site.query("select id from instances")}
    assert len(instances) == 4
    # A machine of an instance is made once, whatever happened meanwhile; the dead director's compilation machine was deleted.
    events = site.query("select * from events where task = ? and action = 'create' and object_type = 'vm' and parent_id is null", str(task))
    assert len(done(site, task, "create_disk")) == 3
    made = [row for row in events if not row["instance"].startswith("compilation-")]
    assert {row["instance"].partition("/")[2] for row in made} == instances
    assert len(machines(site)) == 4
    assert len(done(site, task, "create_vm")) - len(done(site, task, "delete_vm")) == 4


def test_update_with_recreate(site: Site) -> None:
    """Two deaths of a director that does what a kept plan says: while a new machine takes the place of the old one, and while the next
    one is stopped. It goes on with the plan, although the world is no longer the one of the plan."""
    before = machines(site)
    path = site.write("life.yml", site.text("probe.yml").replace("        report:", "        greeting: bye\n        report:"))
    plan = str(site.folder / "plan.json")
    planned = site.director.run("-d", "life", "plan", str(path), "--recreate", "-o", plan, "--detailed-exitcode", check=False)
    assert planned.code == 2, planned.all
    moments = [begun("create_vm"), told("executing drain", 3)]
    task = through_deaths(site, "deploy", "--plan", plan, moments=moments)
    all_run(site)
    nothing_left_over(site)
    after = machines(site)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values()), "every machine is new"
    assert len(done(site, task, "create_vm")) == 4, "and none was replaced twice"
    assert len(done(site, task, "delete_vm")) == 4
    starts = site.director.ssh("life", "probe/0", "sudo cat /var/vcap/store/probe/starts")
    assert int(starts) >= 2, "the disks were kept"


def test_nothing_is_left_to_do(site: Site) -> None:
    last = site.journal()[-1]["id"]
    site.director.run("-d", "life", "deploy", str(site.folder / "life.yml"))
    assert site.journal(last) == []
    again = site.director.run("deploy", "--plan", str(site.folder / "plan.json"), check=False)
    assert again.code == 1
    assert "The plan does not hold any more" in again.all
    assert "machine was vm-" in again.all
    assert site.journal(last) == []
    told = site.director.run("-d", "life", "why", "probe/0").out
    assert "recreate: its machine was asked to be recreated" in told
    assert "configuration: rendered templates differ (probe.probe.greeting), " in told


def test_delete(site: Site) -> None:
    """Two deaths: while the first machine is deleted, and after some are."""
    task = through_deaths(site, "-d", "life", "delete-deployment", moments=[begun("delete_vm"), ended("delete_vm", 2)])
    assert machines(site) == {}
    nothing_left_over(site)
    assert site.director.rows("deployments") == []
    assert len({row["token"].partition("-vm-")[2][:12] for row in done(site, task, "delete_vm")}) == 4
    assert len(site.query("select * from disks where orphaned_at is not null")) == 3
