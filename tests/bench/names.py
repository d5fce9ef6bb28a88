"""The resolver's own cost per query, without a network, beside the least a Python loop can do."""

from __future__ import annotations

import ipaddress
import json
import struct
import time
from collections.abc import Callable

from director.guest.dns.aliases import Aliases
from director.guest.dns.chain import Chain, Parts
from director.guest.dns.health import Off
from director.guest.dns.loading import load
from director.guest.dns.lookup import Lookup
from director.guest.dns.loop import Loop
from director.guest.dns.server import Resolver
from tests.bench.rows import Row
from tests.bench.world import World

QUERIES = 20_000
KEYS = [
    "id", "num_id", "instance_group", "group_ids", "az", "az_id", "network", "network_id", "deployment", "ip", "domain", "agent_id",
    "instance_index",
]


def resolver(world: World) -> list[Row]:
    rows = []
    for count in (100, 10_000):
        packets = [_question(f"id-{number}.web.default.app.bosh") for number in range(count)]
        asked = Resolver(_chain(count))  # one resolver as on a machine: its prepared answers are part of it
        answers: list[bytes] = []

        def ours(packet: bytes, asked: Resolver = asked, answers: list[bytes] = answers) -> None:
            asked.handle(packet, answers.append, tcp=False)

        table = {packet[12:]: packet[2:] + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x0a\x00\x00\x01" for packet in packets}

        def least(packet: bytes, table: dict[bytes, bytes] = table, answers: list[bytes] = answers) -> None:
            answers.append(packet[:2] + table[packet[12:]])

        value, peer = _microseconds(ours, packets), _microseconds(least, packets)
        assert len(answers[0]) > len(packets[0])
        rows.append(Row(f"resolver, exact name among {count} records", value, "us", None, f"a loop over a dict: {peer:.2f} us", peer))
    return rows


def _microseconds(answer: Callable[[bytes], None], packets: list[bytes]) -> float:
    """Processor time per query, names in turn, the first answer to each included."""
    asked = [packets[number % len(packets)] for number in range(QUERIES)]
    started = time.process_time()
    for packet in asked:
        answer(packet)
    return 1e6 * (time.process_time() - started) / QUERIES


def _chain(count: int) -> Chain:
    infos = [
        [f"id-{n}", str(n), "web", ["1"], "z1", "1", "default", "1", "app", str(ipaddress.ip_address(0x0A000000 + n)), "bosh", f"a-{n}", n]
        for n in range(count)
    ]
    records = load(json.dumps({"version": 1, "records": [], "record_keys": KEYS, "record_infos": infos, "aliases": {}}))
    return Chain(Parts(Lookup(records, Aliases({}, records), Off(), Loop().later)))


def _question(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
