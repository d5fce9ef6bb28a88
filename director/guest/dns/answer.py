"""Answers before they are bytes. Source: DNS contract, section 6."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Tuple, Union

from .message import Message


class Answer(NamedTuple):
    """Records in no particular order. `edns` says whether the OPT record of a question is answered by one. `kept` answers hold until
    records, aliases or health change."""

    code: int
    flags: int
    records: Tuple[bytes, ...] = ()
    edns: bool = True
    kept: bool = True


class Relayed(NamedTuple):
    """Another server's answer, and the TTL that all its records get (None: as they are)."""

    message: Message
    ttl: Optional[int] = None


Result = Union[Answer, Relayed]
Done = Callable[[Result], None]
