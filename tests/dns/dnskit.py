"""Packets by hand: a second, independent reading of the format, so that the resolver's own is not what judges it."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from director.guest.dns import health
from director.guest.dns.access import Access
from director.guest.dns.aliases import Aliases
from director.guest.dns.chain import Chain, Parts
from director.guest.dns.datagrams import Datagrams
from director.guest.dns.forwarding import Forwarder
from director.guest.dns.handlers import Handler
from director.guest.dns.handlers.recursion import Recursion
from director.guest.dns.loading import load
from director.guest.dns.lookup import Lookup
from director.guest.dns.loop import Loop
from director.guest.dns.records import Record
from director.guest.dns.server import Resolver
from director.guest.dns.servers import Servers
from director.guest.dns.upstream import Pool

KEYS = [
    "id", "num_id", "instance_group", "group_ids", "az", "az_id", "network", "network_id", "deployment", "ip", "domain", "agent_id",
    "instance_index",
]
TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65, "AXFR": 252, "ANY": 255,
}
CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")


def row(id_: str, num: str, ip: str, az: str, index: int, **changes: Any) -> list[Any]:
    values = {
        "id": id_, "num_id": num, "instance_group": "db", "group_ids": ["1", "7"], "az": f"z{az}", "az_id": az, "network": "default",
        "network_id": "3", "deployment": "cf", "ip": ip, "domain": "bosh", "agent_id": f"agent-{id_}", "instance_index": index, **changes,
    }
    return [values[key] for key in KEYS]


UUID_A, UUID_B = row("uuid-A", "42", "10.0.0.5", "1", 0), row("uuid-B", "43", "10.0.0.6", "2", 1)


def records_text(rows: Sequence[Any] = (UUID_A, UUID_B), aliases: Mapping[str, Any] | None = None, version: int = 17) -> str:
    """A records file; the host names are made of the rows."""
    hosts = [[item[9], f"{item[0]}.{item[2]}.{item[6]}.{item[8]}.{item[10]}"] for item in rows if len(item) == len(KEYS)]
    return json.dumps({
        "records": hosts, "version": version, "record_keys": KEYS, "record_infos": list(rows), "aliases": dict(aliases or {})})


class FakeHealth:
    """States by instance id, or by (instance id, group id); others are `default`. `asked` and `checked` say who was asked for."""

    enabled = True

    def __init__(self, default: str = health.RUNNING, states: Mapping[Any, str] | None = None) -> None:
        self.default = default
        self.states: dict[Any, str] = dict(states or {})
        self.asked: list[str] = []
        self.checked: list[str] = []
        self.renewals: list[Callable[[tuple[str, ...]], Sequence[Record]]] = []
        self.waiting: list[Callable[[], None]] = []
        self._subscribers: list[Callable[[], None]] = []

    def state(self, record: Record, group_id: str) -> str:
        return self.states.get((record.id, group_id)) or self.states.get(record.id, self.default)

    def interested(self, records: Sequence[Record], name: tuple[str, ...] = ()) -> None:
        self.asked += [record.id for record in records]

    def renewed(self, select: Callable[[tuple[str, ...]], Sequence[Record]]) -> None:
        self.renewals.append(select)

    def check(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        self.checked += [record.id for record in records]
        self.waiting.append(done)

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._subscribers.append(changed)

    def become(self, **states: str) -> None:
        self.states.update({name.replace("_", "-"): state for name, state in states.items()})
        for changed in self._subscribers:
            changed()


def lookup(
    text: str = "", files: Mapping[str, Sequence[str]] | None = None, known: health.Health | None = None, loop: Loop | None = None,
) -> Lookup:
    records = load(text or records_text())
    return Lookup(records, Aliases(files or {}, records), known or health.Off(), (loop or Loop()).later)


def resolver(
    text: str = "", *, files: Mapping[str, Sequence[str]] | None = None, known: health.Health | None = None, loop: Loop | None = None,
    recursion: Recursion | None = None, recursors: bool = True, domains: Sequence[Handler] = (),
) -> Resolver:
    """Answers without sockets. With `recursors` and no `recursion`, names of others are asked of nobody."""
    loop = loop or Loop()
    if recursion is None and recursors:
        recursion = Recursion(Forwarder(loop, Pool(loop, Servers([], loop.clock))))
    parts = Parts(lookup(text, files, known, loop), recursion=recursion, domains=domains)
    made = Resolver(Chain(parts))
    parts.lookup.health.subscribe(made.forget)
    return made


def question(
    name: str, kind: str = "A", *, edns: int | None = None, flags: int = 0x0100, number: int = 0x1234, klass: int = 1, more: int = 0,
    options: bytes = b"",
) -> bytes:
    """`more` and `options` are the TTL and the data of the OPT record."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    body = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + struct.pack("!HH", TYPES[kind], klass)
    opt = b"\0" + struct.pack("!HHIH", 41, edns, more, len(options)) + options if edns is not None else b""
    return struct.pack("!HHHHHH", number, flags, 1, 0, 0, 1 if opt else 0) + body + opt


@dataclasses.dataclass(frozen=True)
class Reply:
    number: int
    flags: int
    name: str
    answers: tuple[str, ...]
    ttls: tuple[int, ...]
    edns: int | None
    size: int

    @property
    def code(self) -> str:
        return CODES[self.flags & 0xF]

    @property
    def truncated(self) -> bool:
        return bool(self.flags & 0x0200)

    @property
    def authoritative(self) -> bool:
        return bool(self.flags & 0x0400)

    @property
    def recursion_available(self) -> bool:
        return bool(self.flags & 0x0080)


def read(packet: bytes) -> Reply:
    """Raises for anything that is no valid message: wrong counts, bytes left over, pointers that do not lead back."""
    number, flags, questions, answers, authorities, additional = struct.unpack_from("!HHHHHH", packet)
    assert flags & 0x8000, "not an answer"
    offset, name = 12, ""
    for _ in range(questions):
        name, offset = _name(packet, offset)
        offset += 4
    texts, ttls, edns = [], [], None
    for _ in range(answers + authorities + additional):
        _, offset = _name(packet, offset)
        kind, klass, ttl, length = struct.unpack_from("!HHIH", packet, offset)
        data = packet[offset + 10 : offset + 10 + length]
        assert len(data) == length
        if kind == 41:
            edns = klass
        else:
            address = str(ipaddress.ip_address(data)) if kind in (1, 28) else ""
            texts.append(address or (_name(packet, offset + 10)[0] if kind == 12 else data.hex()))
            ttls.append(ttl)
        offset += 10 + length
    assert offset == len(packet), "bytes left over"
    return Reply(number, flags, name, tuple(texts), tuple(ttls), edns, len(packet))


def _name(packet: bytes, offset: int) -> tuple[str, int]:
    labels, end = [], None
    while packet[offset]:
        length = packet[offset]
        if length & 0xC0:
            target = struct.unpack_from("!H", packet, offset)[0] & 0x3FFF
            assert target < offset, "a pointer leads forward"
            end = end or offset + 2
            offset = target
            continue
        labels.append(packet[offset + 1 : offset + 1 + length].decode("latin-1"))
        offset += 1 + length
    return ".".join(labels) + ".", end or offset + 1


def ask(server: Resolver, name: str, kind: str = "A", *, tcp: bool = False, **options: Any) -> Reply:
    """One question, answered at once: over a UDP socket, or as TCP hands it on."""
    packet = question(name, kind, **options)
    return read(over_tcp(server, packet) if tcp else over_udp(server, packet))


def over_tcp(server: Resolver, packet: bytes) -> bytes:
    replies: list[bytes] = []
    server.handle(packet, replies.append, tcp=True)
    assert len(replies) == 1
    return replies[0]


def over_udp(server: Resolver, packet: bytes, **more: Any) -> bytes:
    """The answer's bytes, empty when none came. `more` goes to Datagrams."""
    loop = Loop()
    ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    try:
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
        more.setdefault("access", Access(["own"], loop.clock))
        Datagrams(loop, ours, server, **more)
        theirs.setblocking(False)
        theirs.sendto(packet, ours.getsockname())
        loop.turn(1.0)
        try:
            return theirs.recv(65535)
        except BlockingIOError:
            return b""
    finally:
        theirs.close()
        loop.close()
