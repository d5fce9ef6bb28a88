"""What this machine tells of itself: to who asks with the right key, and for as long as he wanted again and again, at once when it changes.

A lease is given only to an address that the records give to the asker, so that nobody else can be made to receive anything; all others
get the one answer, which is as long as their question.
"""

from __future__ import annotations

import heapq
import os
from collections import OrderedDict
from typing import Callable, Dict, List, Mapping, Tuple

from . import letters
from .keys import Ring, pair

Address = Tuple[str, int]
Send = Callable[[bytes, Address], None]
Name = Tuple[str, Address, bytes]
"""Who asks, from where, and after which of our addresses, as the nonce says it."""
Owns = Callable[[str, str], bool]
"""Whether the records give that address (text) to that agent."""

BEAT = 1.4
LONGEST_LEASE = 120.0
MOST_LEASES = 4096
LEASES_A_SECOND = 400.0
"""With so many followers that this many letters a second would not do, each hears less often."""


class Local:
    """What is known of this machine: `running`, and the state of groups that have one of their own."""

    def __init__(self) -> None:
        self.running = False
        self.groups: Mapping[int, bool] = {}

    def group(self, number: int) -> bool:
        return self.groups.get(number, self.running)


class _Lease:
    __slots__ = ("address", "asker", "ends", "groups", "key", "name", "nonce")

    def __init__(self, name: Name, key: bytes) -> None:
        self.name = name
        self.asker, self.address, _ = name
        self.key = key
        self.nonce = b""
        self.groups: Tuple[int, ...] = ()
        self.ends = 0.0


class Speaker:
    """`hear` questions, `tick` often, `changed` when `local` did."""

    def __init__(self, ring: Ring, local: Local, send: Send, owns: Owns, clock: Callable[[], float]) -> None:
        self._ring = ring
        self._local = local
        self._send = send
        self._owns = owns
        self._clock = clock
        self._epoch = os.urandom(8)
        self._number = 0
        self._leases: "OrderedDict[Name, _Lease]" = OrderedDict()
        self._due: List[Tuple[float, int, _Lease]] = []
        self.refused = 0

    def __len__(self) -> int:
        return len(self._leases)

    def hear(self, letter: letters.Envelope, address: Address, size: int) -> None:
        """Answers, or is silent: to who cannot prove who he is, or asks for somebody else who had this address."""
        ring = self._ring
        question = letters.read_ask(letter.body)
        if question is None or not ring.agent_id or letter.recipient != ring.agent_id:
            self.refused += 1
            return
        key = pair(ring.speaker, letter.sender)
        if not letter.is_by(key):
            self.refused += 1
            return
        leased = question.lease > 0 and self._owns(address[0], letter.sender)
        if leased:
            self._lease(letter, address, key, question)
        answer = self._tell(key, letter.nonce, letter.sender, question.groups, self.beat if leased else 0.0)
        if len(answer) <= size:
            self._send(answer, address)

    @property
    def beat(self) -> float:
        """How often each follower is told, in seconds."""
        return max(BEAT, len(self._leases) / LEASES_A_SECOND)

    def _lease(self, letter: letters.Envelope, address: Address, key: bytes, question: letters.Ask) -> None:
        name = (letter.sender, address, letter.nonce[: letters.SAME])
        lease = self._leases.get(name)
        if lease is None:
            if len(self._leases) >= MOST_LEASES:
                _, oldest = self._leases.popitem(last=False)
                oldest.ends = 0.0
            lease = self._leases[name] = _Lease(name, key)
            self._number += 1
            heapq.heappush(self._due, (self._clock() + self.beat, self._number, lease))
        self._leases.move_to_end(name)
        lease.key, lease.nonce, lease.groups = key, letter.nonce, question.groups
        lease.ends = self._clock() + min(float(question.lease), LONGEST_LEASE)

    def tick(self) -> None:
        """Tells those whose turn it is."""
        now = self._clock()
        beat = self.beat
        while self._due and self._due[0][0] <= now:
            _, number, lease = heapq.heappop(self._due)
            if lease.ends <= now:
                if self._leases.get(lease.name) is lease:
                    del self._leases[lease.name]
                continue
            self._tell_again(lease, beat)
            heapq.heappush(self._due, (now + beat, number, lease))

    def changed(self) -> None:
        """Tells all followers now."""
        now, beat = self._clock(), self.beat
        for lease in self._leases.values():
            if lease.ends > now:
                self._tell_again(lease, beat)

    def renew_keys(self) -> None:
        """The ring is another one: followers must ask anew."""
        self._leases.clear()
        self._due.clear()

    def _tell_again(self, lease: _Lease, beat: float) -> None:
        self._send(self._tell(lease.key, lease.nonce, lease.asker, lease.groups, beat), lease.address)

    def _tell(self, key: bytes, nonce: bytes, asker: str, asked: Tuple[int, ...], beat: float) -> bytes:
        self._number += 1
        local = self._local
        groups: Dict[int, bool] = {number: local.group(number) for number in asked}
        answer = letters.Tell(self._epoch, self._number, beat, local.running, groups)
        return letters.tell(key, nonce, self._ring.agent_id, asker, answer)
