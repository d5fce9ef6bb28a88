"""The datagrams: a question (`Ask`) and what is told (`Tell`), each with a code that only the two machines can make.

A question is padded to the size of its answer, so nobody can have more bytes sent somewhere than he sent himself.

    all     "CN" version:u8 kind:u8 nonce:16 sender:text recipient:text BODY code:16       (text: length:u8, bytes)
    Ask     lease:u16 groups:u8, then id:u32 for each, then zeros
    Tell    epoch:8 number:u32 beat_ms:u16 state:u8 groups:u8, then id:u32 state:u8 for each

The first four bytes of a nonce are the same in all questions of one asker after one address, the others are new each time: a machine that
is followed at two of its addresses holds a lease for each.
"""

from __future__ import annotations

import hmac
import struct
from typing import Dict, NamedTuple, Optional, Tuple

VERSION = 1
ASK, TELL = 1, 2
CODE = 16
SAME = 4
MOST_GROUPS = 64
LONGEST = 1200
_MAGIC = b"CN" + bytes([VERSION])
_HEAD = struct.Struct("!3sB16s")
_ASK = struct.Struct("!HB")
_TELL = struct.Struct("!8sIHBB")
_GROUP = struct.Struct("!IB")
_ID = struct.Struct("!I")

STATES = ("failing", "running")


class Envelope(NamedTuple):
    """What can be read before the code was checked. `body` is what follows up to the code."""

    kind: int
    nonce: bytes
    sender: str
    recipient: str
    body: bytes
    signed: bytes
    code: bytes

    def is_by(self, key: bytes) -> bool:
        return hmac.compare_digest(code(key, self.signed), self.code)


class Ask(NamedTuple):
    """Tell me of yourself and of these groups, and for `lease` seconds tell me again and when it changes; 0 for just once."""

    lease: int
    groups: Tuple[int, ...]


class Tell(NamedTuple):
    """`epoch` is another one after each start of the speaker, `number` grows with each telling. `beat` in seconds: how often it is told
    again while there is a lease; 0.0 when there is none."""

    epoch: bytes
    number: int
    beat: float
    running: bool
    groups: Dict[int, bool]


def code(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")[:CODE]


def ask(key: bytes, nonce: bytes, sender: str, recipient: str, question: Ask) -> bytes:
    groups = question.groups[:MOST_GROUPS]
    body = _ASK.pack(question.lease, len(groups)) + b"".join([_ID.pack(group) for group in groups])
    return _sealed(key, ASK, nonce, sender, recipient, body.ljust(_TELL.size + _GROUP.size * len(groups), b"\0"))


def tell(key: bytes, nonce: bytes, sender: str, recipient: str, answer: Tell) -> bytes:
    groups = list(answer.groups.items())[:MOST_GROUPS]
    body = _TELL.pack(answer.epoch, answer.number & 0xFFFFFFFF, int(answer.beat * 1000), answer.running, len(groups))
    return _sealed(key, TELL, nonce, sender, recipient, body + b"".join([_GROUP.pack(group, running) for group, running in groups]))


def _sealed(key: bytes, kind: int, nonce: bytes, sender: str, recipient: str, body: bytes) -> bytes:
    names = b"".join([bytes([len(name)]) + name for name in (sender.encode(), recipient.encode())])
    text = _HEAD.pack(_MAGIC, kind, nonce) + names + body
    return text + code(key, text)


def opened(packet: bytes) -> Optional[Envelope]:
    """None for what is no letter of ours."""
    if not _HEAD.size + 2 + CODE <= len(packet) <= LONGEST:
        return None
    magic, kind, nonce = _HEAD.unpack_from(packet)
    if magic != _MAGIC or kind not in (ASK, TELL):
        return None
    end = len(packet) - CODE
    names, at = [], _HEAD.size
    for _ in range(2):
        if at >= end:
            return None
        stop = at + 1 + packet[at]
        name = packet[at + 1 : stop]
        if stop > end or not name or not name.isascii():
            return None
        names.append(name.decode("ascii"))
        at = stop
    return Envelope(kind, nonce, names[0], names[1], packet[at:end], packet[:end], packet[end:])


def read_ask(body: bytes) -> Optional[Ask]:
    """None when it is none, or shorter than its answer would be."""
    if len(body) < _TELL.size:
        return None
    lease, count = _ASK.unpack_from(body)
    if count > MOST_GROUPS or len(body) != _TELL.size + _GROUP.size * count:
        return None
    return Ask(lease, struct.unpack_from("!%dI" % count, body, _ASK.size))


def read_tell(body: bytes) -> Optional[Tell]:
    if len(body) < _TELL.size:
        return None
    epoch, number, beat, running, count = _TELL.unpack_from(body)
    if len(body) != _TELL.size + _GROUP.size * count:
        return None
    groups = {group: bool(state) for group, state in _GROUP.iter_unpack(body[_TELL.size :])}
    return Tell(epoch, number, beat / 1000.0, bool(running), groups)
