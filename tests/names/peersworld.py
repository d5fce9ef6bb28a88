"""Machines in memory: a clock that tests move, a network that loses what it is told to lose, and the resolvers' real peers on it."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable
from pathlib import Path

from director.guest.dns.loop import Loop
from director.guest.dns.peers.exchange import Peers
from director.guest.dns.peers.keys import Ring
from director.guest.dns.records import Record, Records, packed_of

SECRET = b"the director's own"


def speaker_key(agent_id: str) -> bytes:
    return hmac.new(SECRET, agent_id.encode(), hashlib.sha256).digest()


def ring_text(agent_id: str, others: list[str]) -> str:
    lines = [f"self {agent_id}", f"speaker {speaker_key(agent_id).hex()}", f"records {hashlib.sha256(agent_id.encode()).hexdigest()}"]
    for other in others:
        key = hmac.new(speaker_key(other), b"caisson names: pair\0" + agent_id.encode(), hashlib.sha256).hexdigest()
        lines.append(f"peer {other} {key}")
    return "\n".join(lines) + "\n"


def record(agent_id: str, ip: str, *, groups: tuple[str, ...] = ("1", "7"), id_: str = "") -> Record:
    return Record(id_ or f"i-{agent_id}", "1", "web", groups, "1", "default", "1", "app", packed_of(ip), ("bosh",), agent_id, 0)


class Network:
    """`turn(seconds)` lets time pass. `lost(source, target)` decides what does not arrive; `traffic` has all that was sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.machines: dict[str, Machine] = {}
        self.lost: Callable[[str, str], bool] = lambda source, target: False
        self.traffic: list[tuple[str, str, bytes]] = []
        self._waiting: list[tuple[str, str, bytes]] = []
        self._numbers = itertools.count()

    def machine(self, agent_id: str, ip: str, knows: list[str], records: list[Record]) -> Machine:
        path = self.folder / f"ring-{next(self._numbers)}"
        path.write_text(ring_text(agent_id, knows))
        self.machines[ip] = Machine(self, agent_id, ip, path, records)
        return self.machines[ip]

    def send(self, source: str, target: str, packet: bytes) -> None:
        self.traffic.append((source, target, packet))
        if not self.lost(source, target):
            self._waiting.append((source, target, packet))

    def deliver(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for source, target, packet in waiting:
                if target in self.machines:
                    self.machines[target].peers.hear(packet, (source, 8853))

    def turn(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += 0.05
            for machine in list(self.machines.values()):
                machine.loop.turn(0.0)
            self.deliver()
            for machine in list(self.machines.values()):
                machine.loop.turn(0.0)


class Machine:
    def __init__(self, network: Network, agent_id: str, ip: str, ring: Path, records: list[Record]) -> None:
        self.network, self.agent_id, self.ip, self.ring = network, agent_id, ip, ring
        self.records = Records(records)
        self.loop = Loop(lambda: network.now)
        made = Ring(str(ring))
        assert made.renew()
        self.changes = 0
        self.peers = Peers(
            self.loop, made, lambda: self.records, most_names=5,
            send=lambda packet, address: network.send(ip, address[0], packet))
        self.peers.subscribe(self._changed)
        self.peers.run()

    def _changed(self) -> None:
        self.changes += 1

    def become(self, running: bool, groups: dict[int, bool] | None = None) -> None:
        self.peers.local.running, self.peers.local.groups = running, groups or {}
        self.peers.changed_here()

    def sees(self, other: Record, group: str = "") -> str:
        return self.peers.state(other, group)


def pair_of_machines(folder: Path) -> tuple[Network, Machine, Machine, Record]:
    """`a` asks, `b` answers; both run."""
    network = Network(folder)
    records = [record("agent-a", "10.0.0.1"), record("agent-b", "10.0.0.2")]
    a = network.machine("agent-a", "10.0.0.1", ["agent-b"], records)
    b = network.machine("agent-b", "10.0.0.2", ["agent-a"], records)
    a.become(True)
    b.become(True)
    return network, a, b, records[1]
