"""Every byte string may be a letter: none ends the resolver, none but a right one changes anything. And letters on real sockets."""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peersworld import Machine, Network, pair_of_machines, record, ring_text, speaker_key

from director.guest.dns.health import RUNNING
from director.guest.dns.loop import Loop
from director.guest.dns.peers import letters
from director.guest.dns.peers.exchange import Peers
from director.guest.dns.peers.keys import Ring, pair
from director.guest.dns.records import Records

KEY = pair(speaker_key("agent-b"), "agent-a")


@given(
    lease=st.integers(0, 65535), groups=st.lists(st.integers(0, 2**32 - 1), max_size=letters.MOST_GROUPS, unique=True),
    names=st.tuples(*[st.text("abc-0", min_size=1, max_size=60)] * 2), running=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_is_read(lease: int, groups: list[int], names: tuple[str, str], running: bool) -> None:
    asked = letters.opened(letters.ask(KEY, b"n" * 16, *names, letters.Ask(lease, tuple(groups))))
    assert asked is not None
    assert (asked.sender, asked.recipient, asked.is_by(KEY)) == (*names, True)
    assert letters.read_ask(asked.body) == letters.Ask(lease, tuple(groups))
    answer = letters.Tell(b"e" * 8, 7, 1.4, running, dict.fromkeys(groups, running))
    told = letters.opened(letters.tell(KEY, b"n" * 16, *names, answer))
    assert told is not None
    assert letters.read_tell(told.body) == answer


def spoilt(packet: bytes, chosen: random.Random) -> bytes:
    kind = chosen.randrange(5)
    if kind == 0:
        return packet[: chosen.randrange(len(packet))]
    if kind == 1:
        return packet + chosen.randbytes(chosen.randrange(1, 30))
    if kind == 2:
        return chosen.randbytes(chosen.randrange(200))
    made = bytearray(packet)
    for _ in range(chosen.randrange(1, 4)):
        made[chosen.randrange(len(made))] = chosen.choice((0, 1, 0x7F, 0xFF, chosen.randrange(256)))
    return bytes(made)


def test_nothing_spoilt_is_believed_and_nothing_ends_the_resolver(tmp_path: Path) -> None:
    chosen = random.Random(20261127)
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], ("name",))
    network.turn(1)
    sent = [packet for _, _, packet in network.traffic]
    network.traffic.clear()
    whole = set(sent)
    before = a.changes
    for number in range(20000):
        packet = spoilt(chosen.choice(sent), chosen)
        if packet not in whole:
            machine = (a, b)[number % 2]
            machine.peers.hear(packet, (chosen.choice((a.ip, b.ip, "192.0.2.1")), 8853))
    assert network.traffic == []
    assert (a.sees(other), a.changes) == (RUNNING, before)


def test_a_machine_that_is_followed_at_two_addresses_holds_two_leases(tmp_path: Path) -> None:
    network = Network(tmp_path)
    records = [record("agent-a", "10.0.0.1"), record("agent-b", "10.0.0.2"), record("agent-b", "10.9.0.2")]
    a = network.machine("agent-a", "10.0.0.1", ["agent-b"], records)
    b = network.machine("agent-b", "10.0.0.2", ["agent-a"], records)
    b.become(True)
    # The second address leads to the same machine, which answers from there.
    network.machines["10.9.0.2"] = _second(b, "10.9.0.2", a)
    a.peers.interested(records[1:], ("name",))
    network.turn(2)
    network.traffic.clear()
    network.turn(10)
    asks = [1 for source, _, _ in network.traffic if source == a.ip]
    assert (a.sees(records[1]), a.sees(records[2])) == (RUNNING, RUNNING)
    assert asks == [], "no lease pushes out the other"
    assert len(b.peers.speaker or ()) == 2


class _Second:
    """Another address of a machine."""

    def __init__(self, machine: Machine, ip: str) -> None:
        self.machine, self.ip, self.loop, self.peers = machine, ip, machine.loop, self

    def hear(self, packet: bytes, address: tuple[str, int]) -> None:
        self.machine.peers.hear(packet, address)


def _second(machine: Machine, ip: str, asker: Machine) -> Machine:
    network, speaker = machine.network, machine.peers.speaker
    assert speaker is not None
    seen: dict[bytes, str] = {}
    deliver = network.send

    def send(source: str, target: str, packet: bytes) -> None:
        nonce = packet[4 : 4 + letters.SAME]
        if source == asker.ip:
            seen[nonce] = target
        deliver(seen.get(nonce, source) if source == machine.ip else source, target, packet)

    network.send = send  # type: ignore[method-assign]
    return _Second(machine, ip)  # type: ignore[return-value]


@pytest.mark.parametrize(("addresses", "bind"), [
    pytest.param(("127.0.71.1", "127.0.71.2"), True, id="IPv4"),
    pytest.param(("127.0.0.1", "::1"), False, id="both families on one socket"),
])
def test_letters_travel_over_real_sockets(tmp_path: Path, addresses: tuple[str, str], bind: bool) -> None:
    loop = Loop()
    rows = [record("agent-a", addresses[0]), record("agent-b", addresses[1])]
    made = []
    for row, other in zip(rows, reversed(rows), strict=True):
        path = tmp_path / row.agent_id
        path.write_text(ring_text(row.agent_id, [other.agent_id]))
        peers = Peers(
            loop, Ring(str(path)), lambda: Records(rows), address=row.ip if bind else "", port=18853 if bind else 0, speaks=True)
        try:
            peers.start()
        except OSError as error:
            pytest.skip(f"no such socket here: {error}")
        made.append(peers)
    if not bind:
        # Two machines on one computer, told apart by their ports.
        for peers, other in zip(made, reversed(made), strict=True):
            assert other._socket is not None
            peers.follower._port = other._socket.getsockname()[1]
    made[1].local.running = True
    made[0].interested([rows[1]], ("name",))
    end = time.monotonic() + 10
    while made[0].state(rows[1], "") != RUNNING and time.monotonic() < end:
        loop.turn(0.05)
    state = made[0].state(rows[1], "")
    loop.close()
    if not bind and state != RUNNING:
        pytest.skip("there is no IPv6 here")
    assert state == RUNNING


def test_a_port_that_is_taken_is_no_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who has it is said; when it is free again, health begins."""
    path = tmp_path / "ring"
    path.write_text(ring_text("agent-a", []))
    now = [0.0]
    loop = Loop(lambda: now[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        peers = Peers(loop, Ring(str(path)), Records, address="127.0.0.1", port=port)
        peers.start()
        peers.interested([record("agent-b", "127.0.0.1")], ("name",))
        assert f"health goes without port {port}" in caplog.text
        assert f"(pid {os.getpid()})" in caplog.text
        now[0] = 6.0
        loop.turn(0.0)
        assert peers._socket is None
    now[0] = 12.0
    loop.turn(0.0)
    assert peers._socket is not None
    loop.close()
