"""Every byte string is a possible packet."""

from __future__ import annotations

import dnskit
from hypothesis import example, given, settings
from hypothesis import strategies as st

NAMES = ("q-s4.db.default.cf.bosh", "uuid-A.q-g1.bosh", "x.int", "upcheck.bosh-dns", "5.0.0.10.in-addr.arpa", "a.b.c", "")
SERVER = dnskit.resolver(files={"x.int": ["q-s4.db.default.cf.bosh", "::1"], "_.y.int": ["_.db.default.cf.bosh"]})


def answers(packet: bytes, tcp: bool = False) -> list[bytes]:
    replies: list[bytes] = []
    SERVER.handle(packet, replies.append, tcp=tcp)
    return replies


def judge(packet: bytes, tcp: bool = False) -> None:
    """At most one answer, a valid message with the question's number, never larger than allowed."""
    replies = answers(packet, tcp)
    assert len(replies) <= 1
    for reply in replies:
        read = dnskit.read(reply)
        assert reply[:2] == packet[:2]
        assert read.flags & 0x8000
        if not tcp:
            limit = 512 if read.edns is None else max(512, read.edns)
            assert len(reply) <= limit


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=600), st.booleans())
@example(b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", False)
@example(b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\x3f" + b"a" * 63 + b"\0\0\1\0\1", False)
def test_any_bytes(packet: bytes, tcp: bool) -> None:
    judge(packet, tcp)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.sampled_from(sorted(dnskit.TYPES)), st.none() | st.integers(0, 65535), st.data())
def test_good_questions_with_bytes_changed(name: str, kind: str, edns: int | None, data: st.DataObject) -> None:
    packet = bytearray(dnskit.question(name, kind, edns=edns))
    for _ in range(data.draw(st.integers(0, 4))):
        packet[data.draw(st.integers(2, len(packet) - 1))] = data.draw(st.integers(0, 255))
    judge(bytes(packet[: data.draw(st.integers(0, len(packet)))]))
    judge(bytes(packet))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=63), max_size=6), st.sampled_from([1, 12, 28, 255, 16]))
def test_any_labels(labels: list[bytes], kind: int) -> None:
    body = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + bytes([0, kind, 0, 1])
    packet = b"\0\1\1\0\0\1\0\0\0\0\0\0" + body
    judge(packet)
    judge(packet.replace(b"\0\1\0\1", b"\0\1\0\1", 1), tcp=True)
    judge(b"\0\1\1\0\0\1\0\0\0\0\0\0" + body[:-5] + b"\4bosh" + body[-5:])


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="qsaimny-gx*0123456789_.", max_size=60))
def test_any_query_codes(first: str) -> None:
    labels = [label for label in first.split(".") if 0 < len(label) < 64]
    for suffix in ("bosh", "db.default.cf.bosh", "q-g1.bosh"):
        judge(dnskit.question(".".join([*labels, suffix])))
