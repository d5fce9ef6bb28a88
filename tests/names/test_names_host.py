"""What the resolver changes on its machine, and that nothing of it stays. Source: DNS contract, section 7.2."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from director.guest.dns import host, resolved, settings
from director.guest.dns.__main__ import main
from director.guest.dns.service import Service


class System:
    """Remembers commands; those that start with a text of `fails` end badly."""

    def __init__(self, *fails: str) -> None:
        self.ran: list[str] = []
        self.fails = fails

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        line = " ".join(command)
        self.ran.append(line)
        return (1, "not today") if line.startswith(self.fails) and self.fails else (0, "")


def test_systemd_resolved_is_told_once_and_again_when_zones_change() -> None:
    system = System()
    told = resolved.Resolved("169.254.0.2", system)
    for _ in range(3):
        told.keep(["bosh", "bosh-agent-id", "upcheck.bosh-dns"])
    assert system.ran == [
        "resolvectl dns bosh-dns 169.254.0.2", "resolvectl domain bosh-dns ~bosh ~bosh-agent-id ~upcheck.bosh-dns",
        "resolvectl default-route bosh-dns no",
    ]
    told.keep(["bosh", "db.internal"])
    assert "resolvectl domain bosh-dns ~bosh ~db.internal" in system.ran


def test_a_systemd_resolved_that_is_not_ready_is_told_later() -> None:
    system = System("resolvectl")
    told = resolved.Resolved("169.254.0.2", system)
    told.keep(["bosh"])
    system.fails = ()
    told.keep(["bosh"])
    assert system.ran[-1] == "resolvectl default-route bosh-dns no"


def test_the_interface_is_made_once_and_goes_again() -> None:
    system = System("ip link show")
    resolved.add_address("169.254.0.2", system)
    assert system.ran[1:] == [
        "ip link add bosh-dns type dummy", "ip link set dev bosh-dns up", "ip address replace 169.254.0.2/32 dev bosh-dns"]
    resolved.release(system)
    assert "ip link delete dev bosh-dns" not in system.ran, "it was gone already"
    system = System()
    resolved.add_address("169.254.0.2", system)
    assert "ip link add bosh-dns type dummy" not in system.ran, "left over by one that was killed"
    resolved.release(system)
    assert system.ran[-1] == "ip link delete dev bosh-dns"


def test_a_kernel_without_dummy_interfaces_gives_a_pair() -> None:
    system = System("ip link show", "ip link add bosh-dns type dummy")
    resolved.add_address("169.254.0.2", system)
    assert system.ran[2:] == [
        "ip link add bosh-dns type veth peer name bosh-dns-peer", "ip link set dev bosh-dns-peer up", "ip link set dev bosh-dns up",
        "ip address replace 169.254.0.2/32 dev bosh-dns"]


def test_an_interface_that_cannot_be_made_is_said() -> None:
    with pytest.raises(OSError, match=r"`ip link add bosh-dns type veth peer name bosh-dns-peer` failed: not today"):
        resolved.add_address("169.254.0.2", System("ip link show", "ip link add"))


def test_another_address_may_stand_in_resolv_conf(tmp_path: Path) -> None:
    """What containers can reach, as container engines copy the file into them; search domains and options stay."""
    conf = tmp_path / "resolv.conf"
    before = "search example.com sub.example.com\nnameserver 192.0.2.1\noptions ndots:2\n"
    conf.write_text(before)
    config = tmp_path / "config.json"
    tree = {"listen": ["127.0.0.1:0"], "records": "none", "override_nameserver": True, "nameserver": "10.0.0.9", "resolv_conf": str(conf)}
    config.write_text(json.dumps(tree))
    service = Service(settings.read(str(config)))
    service.start()
    assert conf.read_text() == "search example.com sub.example.com\nnameserver 10.0.0.9\nnameserver 192.0.2.1\noptions ndots:2\n"
    assert main(["release", "--config", str(config)]) == 0, "as after a kill: the process itself did not undo it"
    assert conf.read_text() == before
    service.stop()
    assert conf.read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="addresses are root's")
def test_our_address_goes_and_those_that_were_there_stay(tmp_path: Path) -> None:
    state = tmp_path / "state/addresses"
    address = f"169.254.77.{os.getpid() % 250 + 2}"
    host.add_address("127.0.0.1", str(state))
    assert not state.exists(), "it was there before"
    try:
        host.add_address(address, str(state))
    except OSError as error:
        pytest.skip(f"no address can be added here: {error}")
    host.add_address(address, str(state))
    assert state.read_text() == f"{address}/32\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
    host.remove_addresses(str(state))
    shown = subprocess.run(["ip", "-o", "address", "show", "dev", "lo"], capture_output=True, text=True, check=True).stdout
    assert address not in shown
    assert "127.0.0.1" in shown
    host.remove_addresses(str(state))
