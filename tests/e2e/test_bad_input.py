"""Everything that users and computers do wrong: a clear error with its place and a next step, nothing changed, nothing left behind."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import CAISSON, ROOT, Outcome, wait_for
from worksite import HERE, Site, free_port

pytestmark = pytest.mark.e2e

# What a refused request may leave: its task, the events about it, and numbers for DNS names, which are never given twice.
TRACES_OF_A_REQUEST = {"tasks", "events", "sqlite_sequence", "locks", "numeric_ids"}


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site()
    site.open()
    site.upload(HERE / "releases/broken")
    return site


@pytest.fixture
def unchanged(site: Site) -> Iterator[None]:
    """The test changes nothing, in the records or the cloud."""
    before = site.dump()
    yield
    after = site.dump()
    assert {name for name in before if before[name] != after[name]} <= TRACES_OF_A_REQUEST


def one(site: Site, name: str = "one", release: str = "probe", job: str = "probe", properties: str = "{}") -> str:
    return site.text("one.yml", NAME=name, RELEASE=release, JOB=job, PROPERTIES=properties)


def refused(site: Site, text: str, *flags: str, name: str = "one") -> str:
    """What a deploy that must fail says."""
    outcome = site.deploy(name, text, *flags, check=False)
    assert outcome.code == 1, outcome.all
    return outcome.all


# Manifests

WRONG = {
    "no YAML": (lambda text: text + "jobs: [\n", ["one.yml:", "Incorrect YAML"]),
    "key written wrong": (lambda text: text.replace("vm_type:", "vm_typ:"), ["vm_typ", "one", "Did you mean 'vm_type'?"]),
    "key given twice": (lambda text: text.replace("  vm_type: tiny", "  vm_type: tiny\n  vm_type: other"), ["vm_type"]),
    "unknown release": (
        lambda text: text.replace("- name: probe\n  version", "- name: prob\n  version"), ["Release 'prob' doesn't exist", "'probe'"]),
    "unknown version": (
        lambda text: text.replace("version: latest", "version: 17", 1), ["Release version 'probe/17' doesn't exist", "Uploaded: 0+dev.1"]),
    "unknown job": (lambda text: text.replace("  - name: probe", "  - name: prob"), ["Job 'prob' not found", "Did you mean 'probe'?"]),
    "unknown network": (
        lambda text: text.replace("- name: default\n  jobs", "- name: defaul\n  jobs"),
        ["unknown network 'defaul'", "Did you mean 'default'?"]),
    "unknown zone": (lambda text: text.replace("azs: [z1]", "azs: [z9]"), ["unknown availability zone 'z9'", "'z1', 'z2', 'z3'"]),
    "unknown VM type": (lambda text: text.replace("vm_type: tiny", "vm_type: tine"), ["unknown vm type 'tine'", "Did you mean 'tiny'?"]),
    "unknown stemcell": (
        lambda text: text.replace("os: debian-bookworm", "os: debian-bookwor"), ["'debian-bookwor' doesn't exist", "'debian-bookworm'"]),
    "unknown disk type": (
        lambda text: text.replace("vm_type: tiny", "vm_type: tiny\n  persistent_disk_type: smal"), ["disk type 'smal'", "'small'"]),
    "too few static addresses": (
        lambda text: text.replace("- name: default\n  jobs", "- name: default\n    static_ips: [NET.10]\n  jobs").replace(
            "instances: 1", "instances: 2"), ["has 2 instances but was allocated 1 static IPs", "List exactly 2"]),
    "static address of nowhere": (
        lambda text: text.replace("- name: default\n  jobs", "- name: default\n    static_ips: [10.99.9.9]\n  jobs"),
        ["10.99.9.9", "belongs to no subnet", "Add it to 'static'"]),
    "too few addresses": (
        lambda text: text.replace("instances: 1", "instances: 250"), ["no more available", "more like these", "larger range"]),
    "unknown variable": (
        lambda text: text.replace("properties: {}", "properties: {probe: {greeting: ((nowhere))}}"), ["nowhere", "-v nowhere="]),
    "property of a wrong shape": (
        lambda text: text.replace("properties: {}", "properties: {probe: {tls: text}}"), ["'probe.tls.certificate' expects a hash"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_manifests(case: str, site: Site, unchanged: None) -> None:
    change, words = WRONG[case]
    said = refused(site, change(one(site)).replace("NET", site.net))
    assert [word for word in words if word not in said] == [], said
    if case not in ("unknown variable",):
        assert "yml:" in said, "the line is told"
    assert site.director.rows("deployments") == []


def test_all_errors_are_told_at_once(site: Site, unchanged: None) -> None:
    said = refused(site, one(site).replace("vm_type: tiny", "vm_type: tine").replace("azs: [z1]", "azs: [z9]"))
    assert "'tine'" in said
    assert "'z9'" in said


def test_a_template_that_fails(site: Site) -> None:
    said = refused(site, one(site, properties="{probe: {wrong: true}}"))
    for word in ("probe.json.j2", "line 1", "probe.needed", "Set 'probe.needed' in the properties of job 'probe'"):
        assert word in said
    assert site.director.rows("deployments") == []
    assert site.cids() == set()


def test_ranges_that_overlap(site: Site) -> None:
    text = site.text("cloud.yml")
    more = f"  - range: {site.net}.128/25\n    gateway: {site.net}.129\n    azs: [z1]\n"
    site.director.run("update-cloud-config", str(site.write("overlap.yml", text.replace("\ncompilation:", f"{more}\ncompilation:"))))
    said = refused(site, one(site))
    site.director.run("update-cloud-config", str(site.write("cloud.yml", text)))
    assert "Network 'default' has overlapping subnets" in said
    assert "cloud-config 'default':" in said
    assert f"{site.net}.128/25 and {site.net}.0/24 share addresses" in said
    assert site.director.rows("deployments") == []


# Releases

Entries = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def tarball(site: Site) -> Path:
    path = site.folder / "probe.tgz"
    site.director.run("create-release", "--dir", str(site.folder / "releases/probe"), "--force", "--name", "sent", "--tarball", str(path))
    return path


def packed(entries: Entries) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def unpacked(data: bytes) -> Entries:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(info, file.read() if (file := archive.extractfile(info)) else b"") for info in archive if not info.isdir()]


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def with_job(entries: Entries, change: Callable[[Entries], bytes]) -> Entries:
    """The job `check` changed, and its digest in release.MF set to fit."""
    changed = {info.name.removeprefix("./"): content for info, content in entries}
    changed["jobs/check.tgz"] = change(unpacked(changed["jobs/check.tgz"]))
    manifest = yaml.safe_load(changed["release.MF"])
    digest = hashlib.sha256(changed["jobs/check.tgz"]).hexdigest()
    next(job for job in manifest["jobs"] if job["name"] == "check")["sha1"] = f"sha256:{digest}"
    changed["release.MF"] = yaml.safe_dump(manifest).encode()
    return [entry(name, content) for name, content in changed.items()]


def zeros(said: int, sent: int) -> bytes:
    """An archive of some kilobytes with a file that claims to have `said` MiB and has `sent`."""
    info = tarfile.TarInfo("templates/zeros")
    info.size = said << 20
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(sent):
            stream.write(bytes(1 << 20))
    return out.getvalue()


BAD_RELEASES: dict[str, tuple[Callable[[Entries], Entries], list[str]]] = {
    "wrong digest": (
        lambda entries: [item if "check" not in item[0].name else entry(item[0].name, packed([entry("monit")])) for item in entries],
        ["check"]),
    "file missing": (lambda entries: [item for item in entries if "check.tgz" not in item[0].name], ["check"]),
    "no manifest": (lambda entries: [item for item in entries if "release.MF" not in item[0].name], ["release.MF"]),
    "link out of it": (
        lambda entries: with_job(entries, lambda job: packed([*job, entry("templates/out", type=tarfile.SYMTYPE, linkname="/etc/passwd")])),
        ["templates/out"]),
    "path out of it": (
        lambda entries: with_job(entries, lambda job: packed([*job, entry("../../../../tmp/caisson-escaped", b"out")])),
        ["caisson-escaped"]),
    "bomb": (lambda entries: with_job(entries, lambda job: zeros(200, 200)), ["check", "unpacks to more than"]),
    "cut off": (lambda entries: with_job(entries, lambda job: zeros(20, 10)), ["check", "cannot be read to its end"]),
    "no archive": (lambda entries: [], []),
}


@pytest.mark.parametrize("case", BAD_RELEASES)
def test_bad_releases(case: str, site: Site, tarball: Path, unchanged: None) -> None:
    change, words = BAD_RELEASES[case]
    path = site.folder / "bad.tgz"
    path.write_bytes(packed(change(unpacked(tarball.read_bytes()))))
    outcome = site.director.run("upload-release", str(path), check=False)
    assert outcome.code == 1, outcome.all
    assert [word for word in words if word not in outcome.all] == [], outcome.all
    assert "->" in outcome.all, f"a next step: {outcome.all}"
    assert not Path("/tmp/caisson-escaped").exists()
    assert list((site.director.state / "uploads").iterdir()) == []
    assert list((site.director.state / "blobs/tmp").iterdir()) == []


# Compilation

def test_a_package_that_does_not_compile(site: Site) -> None:
    said = refused(site, one(site, release="broken", job="fails"))
    for word in ("looking for the compiler", "there is no compiler", "exit code 3", "packages/fails/packaging", "release 'broken/0+dev.1'"):
        assert word in said
    assert site.cids() == site.recorded() == set()
    assert site.director.rows("deployments") == []
    assert site.query("select * from addresses") == []


def test_a_compilation_that_hangs_is_cancelled(site: Site) -> None:
    path = site.write("one.yml", one(site, release="broken", job="hangs"))
    with site.director.begin("-d", "one", "deploy", str(path)) as follower:
        wait_for(lambda: "sleep 86399" in processes(), 60, "the script hangs")
        number = site.last_task()
        site.director.run("cancel-task", str(number))
        said = follower.communicate(timeout=30)[0]
    assert follower.returncode == 1
    assert f"Task {number} cancelled" in said
    assert site.task(number)["state"] == "cancelled"
    assert "sleep 86399" not in processes()
    assert site.cids() == site.recorded() == set()


def processes() -> str:
    return subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout


# A deployment in trouble. Each test begins with one good machine and leaves one.

@pytest.fixture
def good(site: Site) -> str:
    """The machine's cid."""
    site.deploy("one", one(site), "--fix")
    return str(site.query("select cid from vms")[0]["cid"])


def test_a_job_that_never_gets_healthy(site: Site, good: str) -> None:
    said = refused(site, one(site, properties="{probe: {sick: true}}"))
    for word in ("is not running after update", "Review logs for failed jobs: probe", "last words of a sick probe", "caisson logs one/"):
        assert word in said
    assert site.cids() == {good}


def test_a_script_that_fails(site: Site, good: str) -> None:
    said = refused(site, one(site, properties="{probe: {pre_start_code: 9}}"))
    for word in ("1 of 1 pre-start scripts failed. Failed Jobs: probe.", "pre-start says no", "->"):
        assert word in said


def test_a_machine_that_dies_while_it_is_updated(site: Site, good: str) -> None:
    path = site.write("one.yml", one(site, properties="{probe: {pre_start_seconds: 600}}"))
    last = site.last_task()
    with site.director.begin("-d", "one", "deploy", str(path)) as follower:
        number = wait_for(lambda: max(site.last_task(), last) - last and site.last_task(), 20, "the task")
        site.await_event(number, lambda event: (event.get("data") or {}).get("status") == "executing pre-start", "pre-start")
        cut_the_power(good)
        said = follower.communicate(timeout=90)[0]
    assert follower.returncode == 1
    for word in (f"The connection to machine '{good}' was lost during 'run_script'", "one/", "--fix"):
        assert word in said
    site.deploy("one", one(site), "--fix")
    assert good not in site.cids()
    assert site.cids() == site.recorded()
    assert site.director.rows("-d", "one", "instances")[0]["process_state"] == "running"


def cut_the_power(cid: str) -> None:
    """End a machine's supervisor and its init, which ends all that runs in it."""
    rows = [line.split(None, 2) for line in processes().splitlines()]
    supervisors = [row[0] for row in rows if row[2].startswith("systemd-nspawn ") and cid in row[2]]
    for pid in (*supervisors, *(row[0] for row in rows if row[1] in supervisors)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def test_ssh_that_is_refused(site: Site, good: str) -> None:
    site.director.ssh("one", "one/0", "sudo systemctl stop ssh")
    said = refused(site, one(site, properties="{probe: {greeting: a}}"))
    for word in ("the agent does not respond", f"Machine '{good}' cannot be reached at {site.net}", "refused", "Deploy with --fix"):
        assert word in said
    assert site.cids() == {good}, "nothing was replaced that nobody asked to replace"


def test_a_host_key_that_changed(site: Site, good: str) -> None:
    site.director.ssh(
        "one", "one/0", "sudo sh -c 'cd /etc/ssh; rm ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N \"\" -f ssh_host_ed25519_key; "
        "systemctl reload ssh'")
    said = refused(site, one(site, properties="{probe: {greeting: a}}"))
    for word in (f"Machine '{good}'", "shows another host key than the one recorded for it", "recorded: SHA256:", "shown:  ", "--fix"):
        assert word in said
    assert site.director.rows("-d", "one", "instances")[0]["process_state"] == "host key changed"
    site.deploy("one", one(site), "--fix")
    assert good not in site.cids()
    assert site.cids() == site.recorded()


def test_a_full_disk_on_the_machine(site: Site) -> None:
    text = one(site, "full").replace("vm_type: tiny", "vm_type: cramped")
    changed = text.replace("properties: {}", "properties: {probe: {greeting: full}}")
    site.deploy("full", text)
    fill = "sudo sh -c 'for size in 1M 4k 512; do cat /dev/zero | dd of=/var/vcap/data/fill bs=$size oflag=append conv=notrunc; done; true'"
    site.director.ssh("full", "one/0", fill)
    said = refused(site, changed, name="full")
    for word in ("No space left on the machine's disk", "one/", "remove what fills it", "caisson recreate INSTANCE --fix"):
        assert word in said
    assert site.director.rows("-d", "full", "instances")[0]["process_state"] == "running"
    site.director.run("-d", "full", "recreate", "one/0", "--fix")
    site.deploy("full", changed)
    site.director.run("-d", "full", "delete-deployment")


# The command line

def test_ctrl_c_leaves_the_task_alone(site: Site, good: str) -> None:
    path = site.write("one.yml", one(site, properties="{probe: {pre_start_seconds: 1, greeting: later}}"))
    last = site.last_task()
    with site.director.begin("-d", "one", "deploy", str(path)) as follower:
        number = wait_for(lambda: max(site.last_task(), last) - last and site.last_task(), 20, "the task")
        site.await_event(number, lambda event: event["stage"] == "Updating instance", "the update")
        follower.send_signal(signal.SIGINT)
        said = follower.communicate(timeout=20)[0]
    assert follower.returncode == 130
    assert f"Task {number} goes on. Follow it with 'caisson task {number}'" in said
    assert site.task(number)["state"] == "processing"
    followed = site.director.run("task", str(number))
    assert "Updating instance one" in followed.out
    assert site.task(number)["state"] == "done"


def test_errors_of_silent_tasks_are_told(site: Site) -> None:
    outcome = site.director.run("-d", "nowhere", "instances", check=False)
    assert outcome.code == 1
    assert "Deployment 'nowhere' doesn't exist" in outcome.err


def start_elsewhere(folder: Path, *prefix: str, port: int = 0) -> Outcome:
    done = subprocess.run(
        [*prefix, CAISSON, "director", "start", "--state", str(folder / "state"), "--port", str(port or free_port())], capture_output=True,
        text=True, check=False, env={**os.environ, "HOME": str(folder), "BOSH_CONFIG": str(folder / "cli.yml")}, cwd=ROOT, timeout=90)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_not_being_root_is_told(tmp_path: Path) -> None:
    outcome = start_elsewhere(tmp_path, "unshare", "--user")
    assert outcome.code == 1
    assert "need root" in outcome.all
    assert "sudo" in outcome.all
    assert "Traceback" not in outcome.all


def test_missing_commands_are_told(tmp_path: Path) -> None:
    """All of this computer's commands but two, as on one where their packages are missing."""
    hide = " && ".join(f"mount --bind /dev/null {path}" for path in ("/usr/bin/systemd-nspawn", "/usr/bin/mmdebstrap"))
    outcome = start_elsewhere(tmp_path, "unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh")
    assert outcome.code == 1
    for word in ("systemd-nspawn", "apt-get install", "systemd-container"):
        assert word in outcome.all
    assert "Traceback" not in outcome.all


def test_a_taken_port_is_told(site: Site, tmp_path: Path) -> None:
    outcome = start_elsewhere(tmp_path, port=site.director.port)
    assert outcome.code == 1
    assert f"Port {site.director.port} of 127.0.0.1 is taken" in outcome.err
    assert "--port" in outcome.err
    assert "Traceback" not in outcome.err
