"""The machines that this one asks after: those that a name it was asked for stands for, and no other.

Source: DNS contract, sections 4.1 and 4.2. Deviations, for the better: a machine is asked once and then tells by itself for as long as the
lease lasts, so a change is known at once and a silent machine after two and a half seconds; it is believed only with the key of the
machine that the records name; and dropping one name never forgets a machine that another name still wants.
"""

from __future__ import annotations

import heapq
import os
import random
from collections import OrderedDict
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from ..health import FAILING, RUNNING, UNCHECKED, UNKNOWN
from ..records import Record
from ..wire import Labels
from . import letters
from .keys import Ring
from .speaker import Address, Local, Send

LEASE = 60
TRIES = 3
TRY_EVERY = 0.25
GRACE = 0.3
AGAIN = (2.0, 2.6)
RENEW = (20.0, 30.0)
CHECK_SECONDS = 5.0
ASKS_A_TICK = 64
NAMES_A_TURN = 20

Key = Tuple[bytes, str]
"""Address and agent's id: one without the other is not that machine."""


class Peer:
    """One machine at one address. `users` counts the names that stand for it."""

    __slots__ = ("address", "agent_id", "asked", "beat", "due", "epoch", "groups", "heard", "lease", "nonce", "number", "numbers", "renew",
                 "same", "state", "tries", "users")

    def __init__(self, record: Record, port: int) -> None:
        self.address: Address = (record.ip, port)
        self.agent_id = record.agent_id
        self.groups: Tuple[int, ...] = _numbers(record.group_ids)
        self.state = UNCHECKED
        self.numbers: Dict[int, bool] = {}
        self.users = 0
        self.same = os.urandom(letters.SAME)
        self.nonce = b""  # of the question that waits
        self.lease = b""  # of the question that was answered
        self.epoch = b""
        self.number = 0
        self.tries = 0
        self.beat = 0.0
        self.asked = self.heard = self.due = self.renew = 0.0


class Follower:
    """`interested` in names, `hear` what is told, `tick` often. `changed` is called when the state of any machine is another one."""

    def __init__(
        self, ring: Ring, local: Local, send: Send, changed: Callable[[], None], clock: Callable[[], float], *, port: int, most_names: int,
        speaks: bool = True,
        random_between: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._ring = ring
        self._local = local
        self._send = send
        self._changed = changed
        self._clock = clock
        self._port = port
        self._most_names = most_names
        self._speaks = speaks
        self._between = random_between
        self._names: "OrderedDict[Labels, Tuple[Key, ...]]" = OrderedDict()
        self._peers: Dict[Key, Peer] = {}
        self._by_nonce: Dict[bytes, Peer] = {}
        self._due: List[Tuple[float, int, Peer]] = []
        self._order = 0
        self._checks: List[Tuple[float, Set[Key], Callable[[], None]]] = []
        self._review: Optional[Iterator[None]] = None
        self.not_believed = 0

    # What the resolver asks

    def state(self, record: Record, group_id: str) -> str:
        if record.agent_id and record.agent_id == self._ring.agent_id and self._speaks:
            running = self._local.group(int(group_id)) if group_id else self._local.running
            return RUNNING if running else FAILING
        peer = self._peers.get((record.packed, record.agent_id))
        if peer is None:
            return UNCHECKED
        if group_id and peer.state in (RUNNING, FAILING):
            told = peer.numbers.get(int(group_id))
            if told is not None:
                return RUNNING if told else FAILING
        return peer.state

    def interested(self, records: Sequence[Record], name: Labels) -> None:
        """The least recently asked names are forgotten beyond `most_names`."""
        known = self._names.get(name)
        if known is not None:
            self._names.move_to_end(name)
            if known == tuple([(record.packed, record.agent_id) for record in records]):
                return
        self._name(name, records)
        while len(self._names) > self._most_names:
            _, keys = self._names.popitem(last=False)
            self._drop(keys)

    def _name(self, name: Labels, records: Iterable[Record]) -> None:
        before = self._names.get(name, ())
        keys = []
        for record in records:
            key = (record.packed, record.agent_id)
            keys.append(key)
            if not record.agent_id or (self._speaks and record.agent_id == self._ring.agent_id):
                continue  # Without an identity it can never prove who it is; and this machine knows of itself.
            peer = self._peers.get(key)
            if peer is None:
                peer = self._peers[key] = Peer(record, self._port)
                self._plan(peer, 0.0)
            groups = _numbers(record.group_ids)
            if groups != peer.groups:
                peer.groups, peer.renew = groups, 0.0
                self._plan(peer, 0.0)
            peer.users += 1
        self._names[name] = tuple(keys)
        self._drop(before)

    def _drop(self, keys: Iterable[Key]) -> None:
        for key in keys:
            peer = self._peers.get(key)
            if peer is not None:
                peer.users -= 1
                if peer.users <= 0:
                    del self._peers[key]
                    self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        self._by_nonce.pop(peer.nonce, None)
        self._by_nonce.pop(peer.lease, None)
        peer.users = 0

    def check(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        waiting: Set[Key] = set()
        for record in records:
            key = (record.packed, record.agent_id)
            peer = self._peers.get(key)
            if peer is not None and peer.state == UNCHECKED and (peer.tries or self._ask(peer)):
                waiting.add(key)
        if waiting:
            self._checks.append((self._clock() + CHECK_SECONDS, waiting, done))
        else:
            done()

    def review(self, select: Callable[[Labels], Sequence[Record]]) -> None:
        """The records are others: what each followed name stands for is looked up anew, a few names a tick."""

        def steps() -> Iterator[None]:
            for number, name in enumerate(list(self._names)):
                if name in self._names:
                    self._name(name, select(name))
                if number % NAMES_A_TURN == NAMES_A_TURN - 1:
                    yield

        self._review = steps()

    def renew_keys(self) -> None:
        """The ring is another one: machines whose key was missing, or another one, are asked anew."""
        for peer in self._peers.values():
            if peer.state in (UNCHECKED, UNKNOWN):
                self._plan(peer, 0.0)

    # What comes

    def hear(self, letter: letters.Envelope, address: Address) -> None:
        """Something told. It is believed of the machine that was asked, at its address, with the key of the pair, and never twice."""
        peer = self._by_nonce.get(letter.nonce)
        if peer is None or letter.sender != peer.agent_id or address[0] != peer.address[0] or letter.recipient != self._ring.agent_id:
            self.not_believed += 1
            return
        key = self._ring.towards(peer.agent_id)
        told = letters.read_tell(letter.body)
        if key is None or told is None or not letter.is_by(key):
            self.not_believed += 1
            return
        now = self._clock()
        if letter.nonce == peer.nonce:
            # The answer to a fresh question: from here on this is what the lease's letters are compared with.
            self._by_nonce.pop(peer.lease, None)
            peer.lease, peer.nonce, peer.epoch, peer.tries = peer.nonce, b"", told.epoch, 0
            peer.renew = now + self._between(*RENEW)
            self._plan_next(peer, now, told.beat)
        elif told.epoch != peer.epoch or told.number <= peer.number:
            self.not_believed += 1
            return
        elif now < peer.renew:
            peer.tries = 0
        peer.number, peer.heard, peer.beat = told.number, now, told.beat
        self._become(peer, RUNNING if told.running else FAILING, told.groups)

    def _become(self, peer: Peer, state: str, groups: Dict[int, bool]) -> None:
        if peer.state == state and peer.numbers == groups:
            return
        peer.state, peer.numbers = state, groups
        self._changed()
        if self._checks and state != UNCHECKED:
            self._answer_checks()

    def _answer_checks(self) -> None:
        checks, self._checks = self._checks, []
        for ends, waiting, done in checks:
            left = {key for key in waiting if key in self._peers and self._peers[key].state == UNCHECKED}
            if left:
                self._checks.append((ends, left, done))
            else:
                done()

    # Asking

    def tick(self) -> None:
        now = self._clock()
        asks = 0
        while self._due and self._due[0][0] <= now and asks < ASKS_A_TICK:
            due, _, peer = heapq.heappop(self._due)
            if peer.users > 0 and peer.due == due:
                asks += self._attend(peer, now)
        if self._checks and self._checks[0][0] <= now:
            # Whoever waited has given up long ago.
            self._checks = [check for check in self._checks if check[0] > now]
        if self._review is not None and next(self._review, self) is self:
            self._review = None

    def _attend(self, peer: Peer, now: float) -> int:
        """What is to be done for a peer whose moment has come; how many letters that took."""
        if not peer.tries and peer.lease and peer.beat and now - peer.heard < peer.beat + GRACE and now < peer.renew:
            self._plan_next(peer, now, peer.beat)
            return 0
        # One that was never heard has a second and more, since whoever waits for a first check waits for a second.
        if peer.tries >= (TRIES if peer.lease else TRIES + 2):
            peer.tries = 0
            late = now - peer.heard - peer.beat - GRACE
            if late < 0:
                # Only the renewal of its lease was not answered: it has told of itself since.
                self._plan(peer, -late)
                return 0
            self._become(peer, UNKNOWN, {})
            self._plan(peer, self._between(*AGAIN))
            return 0
        return self._ask(peer)

    def _plan_next(self, peer: Peer, now: float, beat: float) -> None:
        """When to look whether it was heard: soon after it should have been."""
        heard = max(peer.heard, peer.asked)
        moment = min(heard + beat + GRACE, peer.renew) if beat else now + AGAIN[0]
        self._plan(peer, max(0.01, moment - now))

    def _plan(self, peer: Peer, seconds: float) -> None:
        self._order += 1
        peer.due = self._clock() + seconds
        heapq.heappush(self._due, (peer.due, self._order, peer))

    def _ask(self, peer: Peer) -> int:
        key = self._ring.towards(peer.agent_id)
        if key is None:
            # Its records are here before its key: the two come in one file after the other. It stays unchecked.
            self._plan(peer, self._between(*AGAIN))
            return 0
        if not peer.nonce:
            peer.nonce = peer.same + os.urandom(16 - letters.SAME)
            self._by_nonce[peer.nonce] = peer
        peer.tries += 1
        peer.asked = self._clock()
        self._send(letters.ask(key, peer.nonce, self._ring.agent_id, peer.agent_id, letters.Ask(LEASE, peer.groups)), peer.address)
        self._plan(peer, TRY_EVERY)
        return 1

    # What is told of all this

    @property
    def names(self) -> int:
        return len(self._names)

    def count(self) -> Dict[str, int]:
        """Followed machines by state."""
        counts = dict.fromkeys((RUNNING, FAILING, UNKNOWN, UNCHECKED), 0)
        for peer in self._peers.values():
            counts[peer.state] += 1
        return counts


def _numbers(group_ids: Sequence[str]) -> Tuple[int, ...]:
    return tuple([int(text) for text in group_ids if text.isdigit() and len(text) < 10])[: letters.MOST_GROUPS]
