"""Flags, sizes, spelling, EDNS, bad packets: what every answer has in common. Source: DNS contract, section 6 and its corrections."""

from __future__ import annotations

import struct

import dnskit
import pytest
from dnskit import ask, over_udp, question, read, records_text, resolver, row

NAME = "q-s4.db.default.cf.bosh."
MANY = records_text([row(f"uuid-{number}", str(number), f"10.0.1.{number}", "1", number) for number in range(100)])


@pytest.mark.parametrize("asked", [NAME, "Q-S4.dB.DEFAULT.cf.BosH.", "q-S4.Db.default.CF.bosh."])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_question_comes_back_in_its_spelling(asked: str, tcp: bool) -> None:
    server = resolver()
    for _ in range(2):
        reply = ask(server, asked, tcp=tcp)
        assert (reply.name, len(reply.answers)) == (asked, 2)
        assert ask(server, NAME, tcp=tcp).name == NAME, "one spelling does not spoil the other"


@pytest.mark.parametrize(("kind", "existing", "malformed", "missing"), [
    *((kind, ("NOERROR", 0), "NOERROR", "NXDOMAIN") for kind in ("MX", "TXT", "SRV", "NS", "SOA", "CNAME", "HTTPS", "PTR", "AXFR")),
    ("A", ("NOERROR", 2), "FORMERR", "NXDOMAIN"),
    ("AAAA", ("NOERROR", 0), "FORMERR", "NXDOMAIN"),
    ("ANY", ("NOERROR", 2), "FORMERR", "NXDOMAIN"),
])
def test_types(kind: str, existing: tuple[str, int], malformed: str, missing: str) -> None:
    server = resolver()
    found = ask(server, NAME, kind)
    assert (found.code, len(found.answers)) == existing
    assert ask(server, "q-x.db.default.cf.bosh.", kind).code == malformed
    assert ask(server, "nobody.db.default.cf.bosh.", kind).code == missing


def test_both_families() -> None:
    server = resolver(records_text([row("four", "1", "10.0.0.1", "1", 0), row("six", "2", "fd00::1", "1", 1)]))
    assert ask(server, NAME, "A").answers == ("10.0.0.1",)
    assert ask(server, NAME, "AAAA").answers == ("fd00::1",)
    assert set(ask(server, NAME, "ANY").answers) == {"10.0.0.1", "fd00::1"}


@pytest.mark.parametrize("flags", [0x0100, 0x0000, 0x0120, 0x0110, 0x0130, 0x0040])
def test_flags_of_answers(flags: int) -> None:
    server = resolver()
    for _ in range(2):
        reply = ask(server, NAME, flags=flags)
        assert reply.flags == 0x8480 | flags & 0x0100, "AA, RA, and RD as it was asked; the rest is not ours to set"


@pytest.mark.parametrize(("size", "limit"), [(0, 512), (100, 512), (512, 512), (1232, 1232), (4096, 4096), (65535, 65535)])
def test_edns_sizes_come_back_as_they_were_and_small_ones_count_as_512(size: int, limit: int) -> None:
    reply = ask(resolver(MANY), NAME, edns=size)
    assert reply.edns == size
    assert reply.size <= limit
    assert reply.truncated == (limit < 1700)


def test_over_tcp_and_for_upcheck_refusals_and_reverse_names_edns_is_not_answered() -> None:
    server = resolver()
    assert ask(server, NAME, edns=1232, tcp=True).edns is None
    assert ask(server, "upcheck.bosh-dns.", edns=1232).edns is None
    assert ask(server, "5.0.0.10.in-addr.arpa.", "PTR", edns=1232).edns is None
    assert ask(resolver(recursors=False), "example.com.", edns=1232).edns is None


def test_options_of_edns_change_nothing_and_are_not_remembered() -> None:
    server = resolver()
    for number in range(50):
        cookie = struct.pack("!HHQ", 10, 8, number)
        assert len(ask(server, NAME, edns=1232, options=cookie).answers) == 2
    assert len(server.table) == 1, "fifty cookies, one prepared answer"


def test_an_edns_version_to_come_is_refused_with_ours() -> None:
    packet = over_udp(resolver(), question(NAME, edns=1232, more=1 << 16))
    assert packet[3] & 0xF == 0
    reply = read(packet)
    assert reply.name == NAME
    assert reply.edns == 1232
    assert packet[-6:-2] == b"\1\0\0\0", "extended code 1 makes 16: BADVERS; version 0"


@pytest.mark.parametrize(("klass", "code"), [(1, "NOERROR"), (255, "NOERROR"), (3, "REFUSED"), (254, "REFUSED"), (0, "REFUSED")])
def test_classes(klass: int, code: str) -> None:
    assert ask(resolver(), NAME, klass=klass).code == code


QUESTION = question("a.b")[12:]
OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


@pytest.mark.parametrize(("packet", "code"), [
    (question("a.b", flags=0x2800), "NOTIMP"),
    (question("a.b", flags=0x1000), "NOTIMP"),
    (b"\0\1\1\0\0\2\0\0\0\0\0\0" + QUESTION * 2, "FORMERR"),
    (b"\0\1\1\0\0\0\0\0\0\0\0\0", "FORMERR"),
    (b"\0\1\1\0\0\1\0\2\0\0\0\0" + QUESTION, "FORMERR"),
    (b"\0\1\1\0\0\1\0\0\0\2\0\0" + QUESTION, "FORMERR"),
    (b"\0\1\1\0\0\1\0\0\0\0\0\3" + QUESTION + OPT * 3, "FORMERR"),
    (b"\0\1\1\0\0\1\0\0\0\0\0\2" + QUESTION + OPT * 2, "FORMERR"),
    (b"\0\1\1\0\0\1\0\0\0\0\0\1" + QUESTION + OPT[:-1], "FORMERR"),
    (question("a.b")[:-1], "FORMERR"),
    (b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", "FORMERR"),
    (b"\0\1\1\0\0\1\0\0\0\0\0\0" + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", "FORMERR"),
])
def test_bad_packets_are_refused_with_a_code(packet: bytes, code: str) -> None:
    answer = over_udp(resolver(), packet)
    reply = read(answer)
    assert reply.code == code
    assert answer[:2] == packet[:2]
    assert len(answer) <= max(len(packet), 12), "nothing is gained by sending scraps"


@pytest.mark.parametrize("packet", [b"", b"\0" * 11, question("a.b", flags=0x8180)])
def test_no_answer_is_given_to_answers_and_scraps(packet: bytes) -> None:
    assert over_udp(resolver(), packet) == b""


def test_notify_is_answered_like_a_question() -> None:
    reply = ask(resolver(), NAME, flags=0x2000)
    assert (reply.code, reply.flags & 0x7800) == ("NOERROR", 0x2000)


def test_the_longest_name_has_255_bytes() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert ask(resolver(recursors=False), longest).code == "REFUSED"
    assert ask(resolver(recursors=False), longest + "b").code == "FORMERR"


def test_the_root_and_labels_with_dots_are_not_ours() -> None:
    server = resolver(recursors=False)
    assert ask(server, ".", "NS").code == "REFUSED"
    packet = b"\0\1\1\0\0\1\0\0\0\0\0\0\4db.x\4bosh\0\0\1\0\1"
    assert read(over_udp(server, packet)).code == "FORMERR", "one label before the domain, whatever is in it"


def test_a_name_with_unlike_answers_is_cut_between_records() -> None:
    rows = [row(f"id-{number}", str(number), f"fd00::{number}" if number % 2 else f"10.0.0.{number}", "1", number) for number in range(60)]
    server = resolver(records_text(rows))
    for _ in range(20):
        reply = ask(server, NAME, "ANY")
        assert reply.truncated
        assert reply.size <= 512


def test_a_datagram_cannot_name_the_answers_of_tcp() -> None:
    server = resolver(MANY)
    assert not ask(server, NAME, tcp=True).truncated
    assert ask(server, NAME).truncated
    packet = b"\0\1t" + question(NAME)[2:]
    assert len(over_udp(server, packet)) <= 512


def test_a_bug_in_one_handler_is_one_failure() -> None:
    server = resolver()

    class Broken:
        name = "broken"
        zones = (("bosh",),)

        def answer(self, query: object, done: object) -> None:
            raise RuntimeError("a bug")

        def explain(self, query: object) -> dict[str, object]:
            return {}

    server.chain._zones[("bosh",)] = Broken()
    assert ask(server, NAME).code == "SERVFAIL"
    assert ask(server, "upcheck.bosh-dns.").code == "NOERROR"


def test_a_bug_in_a_late_answer_is_one_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from director.guest.dns import server as module
    from director.guest.dns.message import read as read_message

    server = resolver()
    late: list[object] = []

    class Late:
        name = "late"
        zones = (("bosh",),)

        def answer(self, query: object, done: object) -> None:
            late.append(done)

        def explain(self, query: object) -> dict[str, object]:
            return {}

    def broken(*args: object, **more: object) -> bytes:
        raise RuntimeError("a bug")

    server.chain._zones[("bosh",)] = Late()
    monkeypatch.setattr(module, "relay", broken)
    replies: list[bytes] = []
    server.handle(question(NAME), replies.append)
    late[0](module.Relayed(read_message(b"\0\1\x81\x80\0\0\0\0\0\0\0\0")))  # type: ignore[operator]
    assert [read(reply).code for reply in replies] == ["SERVFAIL"]


def test_prepared_answers_are_bounded_in_number_and_size() -> None:
    server = resolver(MANY)
    table = type(server.table)(most=100, most_bytes=50_000)
    server.table = table
    for number in range(300):
        server.handle(question(f"q-s4-x{number}.db.default.cf.bosh.", edns=4096), lambda answer: None)
    assert len(table) <= 200
    assert table._bytes <= 60_000


def test_a_flood_of_names_does_not_push_out_what_is_asked_again() -> None:
    server = resolver()
    server.table = table = type(server.table)(most=100)
    wanted = question(NAME)
    for number in range(1000):
        server.handle(question(f"none-{number}.db.default.cf.bosh."), lambda answer: None)
        if number % 50 == 0:
            server.handle(wanted, lambda answer: None)
    made = server.by_handler["records"]
    server.handle(wanted, lambda answer: None)
    assert server.by_handler["records"] == made
    assert len(table) <= 200


@pytest.mark.parametrize("name", ["q-s4.db.default.cf.bosh.", "uuid-A.db.default.cf.bosh."])
def test_the_second_answer_equals_the_first(name: str) -> None:
    server = resolver()
    first, second = (ask(server, name, edns=1232) for _ in range(2))
    assert set(first.answers) == set(second.answers)
    assert first.flags == second.flags
    assert dnskit.CODES[0] == second.code
