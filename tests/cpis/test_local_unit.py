"""What the local CPI decides without touching the computer: names, properties, apt sources, command lines, control groups."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpis.contract import (
    CloudChecker,
    Conflict,
    CpiError,
    Denied,
    Invalid,
    Login,
    Network,
    NotSupported,
    Unavailable,
    Uses,
    VmResources,
)
from cpis.local import LocalCpi, host
from cpis.local.cgroups import Hierarchy, discover
from cpis.local.checks import checks
from cpis.local.host import DirectHost, Limits, SystemdHost
from cpis.local.images import recipe_of
from cpis.local.launch import Launch, nspawn, script
from cpis.local.names import Names
from cpis.local.net import Net, Subnet, mac_of
from cpis.local.properties import VmProperties, smallest
from cpis.local.records import Records, cid_of, write_atomically
from cpis.local.run import need, run
from cpis.local.seed import write_seed
from cpis.local.sources import certificates, debian_sources, kept_settings


@given(st.text(min_size=1, max_size=80).filter(lambda text: "\0" not in text), st.integers(0, 3))
def test_interface_names_fit_and_differ_by_director(cid: str, index: int) -> None:
    one, two = Names(Path("/var/one")), Names(Path("/var/two"))
    subnet = IPv4Network("10.0.0.0/24")
    for names in (one, two):
        assert len(names.veth(cid, index)) <= 15
        assert len(names.bridge(subnet)) <= 15
    assert one.veth(cid, index) != two.veth(cid, index)
    assert one.table != two.table


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"memroy": 1024}, ["memroy", "memory"]),
        ({"memory": "1G"}, ["memory", "MiB"]),
        ({"memory": True}, ["memory"]),
        ({"memory": 1}, ["64"]),
        ({"cpus": 0}, ["cpus"]),
        ({"cpus": "two"}, ["cpus"]),
        ({"privileged": "yes"}, ["privileged"]),
        ({"ephemeral_disk": -5, "instance_type": "m1"}, ["ephemeral_disk", "instance_type"]),
    ],
)
def test_wrong_properties_are_named(properties: dict[str, object], words: Sequence[str]) -> None:
    with pytest.raises(Invalid) as caught:
        VmProperties.read(properties)
    assert all(word in f"{caught.value.message} {caught.value.suggestion}" for word in words)


def test_right_properties_are_read() -> None:
    read = VmProperties.read({"memory": 512, "cpus": 1, "privileged": True})
    assert read == VmProperties(512, 1.0, None, True)
    assert VmProperties.read({}).limits == Limits()


@pytest.mark.parametrize("asked", [VmResources(10_000, 64, 64), VmResources(1, 2**40, 64), VmResources(0, 64, 64), VmResources(1, 64, -1)])
def test_too_much_and_nothing_are_refused(asked: VmResources) -> None:
    with pytest.raises(Invalid):
        smallest(asked)


@pytest.mark.parametrize(
    ("network", "error"),
    [
        (Network("a", "vip", "10.0.0.2"), NotSupported),
        (Network("a", ip="fd00::2", prefix_length=64), NotSupported),
        (Network("a", ip="10.0.0.1", gateway="10.0.0.1"), Conflict),
        (Network("a", ip="10.0.0.0", gateway="10.0.0.1"), Invalid),
        (Network("a", ip="10.0.0.255", gateway="10.0.0.1"), Invalid),
        (Network("a", ip="10.0.0.2", gateway="10.0.1.1"), Invalid),
        (Network("a", ip="10.0.0.2", prefix_length=31), Invalid),
        (Network("a", ip="10.0.0.999"), Invalid),
        (Network("a", "dynamic"), Invalid),
    ],
)
def test_wrong_networks_are_refused(network: Network, error: type[CpiError]) -> None:
    with pytest.raises(error):
        Subnet.of(network)


def test_a_subnet_follows_from_address_and_prefix() -> None:
    assert str(Subnet.of(Network("a", ip="10.0.5.77", prefix_length=22, gateway="10.0.4.1")).range) == "10.0.4.0/22"
    assert str(Subnet.of(Network("a", "dynamic", cloud_properties={"range": "10.3.0.0/24"})).host) == "10.3.0.1"
    assert mac_of("10.0.5.77") == "02:ca:0a:00:05:4d"


DEB822 = """\
Types: deb deb-src
# a comment
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
 bookworm-backports
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main contrib
"""
THIRD_PARTY = """\
Types: deb
URIs: https://download.docker.com/linux/debian
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/docker.asc
"""
CLASSIC = """\
# deb http://deb.debian.org/debian sid main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://proxy.example/debian bookworm main contrib
deb-src http://deb.debian.org/debian bookworm main
deb https://packages.microsoft.com/debian/12/prod bookworm main
deb https://apt.postgresql.org/pub/repos/apt bookworm-pgdg main
"""


def test_apt_sources_of_both_kinds_without_third_parties(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text("")
    (folder / "debian.sources").write_text(DEB822)
    (folder / "docker.sources").write_text(THIRD_PARTY)
    (folder / "old.sources.disabled").write_text(DEB822.replace("mirror.example", "off.example"))
    assert debian_sources("bookworm", tmp_path).splitlines() == [
        "deb http://deb.debian.org/debian bookworm main non-free-firmware",
        "deb http://deb.debian.org/debian bookworm-updates main non-free-firmware",
        "deb https://mirror.example/debian-security bookworm-security main",
    ]
    (folder / "debian.sources").unlink()
    (tmp_path / "sources.list").write_text(CLASSIC)
    assert debian_sources("bookworm", tmp_path) == "deb http://proxy.example/debian bookworm main contrib\n"


def test_without_sources_of_the_suite_debian_itself_is_asked(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://archive.ubuntu.com/ubuntu noble main\n")
    assert debian_sources("bookworm", tmp_path).startswith("deb http://deb.debian.org/debian bookworm main\n")


def test_proxy_and_certificates_of_the_host_are_kept() -> None:
    dump = (
        'APT::Architecture "amd64";\nAcquire::cdrom::mount "/media/cdrom/";\nAcquire::http::Proxy "http://proxy:3128";\n'
        'Acquire::https::mirror.example::CAInfo "/etc/ssl/corp.pem";\nAcquire::https::Timeout "";\nAcquire::Check-Date "false";\n'
        'Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";\n'
    )
    kept = kept_settings(dump)
    assert kept.splitlines() == [
        'Acquire::http::Proxy "http://proxy:3128";', 'Acquire::https::mirror.example::CAInfo "/etc/ssl/corp.pem";',
        'Acquire::Check-Date "false";',
    ]
    assert certificates(kept) == ["/etc/ssl/corp.pem"]


def test_recipes_are_data_with_a_digest() -> None:
    recipe = recipe_of("debian-12")
    assert {"systemd", "openssh-server", "python3", "sudo", "monit"} <= set(recipe.packages)
    other = recipe_of({"suite": "bookworm", "packages": [*recipe.packages, "rsync"]})
    assert recipe.digest != other.digest
    assert recipe.digest == recipe_of("debian-12").digest
    bigger = recipe_of({"extends": "debian-12", "packages": ["rsync"]})
    assert bigger.packages == other.packages
    assert bigger.mask == recipe.mask
    assert set(recipe.packages) < set(recipe_of("debian-12-build").packages)
    with pytest.raises(Invalid, match="debian-21"):
        recipe_of("debian-21")
    with pytest.raises(Invalid, match="pakages"):
        recipe_of({"suite": "bookworm", "pakages": []})


def launch(**changes: object) -> Launch:
    home = Path("/var/a b/vm-1")
    return Launch("vm-1", "caisson-x-vm-1", home, Path("/cache/root"), "ns", Path("/dev/caisson/x/vm-1"), **changes)  # type: ignore[arg-type]


def test_the_boot_script_is_valid_shell_and_quotes(tmp_path: Path) -> None:
    for one in (launch(), launch(privileged=True), launch(quota="/dev/loop7")):
        path = tmp_path / "run.sh"
        path.write_text(script(one))
        run(["sh", "-n", str(path)])
        inner = script(one)
        assert "'/var/a b/vm-1/root'" in inner.replace("'\"'\"'", "'")
    assert "SYSTEMD_SECCOMP=0" in script(launch(privileged=True))
    assert "SYSTEMD_SECCOMP" not in script(launch())
    assert "/dev/loop7" in script(launch(quota="/dev/loop7"))


def test_only_privileged_machines_have_all_capabilities() -> None:
    assert "--capability=all" in nspawn(launch(privileged=True))
    assert "--capability=all" not in nspawn(launch())
    assert not any("/var/lib/docker" in word for word in nspawn(launch()))


def test_a_unit_on_a_host_with_systemd() -> None:
    said: list[Sequence[str]] = []

    def command(args: Sequence[str]) -> str:
        said.append(args)
        return "caisson-x-vm-1.service loaded active running\n" if "list-units" in args else "inactive\n"

    names = Names(Path("/var/one"))
    made = SystemdHost(names, command=command)
    args = made.start_command("vm-1", Path("/v/run.sh"), Limits(512, 0.5), ["7:3"])
    assert args[0] == "systemd-run"
    assert f"--unit={names.group}-vm-1.service" in args
    limits = {"Delegate=yes", "MemoryMax=512M", "CPUQuota=50%", "DevicePolicy=closed"}
    assert {f"--property={limit}" for limit in limits} <= set(args)
    assert any(word.startswith("--property=DeviceAllow=/dev/") and word.endswith(" rw") for word in args)
    assert args[-2:] == ["/bin/sh", "/v/run.sh"]
    free = made.start_command("vm-1", Path("/v/run.sh"), Limits(privileged=True), [])
    assert not any("MemoryMax" in word or "CPUQuota" in word or "Device" in word for word in free)
    assert not made.running("vm-1")
    made.stop("vm-1", 5)
    assert not any("kill" in args for args in said), "what does not run is not killed"


def test_hierarchies_of_both_versions_are_found(tmp_path: Path) -> None:
    mounts = (
        f"31 23 0:28 / {tmp_path} rw - tmpfs tmpfs rw\n"
        f"32 31 0:29 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        f"34 31 0:31 / {tmp_path}/cpuset rw - cgroup cgroup rw,cpuset\n"
        f"35 31 0:32 /docker/abc {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        f"40 31 0:37 / {tmp_path}/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
    )
    own = "9:name=systemd:/\n4:memory:/docker/abc/x\n3:cpuset:/\n1:cpu,cpuacct:/\n0::/\n"
    found = {hierarchy.mount.name: hierarchy for hierarchy in discover(mounts, own)}
    assert set(found) == {"cpu", "memory", "systemd", "unified"}
    assert found["memory"].own == "/x"
    assert found["cpu"].controllers == {"cpu", "cpuacct"}
    assert not found["unified"].v1
    with pytest.raises(Unavailable, match="no control groups"):
        discover("", own)


def test_groups_are_found_below_another_process(tmp_path: Path) -> None:
    mounts, own = f"32 31 0:29 / {tmp_path} rw - cgroup cgroup rw,pids\n", "1:pids:/session-2\n"
    (tmp_path / "session-1/caisson-x/vm-1").mkdir(parents=True)
    (hierarchy,) = discover(mounts, own)
    assert hierarchy.find("caisson-x/vm-1") == [tmp_path / "session-1/caisson-x/vm-1"]
    assert hierarchy.find("caisson-x/vm-2") == []
    made = DirectHost(Names(tmp_path), [hierarchy])
    assert made.held() == []


def test_what_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cpis.local.run._PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable) as caught:
        need("systemd-nspawn", "nft")
    assert caught.value.suggestion == "apt-get install nftables systemd-container"
    with pytest.raises(Unavailable, match="not installed"):
        run(["mmdebstrap"])


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Denied) as caught:
        host.detect(Names(tmp_path))
    assert "sudo" in caught.value.suggestion
    assert LocalCpi({"state_dir": str(tmp_path)}).info().api_version == 2, "info works anywhere"


def test_a_kernel_without_overlayfs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, *args, **kwargs: "nodev proc\n")
    monkeypatch.setattr(host, "run", lambda args: "")
    with pytest.raises(Unavailable, match="overlayfs"):
        host._need_kernel()


@pytest.mark.parametrize("config", [{}, {"state_dir": ""}, {"state_dir": "/x", "image_cahce": "/y"}])
def test_wrong_settings_are_refused(config: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        LocalCpi(config)


def test_records_are_whole_and_stay_in_their_folder(tmp_path: Path) -> None:
    records = Records(tmp_path / "vms", "vm")
    assert records.all() == []
    records.put("vm-1", {"cid": "vm-1"})
    assert stat.S_IMODE(records.path("vm-1").stat().st_mode) == 0o600
    assert records.get("vm-1") == {"cid": "vm-1"}
    for cid in ("", "..", "../vm-1", ".hidden", "a/b"):
        assert records.get(cid) is None
        records.remove(cid)
    records.path("vm-1").write_text("{half")
    with pytest.raises(Unavailable, match="cannot be read"):
        records.get("vm-1")
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no/folder", "")


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    records = Records(tmp_path / "vms", "vm")
    records.put("vm-1", {})
    (records.home("vm-1") / "upper").mkdir()
    (records.home("vm-1") / "upper/link").symlink_to(tmp_path / "precious")
    (records.home("vm-1") / "top").symlink_to(tmp_path / "precious")
    records.remove("vm-1")
    assert not records.home("vm-1").exists()
    assert (tmp_path / "precious/file").exists()


def test_one_token_one_cid() -> None:
    assert cid_of("vm", "a") == cid_of("vm", "a") != cid_of("vm", "b")


@pytest.mark.skipif(os.geteuid() != 0, reason="owners of files need root")
def test_the_seed_has_the_login_and_nothing_is_world_readable(tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (image / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (image / "etc/group").write_text("root:x:0:\n")
    (image / "etc/shadow").write_text("root:*:1:0:99999:7:::\n")
    login = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "PRIVATE")
    networks = (Network("a", ip="10.0.0.2", dns=("9.9.9.9",)), Network("b", ip="10.1.0.2", dns=("1.1.1.1",), default=("dns",)))
    write_seed(tmp_path / "seed", image, "vm-1", login, networks, ["8.8.8.8"])
    seed = tmp_path / "seed"
    assert (seed / "home/caisson/.ssh/authorized_keys").read_text() == "ssh-ed25519 AAAA\n"
    assert stat.S_IMODE((seed / "etc/ssh/ssh_host_ed25519_key").stat().st_mode) == 0o600
    assert stat.S_IMODE((seed / "etc/shadow").stat().st_mode) == 0o640
    assert "caisson:*:" in (seed / "etc/shadow").read_text()
    assert (seed / "etc/resolv.conf").read_text() == "nameserver 1.1.1.1\n"
    assert (seed / "home/caisson").stat().st_uid == 1900
    keys = []
    for name in ("one", "two"):  # a director that has no host key for them, as one of BOSH
        write_seed(tmp_path / name, image, "vm-1", Login("vcap", "ssh-ed25519 AAAA", "", ""), networks, [])
        keys.append((tmp_path / name / "etc/ssh/ssh_host_ed25519_key.pub").read_text())
        assert "PRIVATE KEY" in (tmp_path / name / "etc/ssh/ssh_host_ed25519_key").read_text()
    assert keys[0].startswith("ssh-ed25519 ")
    assert keys[0] != keys[1]
    with pytest.raises(Invalid):
        write_seed(tmp_path / "seed", image, "vm-1", Login("../x", "", "", ""), networks, [])
    (image / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    write_seed(tmp_path / "another", image, "vm-2", login, networks, [])
    assert not (tmp_path / "another/etc/resolv.conf").exists(), "systemd-resolved keeps its own"


def test_this_computer_is_checked(tmp_path: Path) -> None:
    def checked(prepare: Callable[[], object] = lambda: None, memory: str = "MemAvailable: 4194304 kB\n") -> list[tuple[str, bool | None]]:
        (tmp_path / "meminfo").write_text(memory)
        uses = Uses(stemcell_cids=("stemcell-1", "stemcell-2"))
        return [(check.kind, check.ok) for check in checks(prepare, tmp_path / "state", stemcells, uses, tmp_path / "meminfo")]

    def lacking() -> None:
        raise Unavailable("no mmdebstrap", suggestion="apt-get install mmdebstrap")

    stemcells = Records(tmp_path / "stemcells", "stemcell")
    stemcells.put("stemcell-1", {
        "cid": "stemcell-1", "token": "t", "metadata": {}, "created_at": 1.0, "image": str(tmp_path), "heavy": False})
    assert checked() == [("reach", True), ("storage", True), ("quota", True), ("image", True), ("image", False)]
    assert checked(memory="MemAvailable: 1024 kB\n")[2] == ("quota", False)
    assert checked(memory="")[2] == ("quota", None)
    assert checked(lacking) == [("reach", False)]
    assert isinstance(LocalCpi({"state_dir": str(tmp_path / "state")}), CloudChecker)
    assert not (tmp_path / "state").exists(), "a look makes nothing"


def test_another_directors_range_is_refused_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpis.local.net.HOST_LOCK", tmp_path / "lock")
    links = '[{"ifname": "cbaaaaa111111", "flags": ["UP"], "addr_info": [{"family": "inet", "local": "10.0.0.1", "prefixlen": 16}]}]'
    monkeypatch.setattr("cpis.local.net.run", lambda args, **more: links)
    monkeypatch.setattr("cpis.local.net._alias", lambda name: "caisson director 'prod' (/srv/prod) 10.0.0.0/16")
    net = Net(Names(tmp_path), "me", lambda step: pytest.fail(f"effect '{step}' before the check"))
    with pytest.raises(Conflict, match=r"10\.0\.3\.0/24 is held by director 'prod' \(/srv/prod\)"):
        net.ensure_bridge(Subnet.of(Network("a", ip="10.0.3.5", gateway="10.0.3.1")))


@pytest.mark.parametrize(
    ("v1", "machines", "file", "share"),
    [(True, 3, "cpu.shares", "3072"), (True, 0, "cpu.shares", "1024"), (True, 300, "cpu.shares", "262144"),
     (False, 3, "cpu.weight", "300"), (False, 200, "cpu.weight", "10000")],
)
def test_machines_together_have_the_share_of_so_many(v1: bool, machines: int, file: str, share: str, tmp_path: Path) -> None:
    """A group counts as one process: without it all machines of a director would get what one process gets."""
    for number in range(machines):
        (tmp_path / f"vm-{number}").mkdir()
    Hierarchy(tmp_path, "/", frozenset({"cpu"}), v1).share_cpu(tmp_path)
    assert (tmp_path / file).read_text() == share
