"""DNS packets: a question read, resource records and heads written. Source: RFC 1035, RFC 6891; DNS contract, section 6."""

from __future__ import annotations

import struct
from typing import List, NamedTuple, Optional, Tuple

Labels = Tuple[str, ...]

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16
CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}
TYPES = {
    "A": A, "NS": NS, "CNAME": CNAME, "SOA": SOA, "PTR": PTR, "MX": MX, "TXT": TXT, "AAAA": AAAA, "SRV": SRV, "HTTPS": 65, "ANY": ANY,
}

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
DO = 0x8000
OPCODE, NOTIFY = 0x7800, 4
PLAIN_LIMIT, TCP_LIMIT = 512, 65535
LONGEST_NAME = 255

HEAD = struct.Struct("!HHHHHH")
_KIND = struct.Struct("!HH")
_FIELDS = struct.Struct("!HHIH")
_A_START = b"\xc0\x0c" + _FIELDS.pack(A, IN, 0, 4)
_AAAA_START = b"\xc0\x0c" + _FIELDS.pack(AAAA, IN, 0, 16)


class Ignored(Exception):
    """No answer is due: not a packet, or itself an answer."""


class Malformed(Exception):
    """Answered with a code before any name is looked at; `packet` is that answer."""

    def __init__(self, packet: bytes) -> None:
        super().__init__("malformed question")
        self.packet = packet


class Edns(NamedTuple):
    """What an OPT record of a question says. `size` is as asked; `bare` means that it has no options."""

    size: int
    dnssec: bool
    bare: bool


class Query(NamedTuple):
    """`labels` are in lower case; `question` are the bytes as asked, to be echoed; `size` is all of the packet that was read."""

    flags: int
    labels: Labels
    type: int
    klass: int
    question: bytes
    edns: Optional[Edns]
    size: int

    @property
    def name(self) -> str:
        return ".".join(self.labels) + "."

    @property
    def limit(self) -> int:
        """Bytes that a UDP answer may have."""
        return max(self.edns.size, PLAIN_LIMIT) if self.edns is not None else PLAIN_LIMIT

    def canonical(self) -> bytes:
        """The packet without its id as every asker of the same thing could have sent it: the key of prepared answers."""
        flags = self.flags & (RD | OPCODE)
        if self.edns is None:
            return COUNTS.pack(flags, 1, 0, 0, 0) + lowered(self.question)
        return COUNTS.pack(flags, 1, 0, 0, 1) + lowered(self.question) + opt_record(self.edns.size)


COUNTS = struct.Struct("!HHHHH")


def type_name(kind: int) -> str:
    return next((name for name, number in TYPES.items() if number == kind), "TYPE%d" % kind)


def lowered(question: bytes) -> bytes:
    """The same question with its name in lower case. Lengths of labels are below 64, no letter looks like one."""
    return question[:-4].lower() + question[-4:]


def parse(packet: bytes) -> Query:
    """Raises Ignored or Malformed; every byte string is a possible packet."""
    if len(packet) < 12:
        raise Ignored("shorter than a head")
    number, flags, questions, answers, authorities, additional = HEAD.unpack_from(packet)
    if flags & QR:
        raise Ignored("an answer")
    opcode = (flags & OPCODE) >> 11
    if opcode not in (0, NOTIFY):
        raise Malformed(refusal(number, flags, NOTIMP))
    if questions != 1 or answers > 1 or authorities > 1 or additional > 2:
        raise Malformed(refusal(number, flags, FORMERR))
    try:
        labels, end = read_name(packet, 12)
        kind, klass = _KIND.unpack_from(packet, end)
        end += 4
        question = packet[12:end]
        edns = None
        if answers or authorities or additional:
            edns, end = _edns(packet, end, answers + authorities, additional, question)
    except (ValueError, struct.error) as error:
        raise Malformed(refusal(number, flags, FORMERR)) from error
    return Query(flags, labels, kind, klass, question, edns, end)


def refusal(number: int, flags: int, code: int) -> bytes:
    """A bare head with a code; the opcode comes back as it was."""
    return HEAD.pack(number, QR | (flags & (OPCODE | RD)) | code, 0, 0, 0, 0)


def _edns(packet: bytes, offset: int, others: int, additional: int, question: bytes) -> Tuple[Optional[Edns], int]:
    """What the OPT record among the records says, and where the last record ends. Raises Malformed for versions to come."""
    found: Optional[Edns] = None
    for index in range(others + additional):
        start = offset
        kind, klass, ttl, length, offset = record_at(packet, offset)
        if kind != OPT:
            continue
        if found is not None or index < others or packet[start] != 0:
            raise ValueError("an OPT record where none may be")
        if (ttl >> 16) & 0xFF:
            number, flags = HEAD.unpack_from(packet)[:2]
            raise Malformed(
                HEAD.pack(number, QR | (flags & RD), 1, 0, 0, 1) + question + opt_record(klass, (BADVERS >> 4) << 24))
        found = Edns(klass, bool(ttl & DO), length == 0)
    return found, offset


def record_at(packet: bytes, offset: int) -> Tuple[int, int, int, int, int]:
    """(type, class, TTL, length of the data, where it ends) of the record at `offset`. ValueError or struct.error when cut off."""
    offset = skip_name(packet, offset)
    kind, klass, ttl, length = _FIELDS.unpack_from(packet, offset)
    end = offset + 10 + length
    if end > len(packet):
        raise ValueError("a record runs out of the packet")
    return kind, klass, ttl, length, end


def read_name(packet: bytes, offset: int) -> Tuple[Labels, int]:
    """The name at `offset`, in lower case, and where it ends. Questions hold no pointers; ValueError for those and for bad lengths."""
    labels: List[str] = []
    at, size = offset, len(packet)
    # Lower case as a whole: lengths of labels are below 64, no letter looks like one.
    text = packet[offset : offset + LONGEST_NAME + 1].lower().decode("latin-1")
    while at < size:
        length = packet[at]
        at += 1
        if length == 0:
            return tuple(labels), at
        end = at + length
        if length > 63 or end >= size or end - offset >= LONGEST_NAME:
            break
        labels.append(text[at - offset : end - offset])
        at = end
    raise ValueError("a name runs out of the packet, or is too long")


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


def head(flags: int, question: bytes, answers: int, additional: int = 0) -> bytes:
    """All of an answer before its records, without the two bytes of the id."""
    return COUNTS.pack(flags, 1, answers, 0, additional) + question


def address_record(packed: bytes) -> bytes:
    """An A or AAAA record with TTL 0, owned by the name of the question."""
    return (_A_START if len(packed) == 4 else _AAAA_START) + packed


def record(kind: int, ttl: int, data: bytes) -> bytes:
    """A record owned by the name of the question."""
    return b"\xc0\x0c" + _FIELDS.pack(kind, IN, ttl, len(data)) + data


def encode_name(name: str) -> bytes:
    """Text to bytes. ValueError for labels or names that are too long or empty."""
    data = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("latin-1", "replace")
        if not 0 < len(raw) < 64:
            raise ValueError("%r is no domain name" % name)
        data += bytes((len(raw),)) + raw
    if len(data) >= LONGEST_NAME:
        raise ValueError("%r is longer than a domain name may be" % name)
    return data + b"\0"


def opt_record(size: int, more: int = 0) -> bytes:
    """An empty OPT record with that size; `more` are the extended code, version and flags."""
    return b"\0" + _FIELDS.pack(OPT, size, more, 0)


def labels_of(name: str) -> Labels:
    """Text in any case, with or without the last dot, to labels."""
    return tuple(name.lower().rstrip(".").split(".")) if name.rstrip(".") else ()
