"""One deployment's life on real machines: each test is a step that goes on where the one before it ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from harness import Outcome, wait_for
from worksite import Site, done_once, stages, vm_of

pytestmark = pytest.mark.e2e

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
PROBES = ["probe/0", "probe/1", "probe/2"]
FIRST_START = ["pre-start", "post-start", "post-deploy"]
UPDATE = [
    "pre-stop keep/keep/keep", "drain job_changed hash_changed", "drain job_check_status hash_unchanged", "post-stop", "pre-start",
    "post-start",
]
RECREATE = [
    "pre-stop delete/keep/keep", "drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged", "post-stop", "pre-start",
    "post-start",
]


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site()
    site.open(names=True)
    return site


def manifest(site: Site, **changes: str) -> str:
    """The deployment's manifest; `changes` are text replacements, `old=new` by position of the data file's lines."""
    text = site.text("probe.yml")
    for old, new in changes.items():
        place = PLACES[old]
        assert place in text, place
        text = text.replace(place, new, 1)
    return text


PLACES = {
    "properties": "        report:",
    "instances": "  instances: 3",
    "static": "    static_ips:",
    "disk": "persistent_disk_type: small",
}


def deploy(site: Site, text: str, *flags: str, check: bool = True) -> Outcome:
    return site.deploy("life", text, *flags, check=check)


def each(told: list[str]) -> dict[str, list[str]]:
    """All probes told the same."""
    return dict.fromkeys(PROBES, told)


def state_of(site: Site, name: str) -> str:
    """Process state of GROUP/INDEX."""
    rows = site.director.rows("-d", "life", "instances", "--details")
    return next(row["process_state"] for row in rows if f"{row['instance'].partition('/')[0]}/{row['index']}" == name)


def ask(site: Site, index: int) -> dict[str, Any]:
    """What a probe answers, asked from this computer."""
    answer = subprocess.run(
        ["curl", "-sS", "--max-time", "5", f"http://{site.net}.{10 + index}:8080/"], capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(answer.stdout)
    return told


def vms(site: Site) -> dict[str, str]:
    """Instance (GROUP/INDEX) to VM cid."""
    found = vm_of(site.director.rows("-d", "life", "instances", "--details"))
    rows = site.query('select "group", id, "index" from instances')
    names = {f"{row['group']}/{row['id']}": f"{row['group']}/{row['index']}" for row in rows}
    return {names[name]: cid for name, cid in found.items()}


def test_first_deploy_brings_everything_up(site: Site) -> None:
    deploy(site, manifest(site))
    rows = site.director.rows("-d", "life", "instances", "--ps")
    assert {row["process_state"] for row in rows} == {"running"}
    assert [row["ips"] for row in rows if row["instance"].startswith("probe/") and row["process"] in ("", "-")] == [
        f"{site.net}.{number}" for number in (10, 11, 12)]
    assert sorted(row["az"] for row in rows if row["instance"].startswith("probe/") and row["process"] in ("", "-")) == ["z1", "z2", "z3"]
    assert [row["ips"] for row in rows if row["instance"].startswith("watcher/") and row["process"] in ("", "-")] == [f"{site.net}.20"]
    assert site.listener.take() == each(FIRST_START)
    assert ask(site, 1)["words"] == "compiled with words"
    done_once(site.journal())
    assert site.cids() == site.recorded()


def test_links_and_variables_reach_the_templates(site: Site) -> None:
    watched = json.loads(site.director.ssh("life", "watcher/0", "sudo cat /var/vcap/jobs/watcher/config/watched.json"))
    assert watched["address"] == "q-s0.probe.default.life.bosh"
    assert [(one["index"], one["az"]) for one in watched["instances"]] == [(0, "z1"), (1, "z2"), (2, "z3")]
    assert watched["port"] == 8080
    config = json.loads(site.director.ssh("life", "probe/0", "sudo cat /var/vcap/jobs/probe/config/probe.json"))
    assert len(config["password"]) == 30
    verified = site.director.ssh(
        "life", "probe/0", "cd /var/vcap/jobs/probe/config; sudo cat ca.pem | awk '/BEGIN/{n++} {print > (\"/tmp/c\" n)}'; "
        "openssl verify -CAfile /tmp/c1 /tmp/c2")
    assert verified.endswith("/tmp/c2: OK")
    assert sorted(row["name"] for row in site.director.rows("-d", "life", "variables")) == [
        f"/caisson/life/{name}" for name in ("probe_ca", "probe_password", "probe_tls")]


def test_names_resolve_on_the_machines(site: Site) -> None:
    site.director.run("-d", "life", "ssh", "-c", "true")
    by_group = site.director.ssh("life", "watcher/0", "getent ahostsv4 q-s0.probe.default.life.bosh | awk '{print $1}' | sort -u")
    assert by_group.split() == [f"{site.net}.{number}" for number in (10, 11, 12)]
    uuid = next(row["id"] for row in site.query("select id from instances where \"group\" = 'probe' and \"index\" = 2"))
    one = site.director.ssh("life", "probe/0", f"getent ahostsv4 {uuid}.probe.default.life.bosh | awk '{{print $1}}' | sort -u")
    assert one == f"{site.net}.12"
    servers = site.director.ssh("life", "probe/0", "awk '/^nameserver/ {print $2}' /etc/resolv.conf").split()
    assert servers[0] == "169.254.0.2"
    # Names that are not ours go to the resolvers of this computer: whatever those say, ours says the same.
    elsewhere = "deb.debian.org"
    here = subprocess.run(["getent", "ahostsv4", elsewhere], capture_output=True, text=True, check=False)
    there = site.director.rows("-d", "life", "ssh", "probe/0", "-r", "-c", f"getent ahostsv4 {elsewhere}")
    assert there[0]["exit_code"] == str(here.returncode)


def test_nothing_is_done_when_nothing_changed(site: Site) -> None:
    before = vms(site)
    last = site.journal()[-1]["id"]
    deploy(site, manifest(site))
    assert vms(site) == before
    assert site.journal(last) == []
    assert site.listener.take() == {}
    assert stages(site.task_events(max_task(site))) == [
        "Preparing deployment: Preparing deployment", "Preparing package compilation: Finding packages to compile"]


def max_task(site: Site, kind: str = "update_deployment") -> int:
    return int(site.query("select max(id) as id from tasks where type = ?", kind)[0]["id"])


def test_dry_run_tells_all_and_writes_nothing(site: Site) -> None:
    before = site.dump()
    changed = manifest(site, properties="        greeting: bye\n        report:", static="    static_ips:").replace(
        "  instances: 1\n", "  instances: 2\n")
    told = deploy(site, changed, "--dry-run", "--json")
    plan = json.loads("\n".join(json.loads(told.out)["Blocks"])) if "Blocks" in json.loads(told.out) else json.loads(told.out)
    text = deploy(site, changed, "--dry-run").out
    kept = site.director.run("-d", "life", "plan", str(site.folder / "life.yml"), "-o", str(site.folder / "plan.json")).out
    assert UUID.sub("", kept) == UUID.sub("", text), "only new instances are called otherwise"
    assert site.dump() == before
    for index in range(3):
        assert f"({index}) in z{index + 1}: update" in text
    assert "watcher/" in text
    assert "create" in text
    assert "greeting" in text, "the reason names what changed"
    assert "life.yml:" in text
    assert "processes restart: bosh-dns, probe" in text
    assert "Expected duration: about" in text
    assert plan
    assert site.listener.take() == {}


def test_a_changed_property_updates_in_place_what_it_reaches(site: Site) -> None:
    before = vms(site)
    deploy(site, manifest(site, properties="        greeting: bye\n        report:"))
    assert vms(site) == before
    assert site.listener.take() == each([*UPDATE, "post-deploy"])
    assert [ask(site, index)["greeting"] for index in range(3)] == ["bye"] * 3
    watched = json.loads(site.director.ssh("life", "watcher/0", "sudo cat /var/vcap/jobs/watcher/config/watched.json"))
    assert watched["greeting"] == "bye", "consumers of the link are updated too"


def test_a_change_of_one_group_leaves_the_others(site: Site) -> None:
    text = manifest(site, properties="        greeting: bye\n        report:")
    check = "  - name: check\n    release: probe"
    deploy(site, text.replace(check, f"{check}\n    properties: {{check: {{exit_code: 3}}}}"))
    assert site.listener.take() == each(["post-deploy"])
    updated = [title for title in stages(site.task_events(max_task(site))) if title.startswith("Updating")]
    assert len(updated) == 1
    assert "watcher/" in updated[0]


def test_errands_tell_output_and_exit_code(site: Site) -> None:
    failed = site.director.run("-d", "life", "run-errand", "check", check=False)
    assert failed.code == 1
    assert "Errand 'check' completed with error (exit code 3)" in failed.err
    assert failed.out.count('"greeting": "bye"') == 3
    deploy(site, manifest(site, properties="        greeting: bye\n        report:"))
    rows = site.director.rows("-d", "life", "run-errand", "check")
    assert [(row["exit_code"], row["stderr"].strip()) for row in rows] == [("0", "asked all")]
    assert site.listener.take() == each(["post-deploy"])


def test_a_failing_canary_stops_the_rest(site: Site) -> None:
    text = manifest(site, properties="        greeting: bye\n        sick_index: 0\n        report:").replace("0-20000", "0-2000")
    outcome = deploy(site, text, check=False)
    assert outcome.code == 1
    assert "is not running after update. Review logs for failed jobs: probe" in outcome.out
    assert "last words of a sick probe" in outcome.out, "the job's last lines are shown"
    told = site.listener.take()
    assert told == {"probe/0": UPDATE[:-1]}
    assert [ask(site, index)["greeting"] for index in (1, 2)] == ["bye", "bye"]
    # Monit starts it again and again, so there are moments in which it runs.
    wait_for(lambda: state_of(site, "probe/0") != "running", 20, "the canary does not run", every=0.3)


def test_the_next_deploy_heals_what_failed(site: Site) -> None:
    deploy(site, manifest(site, properties="        greeting: bye\n        report:"))
    assert {row["process_state"] for row in site.director.rows("-d", "life", "instances")} == {"running"}
    told = site.listener.take()
    assert told["probe/0"][-2:] == ["post-start", "post-deploy"]
    assert told["probe/1"] == told["probe/2"] == ["post-deploy"]


def test_recreate_replaces_the_machine_and_keeps_disk_and_address(site: Site) -> None:
    before, starts = vms(site), ask(site, 1)["starts"]
    site.director.run("-d", "life", "recreate", "probe/1")
    after = vms(site)
    assert [name for name in before if before[name] != after[name]] == ["probe/1"]
    assert ask(site, 1)["starts"] == starts + 1, "what was on the disk is there"
    told = site.listener.take()
    assert told.pop("probe/1") == [*RECREATE, "post-deploy"]
    assert told == {"probe/0": ["post-deploy"], "probe/2": ["post-deploy"]}
    assert site.cids() == site.recorded()


def test_a_bigger_disk_takes_over_the_content(site: Site) -> None:
    starts = [ask(site, index)["starts"] for index in range(3)]
    old = site.cids("disk")
    site.director.ssh("life", "probe/0", "sudo sh -c 'echo precious >/var/vcap/store/probe/kept; chmod 640 /var/vcap/store/probe/kept'")
    deploy(site, grown(site))
    assert [ask(site, index)["starts"] for index in range(3)] == [count + 1 for count in starts]
    kept = site.director.ssh("life", "probe/0", "sudo sh -c 'stat -c %a /var/vcap/store/probe/kept; cat /var/vcap/store/probe/kept'")
    assert kept.split() == ["640", "precious"]
    assert int(site.director.ssh("life", "probe/0", "df -m --output=size /var/vcap/store | tail -1")) > 90
    orphans = site.director.rows("disks", "--orphaned")
    assert {row["disk_cid"] for row in orphans} == old
    told = site.listener.take()
    assert told["probe/2"][:3] == ["pre-stop keep/keep/keep", "drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged"]
    for cid in old:
        site.director.run("delete-disk", cid)
    assert site.cids("disk") == site.recorded("disk")
    assert not site.cids("disk") & old


def grown(site: Site, **more: str) -> str:
    return manifest(site, disk="persistent_disk_type: bigger", properties="        greeting: bye\n        report:", **more)


def test_scale_down_and_up(site: Site) -> None:
    smaller = grown(site, instances="  instances: 2").replace("NET.10-NET.12", "NET.10-NET.11").replace(
        f"{site.net}.10-{site.net}.12", f"{site.net}.10-{site.net}.11")
    deploy(site, smaller)
    told = site.listener.take()
    assert told["probe/2"] == [
        "pre-stop delete/delete/keep", "drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged", "post-stop"]
    assert sorted(vms(site)) == ["probe/0", "probe/1", "watcher/0"]
    assert site.cids() == site.recorded()
    names = site.director.ssh("life", "watcher/0", "getent ahostsv4 q-s0.probe.default.life.bosh | awk '{print $1}' | sort -u")
    assert names.split() == [f"{site.net}.10", f"{site.net}.11"]
    deploy(site, grown(site))
    told = site.listener.take()
    assert told["probe/2"] == FIRST_START
    assert ask(site, 2)["starts"] == 1, "a new instance has a new disk"


def test_stop_start_restart(site: Site) -> None:
    before = vms(site)
    site.director.run("-d", "life", "stop", "probe/2")
    rows = {row["instance"]: row for row in site.director.rows("-d", "life", "instances", "--details")}
    stopped = [row for row in rows.values() if row["state"] == "stopped"]
    assert [row["process_state"] for row in stopped] == ["stopped"]
    told = site.listener.take()
    assert told["probe/2"] == [
        "pre-stop keep/keep/keep", "drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged", "post-stop"]
    refused = site.director.run("-d", "life", "run-errand", "check", check=False)
    assert refused.code == 1
    assert "stopped, unable to run errand" in refused.all
    site.director.run("-d", "life", "start", "probe/2")
    assert site.listener.take()["probe/2"] == FIRST_START
    site.director.run("-d", "life", "restart", "probe/2")
    told = site.listener.take()
    assert told["probe/2"][:3] == ["pre-stop keep/keep/keep", "drain job_changed hash_unchanged", "drain job_check_status hash_unchanged"]
    assert told["probe/2"][3:] == ["post-stop", *FIRST_START]
    assert vms(site) == before


def test_stop_hard_gives_up_the_machine_and_keeps_the_disk(site: Site) -> None:
    starts, before = ask(site, 2)["starts"], vms(site)
    site.director.run("-d", "life", "stop", "probe/2", "--hard")
    assert before["probe/2"] not in site.cids()
    assert vms(site)["probe/2"] in ("", "-")
    assert site.listener.take()["probe/2"][0] == "pre-stop delete/keep/keep"
    deploy(site, grown(site))
    assert vms(site)["probe/2"] in ("", "-"), "a stopped instance stays stopped"
    site.listener.take()
    site.director.run("-d", "life", "start", "probe/2")
    assert site.listener.take()["probe/2"] == FIRST_START
    assert ask(site, 2)["starts"] == starts + 1


def test_logs_are_fetched(site: Site, tmp_path: Path) -> None:
    site.director.run("-d", "life", "logs", "probe/0", "--dir", str(tmp_path))
    archive = next(tmp_path.glob("*.tgz"))
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert any(name.endswith("probe/probe.log") for name in names), names
    assert any(name.endswith("probe/scripts.log") for name in names), names


def test_only_max_in_flight_machines_at_a_time(site: Site) -> None:
    """Four instances in one zone: one canary, then two at a time; seen from the order of what the task tells."""
    text = site.text("many.yml")
    site.deploy("many", text)
    site.deploy("many", text.replace("hello", "bye"))
    running, most, canaries = set(), 0, []
    for event in site.task_events(max_task(site)):
        if event["stage"] != "Updating instance":
            continue
        if event["state"] == "started":
            running.add(event["task"])
            most = max(most, len(running))
            if "(canary)" in event["task"]:
                canaries.append(len(running))
        elif event["state"] == "finished":
            running.discard(event["task"])
    assert canaries == [1]
    assert most == 2
    site.director.run("-d", "many", "delete-deployment")
    site.listener.take()


def test_locks_are_seen_while_a_deploy_runs(site: Site) -> None:
    with site.director.begin("-d", "life", "restart", "probe/2") as follower:
        rows = wait_for(lambda: site.director.rows("locks"), 30, "the deployment's lock")
        assert rows[0]["resource"] == "life"
        assert site.director.rows("-d", "life", "instances"), "reads are answered meanwhile"
        follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert site.director.rows("locks") == []


def test_secrets_are_nowhere_in_plain(site: Site) -> None:
    password = json.loads(site.director.ssh("life", "probe/0", "sudo cat /var/vcap/jobs/probe/config/probe.json"))["password"].encode()
    files = [path for path in site.director.state.rglob("*") if path.is_file() and not path.is_relative_to(site.cloud)]
    assert [path for path in files if password in path.read_bytes()] == []
    assert [path for path in files if b"PRIVATE KEY" in path.read_bytes() and path.name not in ("login.key", "server.key")] == []
    arguments = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK) and path.exists())
    assert password not in arguments
    listed = site.director.run("-d", "life", "variables").all + site.director.run("-d", "life", "manifest").all
    assert password.decode() not in listed


def test_events_tell_who_did_what(site: Site) -> None:
    rows = site.director.rows("-d", "life", "events")
    found = {(row["action"], row["object_type"]) for row in rows}
    assert {("create", "deployment"), ("update", "deployment"), ("create", "vm"), ("delete", "vm"), ("create", "disk"), ("orphan", "disk"),
            ("recreate", "instance"), ("run", "errand"), ("acquire", "lock"), ("release", "lock")} <= found
    assert {row["user"] for row in rows} == {"admin"}
    assert any("is not running after update" in row["error"] for row in rows)


def test_delete_leaves_nothing(site: Site) -> None:
    site.listener.take()
    site.director.run("-d", "life", "delete-deployment")
    told = site.listener.take()
    assert told == each([
        "pre-stop delete/delete/delete", "drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged", "post-stop"])
    assert site.cids() == set()
    assert site.recorded() == set()
    done_once(site.journal())
    assert len(site.director.rows("disks", "--orphaned")) == len(site.cids("disk"))
    site.director.run("clean-up", "--all")
    assert site.cids("disk") == set()
    assert site.director.rows("deployments") == []
