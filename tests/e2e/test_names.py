"""Names on real machines: who is found, when somebody stops, dies or loses the address, and without the director.

The tests run in order over two small deployments. `Eye` asks a machine's own resolver again and again, without the director.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from harness import ROOT, wait_for
from worksite import Site, init_of

from cpis.local.names import Names

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ASK = """
import socket, struct, sys
name, kind = sys.argv[1], int(sys.argv[2])
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(3)
sock.sendto(struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + b"\\0" + struct.pack("!2H", kind, 1), ("169.254.0.2", 53))
packet = sock.recv(4096)
count, at = struct.unpack_from("!H", packet, 6)[0], 12
while packet[at]:
    at += 1 + packet[at]
at, found = at + 5, []
for _ in range(count):
    at += 2 if packet[at] & 192 else packet.index(b"\\0", at) - at + 1
    length = struct.unpack_from("!H", packet, at + 8)[0]
    found.append(socket.inet_ntoa(packet[at + 10 : at + 10 + length]))
    at += 10 + length
print(packet[3] & 15, *sorted(found))
"""

RUNTIME = """
releases:
- {name: bosh-dns, version: ((version))}
addons:
- name: bosh-dns
  jobs:
  - name: bosh-dns
    release: bosh-dns
    properties: {health: {enabled: true}}
"""

DEPLOYMENT = """
name: NAME
releases: [{name: probe, version: latest}]
stemcells: [{alias: default, os: debian-bookworm, version: latest}]
update: {canaries: 1, max_in_flight: 2, canary_watch_time: 500-60000, update_watch_time: 500-60000}
instance_groups:
- name: probe
  instances: COUNT
  azs: [z1]
  vm_type: tiny
  stemcell: default
  networks: [{name: default, static_ips: [ADDRESSES]}]
  jobs: [{name: probe, release: probe, properties: {probe: {report: REPORT}}}]
"""


class Eye:
    """Asks the resolver of one machine, from outside of everything that belongs to the director."""

    def __init__(self, site: Site, cid: str) -> None:
        self._namespace = Names(site.cloud).namespaces + cid

    def inside(self, *command: str, check: bool = True) -> str:
        target = init_of(self._namespace)
        done = subprocess.run(["nsenter", "-m", "-n", "-p", "-t", target, "--", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def ask(self, name: str) -> tuple[str, set[str]]:
        """The code and the addresses."""
        code, *addresses = self.inside("python3", "-c", ASK, name, "1").split()
        return code, set(addresses)

    def until(self, name: str, expected: set[str], most: float) -> float:
        """Seconds until that is the answer."""
        began = time.monotonic()
        wait_for(lambda: self.ask(name)[1] == expected, most, f"{name} is {expected}, not {self.ask(name)}", every=0.05)
        return time.monotonic() - began

    def from_container(self, name: str) -> tuple[str, set[str]]:
        """Asked from a network namespace behind the machine, as that of a container: its only way leads through the machine."""
        machine = ["nsenter", "-n", "-t", init_of(self._namespace), "--"]
        sleeper = subprocess.Popen([*machine, "unshare", "-n", "sleep", "60"])
        container = ["nsenter", "-n", "-t", str(sleeper.pid), "--"]
        try:
            wait_for(lambda: "eth0" not in _out(*container, "ip", "-o", "link"), 5, "it has a network of its own")
            for command in (
                [*machine, "ip", "link", "add", "box0", "type", "veth", "peer", "name", "eth0", "netns", str(sleeper.pid)],
                [*machine, "ip", "address", "add", "172.30.99.1/24", "dev", "box0"], [*machine, "ip", "link", "set", "box0", "up"],
                [*container, "ip", "address", "add", "172.30.99.2/24", "dev", "eth0"], [*container, "ip", "link", "set", "eth0", "up"],
                [*container, "ip", "route", "add", "default", "via", "172.30.99.1"],
            ):
                subprocess.run(command, check=True)
            time.sleep(1.5)  # the resolver looks at the machine's networks once a second
            code, *addresses = _out(*container, "python3", "-c", ASK, name, "1").split()
            return code, set(addresses)
        finally:
            sleeper.kill()
            sleeper.wait()

    def kill_all(self) -> None:
        """The machine dies, as if its host did."""
        listed = subprocess.run(["ip", "netns", "pids", self._namespace], capture_output=True, text=True, check=True)
        for pid in sorted(listed.stdout.split(), key=int, reverse=True):
            subprocess.run(["kill", "-9", pid], capture_output=True, check=False)


def _out(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def site(make_site: Callable[[], Site]) -> Iterator[Site]:
    site = make_site()
    site.open()
    site.upload(ROOT / "releases/bosh-dns")
    version = next(row["version"] for row in site.director.rows("releases") if row["name"] == "bosh-dns").rstrip("*")
    site.director.run("update-runtime-config", str(site.write("names-runtime.yml", RUNTIME)), "-v", f"version={version}")
    site.deploy("names", deployment(site, "names", 10, 11, 12), timeout=400)
    site.deploy("other", deployment(site, "other", 15), timeout=400)
    yield site
    site.director.start()
    for name in ("names", "other", "third"):
        site.director.run("-d", name, "delete-deployment", "--force", check=False)


def deployment(site: Site, name: str, *numbers: int) -> str:
    text = DEPLOYMENT.replace("NAME", name).replace("COUNT", str(len(numbers)))
    text = text.replace("ADDRESSES", ", ".join(address(site, number) for number in numbers))
    return text.replace("REPORT", f"'{site.net}.1:{site.listener.port}'")


def address(site: Site, number: int) -> str:
    return f"{site.net}.{number}"


def eye(site: Site, number: int, name: str = "names") -> Eye:
    rows = site.query("select cid, networks from vms where deployment = ? and active", name)
    return Eye(site, next(str(row["cid"]) for row in rows if address(site, number) in row["networks"]))


def say(text: str) -> None:
    """A line of the transcript (`pytest -s`)."""
    print(f"{time.strftime('%H:%M:%S')} {text}")


def behind(site: Site) -> list[dict[str, str]]:
    return list(json.loads(site.director.run("--json", "dns").out)["Tables"][1]["Rows"])


def healthy(name: str = "names") -> str:
    return f"q-s3.probe.default.{name}.bosh"


def all_of(name: str = "names") -> str:
    return f"q-s4.probe.default.{name}.bosh"


def failing(name: str = "names") -> str:
    return f"q-s1.probe.default.{name}.bosh"


def test_machines_are_found_by_name_and_with_their_health(site: Site) -> None:
    looks = eye(site, 10)
    everybody = {address(site, number) for number in (10, 11, 12)}
    assert looks.ask(all_of()) == ("0", everybody)
    say(f"healthy ones of `names`, first asked: all three after {looks.until(healthy(), everybody, 15):.2f} s")
    assert looks.until(healthy("other"), {address(site, 15)}, 15) < 15
    assert looks.ask("q-s0.nobody.default.names.bosh")[0] == "3"
    assert looks.inside("getent", "hosts", all_of()).strip()
    assert site.director.rows("dns")[0]["on"] == "4 of 4 machines"


def test_a_stopped_process_takes_its_machine_out_within_three_seconds(site: Site) -> None:
    looks, target = eye(site, 10), eye(site, 11)
    others = {address(site, number) for number in (10, 12)}
    target.inside("sh", "-c", "kill -9 $(cat /var/vcap/sys/run/probe/probe.pid)")
    seconds = looks.until(healthy(), others, 6)
    say(f"probe/1's process killed: out of the healthy ones after {seconds:.2f} s")
    assert looks.ask(failing()) == ("0", {address(site, 11)})
    assert looks.ask(all_of())[1] == others | {address(site, 11)}
    assert seconds < 3.5
    seconds = looks.until(healthy(), others | {address(site, 11)}, 40)
    say(f"monit has started it again: back after {seconds:.2f} s")


def test_the_reason_is_shown_from_afar(site: Site) -> None:
    told = json.loads(site.director.run("--json", "-d", "names", "dns", "query", healthy(), "--on", "probe/0").out)["Tables"]
    answer, machines = told[0]["Rows"][0], told[1]["Rows"]
    assert answer["handler"] == "records"
    assert answer["filter"] == "healthy: 3 of 3 named"
    assert {row["health"] for row in machines} == {"running"}
    say(f"caisson dns query: {answer['form']}, {answer['filter']}, records {answer['records']}")


def test_a_container_asks_through_its_machine(site: Site) -> None:
    code, found = eye(site, 10).from_container(all_of())
    assert (code, found) == ("0", {address(site, number) for number in (10, 11, 12)})
    say("asked from a container's network behind probe/0, at 169.254.0.2: all three")


def test_without_the_director_names_and_health_go_on(site: Site) -> None:
    looks, target = eye(site, 10), eye(site, 11)
    site.director.stop()
    try:
        assert looks.ask(all_of())[1] == {address(site, number) for number in (10, 11, 12)}
        target.inside("sh", "-c", "kill -9 $(cat /var/vcap/sys/run/probe/probe.pid)")
        seconds = looks.until(healthy(), {address(site, number) for number in (10, 12)}, 6)
        say(f"the director is down, probe/1's process killed: out after {seconds:.2f} s")
        assert seconds < 3.5
        looks.until(healthy(), {address(site, number) for number in (10, 11, 12)}, 40)
    finally:
        site.director.start()


def test_an_address_that_is_another_machines_by_now_is_not_believed(site: Site) -> None:
    """The resolvers of `names` cannot be told that `other` is gone; its address goes to `third`, which is well."""
    looks = eye(site, 10)
    assert looks.ask(healthy("other")) == ("0", {address(site, 15)})
    for number in (10, 11, 12):
        eye(site, number).inside("systemctl", "stop", "ssh", check=False)
        eye(site, number).inside("sh", "-c", "pkill -x sshd", check=False)
    told = site.director.run("-d", "other", "delete-deployment", timeout=300).all
    assert "may still find what is about to be removed" in told, told
    rows = behind(site)
    say(f"`other` deleted; behind: {sorted(row['instance'].split('/')[0] + ' of ' + row['deployment'] for row in rows)}")
    assert len(rows) == 3
    assert looks.ask(all_of("other")) == ("0", {address(site, 15)}), "its records are the old ones"
    looks.until(healthy("other"), set(), 5)
    site.deploy("third", deployment(site, "third", 15), timeout=300)
    fresh = eye(site, 15, "third")
    fresh.until(healthy("third"), {address(site, 15)}, 20)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        assert looks.ask(healthy("other")) == ("0", set())
    say("its address is `third`'s, which is healthy: never believed to be `other`'s")
    for number in (10, 11, 12):
        eye(site, number).inside("systemctl", "start", "ssh")
    site.deploy("third", deployment(site, "third", 15).replace("max_in_flight: 2", "max_in_flight: 1"), timeout=300)
    began = time.monotonic()
    wait_for(lambda: not behind(site), 120, "all have the newest records", every=1)
    say(f"sshd is back: all machines have the newest records {time.monotonic() - began:.0f} s later")
    wait_for(lambda: looks.ask(all_of("other"))[0] == "3", 5, "`other` is unknown")
    looks.until(healthy("third"), {address(site, 15)}, 10)


def test_a_dead_machine_is_neither_healthy_nor_failing(site: Site) -> None:
    looks, target = eye(site, 10), eye(site, 12)
    everybody = {address(site, number) for number in (10, 11, 12)}
    looks.until(healthy(), everybody, 10)
    target.kill_all()
    seconds = looks.until(healthy(), everybody - {address(site, 12)}, 8)
    say(f"probe/2's machine killed: out of the healthy ones after {seconds:.2f} s, and not among the failing")
    assert looks.ask(failing()) == ("0", set())
    assert looks.ask(all_of())[1] == everybody
    assert looks.ask("q-s0.probe.default.names.bosh")[1] == everybody - {address(site, 12)}
    assert seconds < 4.0


def test_nothing_stays_when_the_job_goes(site: Site) -> None:
    """Also of a resolver that was killed and could undo nothing itself."""
    target = eye(site, 15, "third")
    assert "nameserver 169.254.0.2" in target.inside("cat", "/etc/resolv.conf")
    assert "169.254.0.2" in target.inside("ip", "-o", "address", "show", "dev", "lo")
    before = target.inside("cat", "/etc/resolv.conf").replace("nameserver 169.254.0.2\n", "")
    target.inside("sh", "-c", "kill -9 $(cat /var/vcap/sys/run/bosh-dns/bosh-dns.pid)")
    site.director.run("update-runtime-config", str(site.write("no-runtime.yml", "addons: []\n")))
    site.deploy("third", deployment(site, "third", 15), timeout=300)
    assert target.inside("cat", "/etc/resolv.conf") == before
    assert "169.254.0.2" not in target.inside("ip", "-o", "address", "show", "dev", "lo")
    assert "bosh_dns" not in target.inside("ps", "-eo", "args")
    say("the job is gone: so are its line in resolv.conf, its address and its processes")
