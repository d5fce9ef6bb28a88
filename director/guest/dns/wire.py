"""DNS packets: a question read, resource records and heads written. Source: RFC 1035, RFC 6891; DNS contract, section 6."""

from __future__ import annotations

import ipaddress
import struct
from typing import List, NamedTuple, Optional, Tuple, Union

Labels = Tuple[str, ...]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

A, PTR, SOA, AAAA, OPT, ANY = 1, 12, 6, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)

QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE, _NOTIFY = 0x7800, 4
PLAIN_LIMIT, TCP_LIMIT = 512, 65535

_HEAD = struct.Struct("!HHHHHH")
_FIELDS = struct.Struct("!HHIH")


class Ignored(Exception):
    """No answer is due: not a packet, or itself an answer."""


class Malformed(Exception):
    """Answered with a code before any name is looked at; `packet` is that answer."""

    def __init__(self, packet: bytes) -> None:
        super().__init__("malformed question")
        self.packet = packet


class Query(NamedTuple):
    """`labels` are in lower case; `question` are the bytes as asked, to be echoed; `edns` is the asked size, None without EDNS."""

    flags: int
    labels: Labels
    type: int
    klass: int
    question: bytes
    edns: Optional[int]

    @property
    def limit(self) -> int:
        """Bytes that a UDP answer may have."""
        return max(self.edns or 0, PLAIN_LIMIT)


def parse(packet: bytes) -> Query:
    """Raises Ignored or Malformed; every byte string is a possible packet."""
    if len(packet) < 12:
        raise Ignored("shorter than a head")
    number, flags, questions, answers, authorities, additional = _HEAD.unpack_from(packet)
    if flags & QR:
        raise Ignored("an answer")
    opcode = (flags & _OPCODE) >> 11
    if opcode not in (0, _NOTIFY):
        raise Malformed(_refusal(number, flags, NOTIMP))
    if questions != 1 or answers > 1 or authorities > 1 or additional > 2:
        raise Malformed(_refusal(number, flags, FORMERR))
    try:
        labels, end = read_name(packet, 12)
        kind, klass = struct.unpack_from("!HH", packet, end)
        question = packet[12 : end + 4]
        edns = _edns(packet, end + 4, answers + authorities + additional)
    except (ValueError, struct.error) as error:
        raise Malformed(_refusal(number, flags, FORMERR)) from error
    return Query(flags, labels, kind, klass, question, edns)


def _refusal(number: int, flags: int, code: int) -> bytes:
    return _HEAD.pack(number, QR | (flags & (_OPCODE | RD)) | code, 0, 0, 0, 0)


def read_name(packet: bytes, offset: int) -> Tuple[Labels, int]:
    """The name at `offset`, in lower case, and where it ends. Questions hold no pointers; ValueError for those and for bad lengths."""
    labels: List[str] = []
    start = offset
    while True:
        if offset >= len(packet):
            raise ValueError("a name runs out of the packet")
        length = packet[offset]
        if length == 0:
            return tuple(labels), offset + 1
        if length > 63 or offset + 1 + length > len(packet) or offset + length - start > 253:
            raise ValueError("a label has a wrong length")
        labels.append(packet[offset + 1 : offset + 1 + length].lower().decode("latin-1"))
        offset += 1 + length


def skip_name(packet: bytes, offset: int) -> int:
    """Where the name at `offset` ends; a pointer ends it. ValueError when it runs out of the packet."""
    while offset < len(packet):
        length = packet[offset]
        if length == 0:
            return offset + 1
        if length & 0xC0 == 0xC0:
            return offset + 2
        if length > 63:
            break
        offset += 1 + length
    raise ValueError("a name runs out of the packet")


def records(packet: bytes, offset: int, count: int) -> Tuple[Tuple[int, int, int, int], ...]:
    """(type, class, TTL, offset of the TTL) of `count` records from `offset` on. ValueError or struct.error when cut off."""
    found = []
    for _ in range(count):
        offset = skip_name(packet, offset)
        kind, klass, ttl, length = _FIELDS.unpack_from(packet, offset)
        found.append((kind, klass, ttl, offset + 4))
        offset += 10 + length
        if offset > len(packet):
            raise ValueError("a record runs out of the packet")
    return tuple(found)


def _edns(packet: bytes, offset: int, count: int) -> Optional[int]:
    sizes = [klass for kind, klass, _, _ in records(packet, offset, count) if kind == OPT]
    if len(sizes) > 1:
        raise ValueError("more than one OPT record")
    return sizes[0] if sizes else None


def head(flags: int, question: bytes, answers: int, additional: int = 0) -> bytes:
    """All of an answer before its records, without the two bytes of the id."""
    return struct.pack("!HHHHH", flags, 1, answers, 0, additional) + question


def address_record(address: Address, ttl: int = 0) -> bytes:
    """An A or AAAA record owned by the name of the question."""
    data = address.packed
    return b"\xc0\x0c" + _FIELDS.pack(A if address.version == 4 else AAAA, IN, ttl, len(data)) + data


def pointer_record(name: str, ttl: int = 0) -> bytes:
    """A PTR record owned by the name of the question. ValueError when `name` is no domain name."""
    data = encode_name(name)
    return b"\xc0\x0c" + _FIELDS.pack(PTR, IN, ttl, len(data)) + data


def encode_name(name: str) -> bytes:
    """Text to bytes. ValueError for labels or names that are too long or empty."""
    data = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("latin-1", "replace")
        if not 0 < len(raw) < 64:
            raise ValueError("%r is no domain name" % name)
        data += bytes((len(raw),)) + raw
    if len(data) > 254:
        raise ValueError("%r is longer than a domain name may be" % name)
    return data + b"\0"


def opt_record(size: int) -> bytes:
    """An empty OPT record with that size."""
    return b"\0" + _FIELDS.pack(OPT, size, 0, 0)


def labels_of(name: str) -> Labels:
    """Text in any case, with or without the last dot, to labels."""
    return tuple(name.lower().rstrip(".").split(".")) if name.rstrip(".") else ()
