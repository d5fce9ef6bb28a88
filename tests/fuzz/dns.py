"""`python -m tests.fuzz.dns [--packets N] [--seconds N] [--seed N]`: packets that were good until something happened to them.

Three ways into the resolver: questions over UDP, questions over TCP, answers of other servers. Whatever comes in, what goes out is at most
one valid message with the question's number and no larger than allowed, judged by a second reader of the format (`tests/dns/dnskit.py`).
Memory is looked at after the first tenth and at the end. Ends with 1, and the packet in hex, when anything is wrong.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "dns"))

import dnskit

from director.guest.dns import health, wire
from director.guest.dns.answer import Relayed
from director.guest.dns.domains import Domains
from director.guest.dns.handlers import Handler
from director.guest.dns.loop import Loop
from director.guest.dns.message import read as read_message
from director.guest.dns.message import relay
from director.guest.dns.server import Resolver

NAMES = (
    "q-s4.db.default.cf.bosh", "q-s0.q-g1.bosh", "q-a1a2s3y0.db.*.*.bosh", "uuid-1.db.default.cf.bosh", "uuid-2.q-g7.bosh", "q-s4.*.bosh",
    "bosh", "q-s0.bosh", "q-x1.db.default.cf.bosh", "x.int", "below.x.int", "uuid-3.cell.int", "agent-uuid-1.bosh-agent-id",
    "upcheck.bosh-dns", "5.0.0.10.in-addr.arpa", "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "foo.arpa",
    "corp.example", "a.b.c", "", "Q-S4.Db.Default.CF.bosh", ".".join(["a" * 63] * 3),
)
TELLING = (0, 1, 2, 3, 0x0C, 0x29, 0x3F, 0x40, 0x41, 0x7F, 0x80, 0xC0, 0xC1, 0xFF)
MOST_GROWTH_KIB = 16 << 10


class Prompt(dnskit.FakeHealth):
    """First checks that are waited for end at once, and tell nothing."""

    def check(self, records: object, done: Callable[[], None]) -> None:
        done()

    def interested(self, records: object, name: object = ()) -> None:
        return None


def world(loop: Loop) -> Resolver:
    """Records of both families, aliases of all kinds, a denied domain, health; names of others are refused."""
    rows = [
        dnskit.row(f"uuid-{number}", str(number), f"10.0.0.{number}" if number % 3 else f"fd00::{number:x}", str(number % 3 + 1), number)
        for number in range(1, 60)
    ]
    known = Prompt(states={f"uuid-{number}": health.STATES[number % 4] for number in range(60)})
    deny: list[Handler] = Domains(loop, None, None, denies_failures=False).make([  # type: ignore[arg-type]
        {"domain": "corp.example", "source": {"type": "deny"}}])
    files = {"x.int": ["q-s4.db.default.cf.bosh", "1.2.3.4", "::5"], "_.cell.int": ["_.db.default.cf.bosh"], "bad.int": ["q-x.a.bosh"]}
    return dnskit.resolver(dnskit.records_text(rows), files=files, known=known, recursors=False, domains=deny, loop=loop)


def questions() -> list[bytes]:
    cookie = struct.pack("!HHQ", 10, 8, 0x0123456789ABCDEF)
    return [
        dnskit.question(name, kind, edns=edns, options=cookie if edns == 1232 else b"")
        for name in NAMES for kind in ("A", "AAAA", "ANY", "PTR", "TXT") for edns in (None, 512, 1232, 65535)
    ]


def messages() -> list[bytes]:
    """Answers as other servers give them: addresses, aliases, denials with their SOA, many records, an OPT record."""
    found = []
    for name in NAMES[:12]:
        asked = dnskit.question(name)[12:]
        address = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
        alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 5) + b"\2ab\xc0\x0c"
        soa = b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 60, 24) + b"\xc0\x0c\xc0\x0c" + struct.pack("!IIIII", 1, 2, 3, 4, 5)
        opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
        for code, answers, authority, more in (
            (0, [address], [], []), (0, [alias, address], [], [opt]), (3, [], [soa], []), (0, [address] * 60, [], [opt]), (0, [], [], [])
        ):
            head = struct.pack("!HHHHHH", 1, 0x8180 | code, 1, len(answers), len(authority), len(more))
            found.append(head + asked + b"".join([*answers, *authority, *more]))
    return found


def spoiled(chance: random.Random, packets: list[bytes]) -> bytes:
    """One of the packets after up to four accidents, or plain noise."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(600))
    packet = bytearray(packets[int(chance.random() * len(packets))])
    for _ in range(int(chance.random() * 5)):
        accident = int(chance.random() * 8)
        at = int(chance.random() * len(packet)) if packet else 0
        if accident < 3 and packet:
            packet[at] = TELLING[int(chance.random() * len(TELLING))] if accident else packet[at] ^ 1 << int(chance.random() * 8)
        elif accident == 3:
            del packet[at : at + 1 + int(chance.random() * 4)]
        elif accident == 4:
            packet[at:at] = chance.randbytes(1 + int(chance.random() * 4))
        elif accident == 5:
            del packet[at:]
        elif accident == 6:
            other = packets[int(chance.random() * len(packets))]
            packet[at:] = other[int(chance.random() * len(other)) :]
        else:
            packet[at:at] = packet[at : at + int(chance.random() * 40)]
    return bytes(packet[:65535])


class Fuzz:
    """Counts what happened by kind."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = Loop()
        self.resolver = world(self.loop)
        self.counts: collections.Counter[str] = collections.Counter()
        self._questions, self._messages = questions(), messages()
        self._query = wire.parse(dnskit.question("q-s4.db.default.cf.bosh", edns=1232))

    def one(self) -> None:
        """Raises AssertionError, or whatever the resolver raises, with the packet as a note."""
        way = self.chance.random()
        packet = spoiled(self.chance, self._messages if way > 0.85 else self._questions)
        act: Callable[[bytes], None] = self._udp if way < 0.7 else self._tcp if way < 0.85 else self._upstream
        try:
            act(packet)
        except Exception as error:
            error.add_note(f"{act.__name__}: {packet.hex()}")
            raise

    def _udp(self, packet: bytes) -> None:
        answer = self._ask(packet, tcp=False)
        if answer is not None:
            assert answer.size <= (512 if answer.edns is None else max(512, answer.edns)), "larger than allowed"

    def _tcp(self, packet: bytes) -> None:
        self._ask(packet, tcp=True)

    def _ask(self, packet: bytes, *, tcp: bool) -> dnskit.Reply | None:
        replies: list[bytes] = []
        self.resolver.handle(packet, replies.append, tcp=tcp)
        if not replies:
            self.loop.turn(0)
        assert len(replies) <= 1, "more than one answer"
        if not replies:
            self.counts["ignored"] += 1
            assert len(packet) < 12 or packet[2] & 0x80, "no answer to what could be a question"
            return None
        assert replies[0][:2] == packet[:2], "another number"
        answer = dnskit.read(replies[0])
        code = answer.flags & 0xF
        self.counts[wire.CODES[code]] += 1
        assert code != wire.SERVFAIL, "a failure that was caught"
        return answer

    def _upstream(self, packet: bytes) -> None:
        try:
            message = read_message(packet)
        except ValueError:
            self.counts["upstream refused"] += 1
            return
        self.counts["upstream passed on"] += 1
        result = Relayed(message, 30)
        query = self._query._replace(question=message.question or self._query.question)
        limit = (512, 1232, 65535)[int(self.chance.random() * 3)]
        answer = b"\0\1" + relay(result.message, query, limit=limit, udp=True, ttl=result.ttl)
        assert dnskit.read(answer).size <= max(limit, len(query.question) + 23), "larger than allowed"


def memory_kib() -> int:
    return int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")))


def run(packets: int, seconds: float, seed: int) -> dict[str, Any]:
    fuzz = Fuzz(seed)
    began, done, early = time.monotonic(), 0, 0
    while done < packets and time.monotonic() - began < seconds:
        for _ in range(1000):
            fuzz.one()
        done += 1000
        if not early and (done >= packets / 10 or time.monotonic() - began >= seconds / 10):
            early = memory_kib()
    late = memory_kib()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "packets": done, "seed": seed, "crashes": 0, "invalid_answers": 0, "outcomes": dict(fuzz.counts.most_common()),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "memory_kib_after_a_tenth": early, "memory_kib_at_the_end": late,
        "prepared_answers": len(fuzz.resolver.table),
    }


def main() -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.dns", description=__doc__, formatter_class=plain)
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        told = run(given.packets, given.seconds, given.seed)
    except Exception:
        traceback.print_exc()
        return 1
    print(json.dumps(told, indent=2))
    grown = told["memory_kib_at_the_end"] - told["memory_kib_after_a_tenth"]
    if grown > MOST_GROWTH_KIB:
        print(f"memory grew by {grown} KiB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
