"""Who may ask and how much: strangers, networks of this machine, limits of answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from dnskit import over_udp, question, read, resolver

from director.guest.dns.access import Access, network_of, own_networks
from director.guest.dns.limits import Limiter

NAME = "q-s4.db.default.cf.bosh"
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
TRIE = """Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 192.0.2.7
        /32 host LOCAL
     |-- 10.255.255.255
        /32 link BROADCAST
"""
SIX = (
    "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 1 0 1 eth0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 1 0 3 eth0\n"
    "ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 1 0 1 eth0\n")


@pytest.fixture
def machine(tmp_path: Path) -> str:
    for name, text in (("route", ROUTES), ("fib_trie", TRIE), ("ipv6_route", SIX)):
        (tmp_path / name).write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize(("address", "allowed"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.3.4", True), ("172.17.0.2", True), ("192.0.2.7", True),
    ("fd00::5", True), ("10.1.0.1", False), ("8.8.8.8", False), ("192.0.2.8", False), ("fd01::1", False), ("ff02::1", False),
    ("::2", False), ("fd00::5%eth0", True),
])
def test_this_machines_networks_may_ask(machine: str, address: str, allowed: bool) -> None:
    access = Access(["own"], lambda: 0.0, lambda: own_networks(machine))
    assert [access.admits(address) for _ in range(2)] == [allowed] * 2


def test_a_network_that_comes_later_is_found() -> None:
    networks = []
    now = [0.0]
    access = Access(["own"], lambda: now[0], lambda: list(networks))
    assert not access.admits("172.17.0.2")
    networks.append(network_of("172.17.0.0/16"))
    assert not access.admits("172.17.0.2"), "strangers do not make it look more than once a second"
    now[0] = 1.5
    assert access.admits("172.17.0.2")


def test_networks_and_everybody_can_be_allowed() -> None:
    access = Access(["10.9.0.0/16", "fd09::/16"], lambda: 0.0)
    assert [access.admits(text) for text in ("10.9.1.1", "fd09::1", "10.8.0.1", "127.0.0.1")] == [True, True, False, True]
    assert Access(["any"], lambda: 0.0).admits("8.8.8.8")


def test_a_machine_without_proc_has_no_networks(tmp_path: Path) -> None:
    assert own_networks(str(tmp_path)) == []


class Nobody(Access):
    def admits(self, address: str) -> bool:
        return False


@pytest.mark.parametrize("packet", [question(NAME), question(NAME, edns=4096), question("example.com", "ANY"),
                                    question(NAME, flags=0x2800)])
def test_strangers_get_no_more_bytes_than_they_sent(packet: bytes) -> None:
    server = resolver()
    answer = over_udp(server, packet, access=Nobody([], lambda: 0.0))
    assert read(answer).code == "REFUSED"
    assert len(answer) <= len(packet)
    assert over_udp(server, packet, access=Nobody([], lambda: 0.0), silent=True) == b""


@pytest.mark.parametrize("packet", [b"", b"scrap", question(NAME, flags=0x8180)])
def test_scraps_and_answers_of_strangers_are_dropped(packet: bytes) -> None:
    assert over_udp(resolver(), packet, access=Nobody([], lambda: 0.0)) == b""


def test_strangers_are_strangers_to_prepared_answers_too() -> None:
    server = resolver()
    assert read(over_udp(server, question(NAME))).answers
    assert read(over_udp(server, question(NAME), access=Nobody([], lambda: 0.0))).code == "REFUSED"


def test_limits_of_answers_for_each_network() -> None:
    now = [0.0]
    limiter = Limiter(10, lambda: now[0])
    verdicts = [limiter.judge(f"10.0.0.{number}") for number in range(40)]
    assert verdicts[:20] == ["answer"] * 20
    assert verdicts[20:].count("cut") == 10
    assert verdicts[20:].count("silence") == 10
    assert limiter.judge("10.0.1.1") == "answer", "another network has its own share"
    assert limiter.judge("fd00::1") == "answer"
    now[0] = 1.0
    assert [limiter.judge("10.0.0.1") for _ in range(11)].count("answer") == 10
    for number in range(11_000):
        limiter.judge(f"{number >> 16}.{number >> 8 & 255}.{number & 255}.1")
    assert len(limiter._networks) <= 10_000


def test_a_limited_asker_is_sent_to_tcp() -> None:
    class Spent(Limiter):
        def judge(self, address: str) -> str:
            return "cut"

    server = resolver()
    spent = Spent(1, lambda: 0.0)
    reply = read(over_udp(server, question(NAME), limiter=spent))
    assert reply.answers, "this machine itself is not limited"
    from director.guest.dns import datagrams

    before, datagrams._LOOPBACK = datagrams._LOOPBACK, frozenset()
    try:
        reply = read(over_udp(server, question(NAME), limiter=spent))
    finally:
        datagrams._LOOPBACK = before
    assert (reply.truncated, reply.answers) == (True, ())


def test_bad_networks_are_refused() -> None:
    with pytest.raises(ValueError):
        Access(["10.0.0.0/99"], lambda: 0.0)
