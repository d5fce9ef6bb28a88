"""The agent on a real machine: first contact, host key, a job's whole life under real monit, errands, compilation, disks, logs."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import secrets
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpis.contract import Cpi, DiskRequest, Login, Network, VmRequest
from cpis.registry import load
from director.errors import AgentError, Cancelled, HostKeyChanged, ScriptFailed, Unreachable
from director.machine import agent as agents
from director.machine import keys
from director.machine.agent import Agent, Dependency
from director.machine.endpoint import Endpoint
from director.machine.machines import Machines
from director.machine.session import connect

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

IP = "10.203.77.10"
SETTINGS = {
    "agent_id": "agent-e2e", "env": {},
    "networks": {"default": {"ip": IP, "netmask": "255.255.255.0", "gateway": "10.203.77.1", "dns": [], "default": ["dns", "gateway"]}},
}

CTL = """#!/bin/bash
run=/var/vcap/sys/run/$1
case $2 in
  start) mkdir -p $run; setsid /var/vcap/packages/daemon/bin/daemon $1 </dev/null >>/var/vcap/sys/log/$1/$1.log 2>&1 & echo $! >$run/pid ;;
  stop) kill $(cat $run/pid); while kill -0 $(cat $run/pid) 2>/dev/null; do sleep 0.02; done; rm -f $run/pid ;;
esac
"""
MONIT = """check process NAME
  with pidfile /var/vcap/sys/run/NAME/pid
  start program "/var/vcap/jobs/NAME/bin/ctl NAME start" with timeout 30 seconds
  stop program "/var/vcap/jobs/NAME/bin/ctl NAME stop" with timeout 30 seconds
  if totalmem > 200 Mb for 3 cycles then restart
  if failed unixsocket /var/vcap/sys/run/NAME/none.sock with timeout 5 seconds for 60 cycles then restart
  group vcap
"""
DRAIN = """#!/bin/bash
echo "$@" >> /var/vcap/sys/log/worker/drain-calls
[ $1 = job_check_status ] && echo 0 || echo -1
"""
PACKAGING = """set -e
mkdir -p $BOSH_INSTALL_TARGET/bin
cp daemon $BOSH_INSTALL_TARGET/bin/daemon
chmod +x $BOSH_INSTALL_TARGET/bin/daemon
cat /var/vcap/packages/base/word > $BOSH_INSTALL_TARGET/word
echo compiled $BOSH_PACKAGE_NAME
"""


@dataclasses.dataclass
class Box:
    """A machine, its endpoint, and a way to dial it."""

    cpi: Cpi
    endpoint: Endpoint
    key: keys.KeyPair
    agent: Agent

    def dial(self, **changes: Any) -> Agent:
        return Agent(connect(dataclasses.replace(self.endpoint, **changes), self.key.private_pem))

    def again(self) -> None:
        """Wait until it is up after a reboot."""
        self.agent.close()
        self.agent = self.dial()

    def shell(self, command: str) -> str:
        code, out, err = self.agent.session.run("sudo -n sh -c '" + command + "'")  # type: ignore[attr-defined]
        assert code == 0, err
        return str(out).strip()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    login, host = keys.generate(), keys.generate()
    cpi = load("local", {"state_dir": str(tmp_path_factory.mktemp("director")), "director": "agent-e2e-" + secrets.token_hex(3)})
    try:
        stemcell = cpi.create_stemcell("", {"recipe": "debian-12"}, "stemcell")
        network = Network("default", ip=IP, gateway="10.203.77.1", default=("dns", "gateway"))
        vm = cpi.create_vm(VmRequest(
            "vm", "agent-e2e", stemcell, {"memory": 512, "cpus": 1}, (network,),
            Login("caisson", login.public_line, host.public_line, host.private_pem),
        ))
        endpoint = Endpoint(vm.cid, vm.ssh_address, host.public_line, vm.ssh_port)
        made = Box(cpi, endpoint, login, Agent(connect(endpoint, login.private_pem)))
        made.agent.bootstrap(SETTINGS)
        yield made
        made.agent.close()
    finally:
        cpi.clean()  # type: ignore[attr-defined]


def tgz(**members: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo("./" + name)
            info.size, info.mode = len(text), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def put(box: Box, data: bytes) -> str:
    digest = agents.sha256_of(data)
    if box.agent.missing_blobs([digest]):
        box.agent.put_blob(data, digest)
    return digest


def until(condition: Callable[[], bool], seconds: float = 15.0) -> float:
    """Seconds until the condition holds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return time.monotonic() - started


def install(box: Box, *jobs: str, package: Path | None = None, hash: str = "h1", **files: str) -> dict[str, Any]:
    """Apply a spec of these jobs; `files` are JOB__path (dots and slashes as they are, `--` for `/`)."""
    members = {name.replace("--", "/"): text for name, text in files.items()}
    for job in jobs:
        members.setdefault(f"{job}/monit", MONIT.replace("NAME", job))
        members.setdefault(f"{job}/bin/ctl", CTL)
    archive = put(box, tgz(**members))
    digest = put(box, package.read_bytes()) if package else ""
    spec = {
        "deployment": "d", "name": "g", "id": "i-1", "index": 0, "az": "z1", "configuration_hash": hash, "networks": SETTINGS["networks"],
        "job": {"name": "g", "templates": [{"name": job, "version": "1"} for job in jobs]},
        "packages": {"daemon": {"name": "daemon", "version": "1.1", "sha1": digest}} if package else {},
        "rendered_templates_archive": {"sha256": archive.removeprefix("sha256:")},
    }
    box.agent.apply(spec)
    return spec


@pytest.fixture(scope="module")
def compiled(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package compiled on the machine, with a dependency."""
    source = put(box, tgz(packaging=PACKAGING, daemon="#!/bin/bash\necho $1 begins\nexec sleep 100000\n"))
    base = put(box, tgz(word="given"))
    said: list[str] = []
    dependencies = [Dependency("base", "1.1", base)]
    blob = box.agent.compile_package("daemon", "1.1", source, dependencies, on_output=lambda stream, text: said.append(text))
    assert "compiled daemon\n" in "".join(said)
    here = tmp_path_factory.mktemp("compiled") / "daemon.tgz"
    box.agent.get_file(blob.path, here, blob.digest)
    box.agent.remove_file(blob.path)
    assert here.stat().st_size == blob.size
    with tarfile.open(here) as archive:
        assert "./bin/daemon" in archive.getnames()
        assert archive.extractfile("./word").read() == b"given"  # type: ignore[union-attr]
    return here


def test_bootstrap_made_the_references_machine(box: Box) -> None:
    assert box.shell("hostname") == "agent-e2e"
    assert box.shell("id -nG vcap") == "vcap admin bosh_sudoers bosh_sshers"
    assert box.shell("readlink /var/vcap/sys; stat -c %a /var/vcap/sys/run /var/vcap/sys/log") == "/var/vcap/data/sys\n770\n770"
    assert box.shell("stat -f -c %T /var/vcap/data/sys/run") == "tmpfs"
    assert "agent-e2e" in box.shell("cat /etc/hosts")
    assert box.shell("monit -c /var/vcap/monit/monitrc summary | wc -l") != "0"
    again = box.agent.bootstrap(SETTINGS)
    assert again["changed"] == []
    assert again["seconds"] < 0.3
    state = box.agent.get_state()
    assert state.bootstrapped == agents.settings_digest(SETTINGS)
    assert (state.job_state, state.processes, state.hostname, state.agent_id) == ("running", (), "agent-e2e", "agent-e2e")


def test_a_job_from_nothing_to_nothing(box: Box, compiled: Path) -> None:
    first = install(box, "web", "worker", package=compiled, **{
        "web--bin--pre-start": "#!/bin/bash\necho prepared\n",
        "worker--bin--drain": DRAIN,
    })
    box.agent.run_script("pre-start")
    box.agent.start()
    started = until(lambda: box.agent.get_state().job_state == "running")
    assert started < 5
    state = box.agent.get_state(full=True)
    assert sorted(process.name for process in state.processes if process.state == "running") == ["web", "worker"]
    assert set(state.vitals["disk"]) >= {"system"}
    assert state.spec == first

    box.shell("kill -9 $(cat /var/vcap/sys/run/web/pid)")
    until(lambda: box.agent.get_state().not_running == ("web",))
    until(lambda: box.agent.get_state().job_state == "running")

    box.agent.drain("update", {**first, "configuration_hash": "h2"})
    assert box.agent.get_state().job_state == "failing"
    assert box.shell("cat /var/vcap/sys/log/worker/drain-calls") == "job_changed hash_changed\njob_check_status hash_unchanged"
    before = time.monotonic()
    box.agent.stop()
    assert time.monotonic() - before < 5
    assert box.agent.get_state().job_state == "stopped"
    assert box.shell("pgrep -c sleep || true") == "0"

    install(box, "web", package=compiled, hash="h2")
    box.agent.start()
    until(lambda: box.agent.get_state().job_state == "running")
    assert [process.name for process in box.agent.get_state().processes] == ["web"]
    assert box.shell("ls /var/vcap/jobs /var/vcap/data/jobs") == "/var/vcap/data/jobs:\nweb\n\n/var/vcap/jobs:\nweb"
    box.agent.stop()


def test_a_script_that_fails_is_told_with_its_words(box: Box) -> None:
    install(box, "web", hash="h3", **{"web--bin--post-start": "#!/bin/bash\necho the port is taken >&2\nexit 3\n", "web--monit": ""})
    with pytest.raises(ScriptFailed) as caught:
        box.agent.run_script("post-start")
    assert caught.value.diagnostics[0].summary == "1 of 1 post-start scripts failed. Failed Jobs: web."
    assert "the port is taken" in caught.value.diagnostics[0].detail
    assert box.agent.tail_logs(["web"])["web/post-start.stderr.log"] == "the port is taken"


def test_errand_streamed_and_cancelled(box: Box) -> None:
    run = "#!/bin/bash\necho begun; if [ -e /tmp/long ]; then sleep 1000; fi; echo done >&2; exit 2\n"
    install(box, "tests", hash="h4", **{"tests--bin--run": run, "tests--monit": ""})
    seen: list[tuple[str, str]] = []
    result = box.agent.run_errand("tests", on_output=lambda stream, text: seen.append((stream, text)))
    assert (result.exit_code, result.stdout, result.stderr) == (2, "begun\n", "done\n")
    assert sorted(seen) == [("stderr", "done\n"), ("stdout", "begun\n")]
    box.shell("touch /tmp/long")
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        box.agent.run_errand("tests", on_output=lambda stream, text: cancel.set(), cancel=cancel)
    until(lambda: box.shell("pgrep -fc \"[s]leep 1000$\" || true") == "0")
    with pytest.raises(AgentError, match="Could not find errand nope"):
        box.agent.run_errand("nope")


def test_compilation_that_fails_or_hangs(box: Box) -> None:
    source = put(box, tgz(packaging="echo no compiler here >&2; exit 9"))
    with pytest.raises(ScriptFailed, match="failed with exit code 9") as caught:
        box.agent.compile_package("broken", "1.1", source)
    assert "no compiler here" in caught.value.diagnostics[0].detail
    source = put(box, tgz(packaging="echo stuck; sleep 1000"))
    with pytest.raises(ScriptFailed, match="did not end within 1 seconds") as caught:
        box.agent.compile_package("hangs", "1.1", source, timeout=1.0)
    assert "stuck" in caught.value.diagnostics[0].detail


def test_host_key_is_replaced_in_two_steps(box: Box) -> None:
    old = box.endpoint.host_public_key
    new = box.agent.prepare_host_key()
    assert new == box.agent.prepare_host_key() != old
    # A director that stopped between recording and activating still reaches the machine, and learns which key it shows.
    between = box.dial(next_host_public_key=new)
    assert between.host_public_key == old
    between.close()
    box.agent.activate_host_key(new)
    box.agent.activate_host_key(new)
    assert box.agent.ping() == "pong"
    after = box.dial(next_host_public_key=new)
    assert after.host_public_key == new
    after.close()
    with pytest.raises(HostKeyChanged) as caught:
        box.dial()
    assert keys.fingerprint(old) in str(caught.value)
    assert keys.fingerprint(new) in str(caught.value)
    box.endpoint = dataclasses.replace(box.endpoint, host_public_key=new)


def test_a_disk_is_mounted_migrated_and_there_after_a_reboot(box: Box) -> None:
    box.agent.start()
    small = box.cpi.create_disk(DiskRequest("small", 64, vm_cid=box.endpoint.cid))
    hint = box.cpi.attach_disk(box.endpoint.cid, small)
    box.agent.mount_disk(small, {"path": hint.path})
    box.agent.mount_disk(small, {"path": hint.path})
    assert box.agent.list_disk() == (small,)
    box.shell("echo kept > /var/vcap/store/file; ln -s file /var/vcap/store/link; stat -c %a /var/vcap/store")
    big = box.cpi.create_disk(DiskRequest("big", 128, vm_cid=box.endpoint.cid))
    box.agent.mount_disk(big, {"path": box.cpi.attach_disk(box.endpoint.cid, big).path})
    assert sorted(box.agent.list_disk()) == sorted([small, big])
    assert box.shell("findmnt -n -o TARGET /var/vcap/store_migration_target") == "/var/vcap/store_migration_target"
    box.agent.migrate_disk(big)
    box.agent.migrate_disk(big)
    assert box.agent.list_disk() == (big,)
    assert box.agent.unmount_disk(small) == f"Partition of {small} is not mounted"
    box.agent.remove_persistent_disk(small)
    box.cpi.detach_disk(box.endpoint.cid, small)
    assert box.shell("cat /var/vcap/store/link") == "kept"
    boot = box.agent.get_state().boot_id

    box.cpi.reboot_vm(box.endpoint.cid)
    until(lambda: _rebooted(box), 30)
    state = box.agent.get_state()
    assert state.disks == (big,)
    assert state.job_state == "running"
    assert box.shell("cat /var/vcap/store/file; stat -f -c %T /var/vcap/sys/run/.") == "kept\ntmpfs"
    assert boot  # the kernel's, which machines on one computer share
    assert box.agent.unmount_disk(big) == f"Unmounted partition of {big}"
    assert box.agent.list_disk() == ()


def _rebooted(box: Box) -> bool:
    try:
        box.again()
        return box.agent.get_state().job_state == "running"
    except Unreachable:
        return False


def test_a_stopped_machine_stays_stopped_over_a_reboot(box: Box, compiled: Path) -> None:
    install(box, "web", package=compiled, hash="h5")
    box.agent.start()
    until(lambda: box.agent.get_state().job_state == "running")
    box.cpi.reboot_vm(box.endpoint.cid)
    until(lambda: _rebooted(box), 30)
    assert box.shell("pgrep -fc \"^sleep 100000\"") == "1"
    box.agent.stop()
    box.cpi.reboot_vm(box.endpoint.cid)
    box.again()
    until(lambda: box.agent.get_state().job_state == "stopped", 30)
    assert box.shell("pgrep -fc \"^sleep 100000\" || true") == "0"


def test_logs_users_and_records(box: Box, tmp_path: Path) -> None:
    box.shell("mkdir -p /var/vcap/sys/log/web; echo line > /var/vcap/sys/log/web/web.log")
    bundle = box.agent.fetch_logs(["job", "agent"], ["**/*"])
    box.agent.get_file(bundle.path, tmp_path / "logs.tgz", bundle.digest)
    with tarfile.open(tmp_path / "logs.tgz") as archive:
        assert {"./web/web.log", "./current"} <= set(archive.getnames())
    person = keys.generate()
    access = box.agent.ssh_setup("bosh_me", person.public_line)
    assert (access.ip, access.host_public_key) == (IP, box.endpoint.host_public_key)
    session = connect(dataclasses.replace(box.endpoint, user="bosh_me"), person.private_pem)
    assert session.run("sudo -n id -un")[1] == "root\n"
    session.close()
    box.agent.ssh_cleanup("^bosh_me$")
    with pytest.raises(Unreachable, match="cannot be reached"):
        connect(dataclasses.replace(box.endpoint, user="bosh_me"), person.private_pem, wait_seconds=0.1)
    box.agent.sync_dns(b'{"version": 3, "records": [["10.0.0.9", "x.g.n.d.bosh"]]}', 3)
    assert "10.0.0.9" in box.shell("getent hosts x.g.n.d.bosh")
    assert box.agent.get_state().dns_version == 3


def test_a_full_disk_is_told_as_such(box: Box) -> None:
    data = secrets.token_bytes(3 << 20)
    box.shell("mount -t tmpfs -o size=1m tmpfs /var/vcap/data/tmp")
    try:
        with pytest.raises(AgentError, match="No space left on the machine"):
            box.agent.put_blob(data, agents.sha256_of(data))
    finally:
        box.shell("umount /var/vcap/data/tmp")
    box.shell("mount -t tmpfs -o size=1m tmpfs /var/vcap/data/blobs")
    try:
        with pytest.raises(AgentError, match="No space left on the machine"):
            box.agent.put_blob(data, agents.sha256_of(data))
        wrong = "sha256:" + hashlib.sha256(b"other").hexdigest()
        with pytest.raises(AgentError, match="Checksum mismatch"):
            box.agent.put_blob(b"data", wrong)
    finally:
        box.shell("umount /var/vcap/data/blobs")


def test_no_process_is_left_and_a_lost_connection_is_replaced(box: Box) -> None:
    machines = Machines(lambda endpoint: Agent(connect(endpoint, box.key.private_pem)))
    agent = machines.get(box.endpoint)
    assert machines.get(box.endpoint) is agent
    assert agent.ping() == "pong"
    agent.close()
    with pytest.raises(Unreachable):
        agent.ping()
    assert machines.get(box.endpoint).ping() == "pong"
    machines.close()
    box.agent.close()
    box.again()
    assert box.agent.ping() == "pong"
    until(lambda: box.shell("pgrep -fc \"^python3.*agent-.*serve\" || true") == "1")
