"""The socket, and `health.Health` on top of it: questions of others are answered, and others are asked."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..health import Health
from ..listening import holders
from ..loop import READ, Loop
from ..records import Record, Records, packed_of
from ..wire import Labels
from . import letters
from .follower import Follower
from .keys import Ring
from .speaker import Address, Local, Speaker

TICK = 0.1
LOOK_EVERY = 0.5
BURST = 256
MAPPED = "::ffff:"
RETRY = 5.0

log = logging.getLogger("bosh-dns")


class Peers(Health):
    """Health of all machines, this one's included (`local`, kept by whoever looks after it; `changed_here` says that it changed).

    `records` gives those in use. A `speaker` answers for this machine on `port`; the other processes of one resolver only ask.
    """

    enabled = True

    def __init__(
        self, loop: Loop, ring: Ring, records: Callable[[], Records], *, address: str = "", port: int = 8853, most_names: int = 2000,
        speaks: bool = True, local: Optional[Local] = None, send: Optional[Callable[[bytes, Address], None]] = None,
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._records = records
        self._bind = (address, port if speaks else 0)
        self._socket: Optional[socket.socket] = None
        self._mapped = False
        self._subscribers: List[Callable[[], None]] = []
        self._telling = False
        self.local = local or Local()
        deliver = send or self._send
        self.speaker = Speaker(ring, self.local, deliver, self._owns, loop.clock) if speaks else None
        self.follower = Follower(
            ring, self.local, deliver, self._changed, loop.clock, port=port, most_names=most_names, speaks=speaks)

    # What the resolver asks

    def state(self, record: Record, group_id: str) -> str:
        return self.follower.state(record, group_id)

    def interested(self, records: Sequence[Record], name: Labels = ()) -> None:
        self.follower.interested(records, name)

    def check(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        self.follower.check(records, done)

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._subscribers.append(changed)

    def renewed(self, select: Callable[[Labels], Sequence[Record]]) -> None:
        self.follower.review(select)

    # Its life

    def start(self) -> None:
        """A port that is taken is said and tried again: names resolve meanwhile, without anybody's health."""
        self._ring.renew()
        self._begin()
        self.run()

    def _begin(self) -> None:
        try:
            self._socket, self._mapped = _open(*self._bind)
        except OSError as error:
            names = ", ".join(holders(self._bind[1]))
            log.error(
                "health goes without port %d, which is tried again: %s%s", self._bind[1], error.strerror or error,
                "; it is held by %s" % names if names else "")
            self._loop.later(RETRY, self._begin)
            return
        self._loop.register(self._socket, READ, self._receive)

    def run(self) -> None:
        """The part of `start` that needs no socket."""
        self._loop.every(TICK, self._tick)
        self._loop.every(LOOK_EVERY, self._look)

    def changed_here(self) -> None:
        """`local` is another one."""
        if self.speaker is not None:
            self.speaker.changed()
        self._changed()

    def hear(self, packet: bytes, address: Address) -> None:
        letter = letters.opened(packet)
        if letter is None:
            return
        if letter.kind == letters.TELL:
            self.follower.hear(letter, address)
        elif self.speaker is not None:
            self.speaker.hear(letter, address, len(packet))

    def tell(self) -> Dict[str, Any]:
        """For status and figures."""
        speaker = self.speaker
        return {
            "self": self._ring.agent_id, "running": self.local.running,
            "groups": {str(key): value for key, value in self.local.groups.items()},
            "names": self.follower.names, "followed": self.follower.count(), "followers": len(speaker) if speaker is not None else 0,
            "not_believed": self.follower.not_believed + (speaker.refused if speaker is not None else 0),
        }

    def _tick(self) -> None:
        if self.speaker is not None:
            self.speaker.tick()
        self.follower.tick()

    def _look(self) -> None:
        before = self._ring.agent_id
        if self._ring.renew():
            if self.speaker is not None and before != self._ring.agent_id:
                self.speaker.renew_keys()
            self.follower.renew_keys()

    def _changed(self) -> None:
        if not self._telling:
            self._telling = True
            self._loop.later(0.0, self._tell_subscribers)

    def _tell_subscribers(self) -> None:
        self._telling = False
        for changed in self._subscribers:
            changed()

    def _owns(self, address: str, agent_id: str) -> bool:
        packed = packed_of(address)
        return any(record.packed == packed for record in self._records().with_agent(agent_id))

    def _receive(self, mask: int) -> None:
        assert self._socket is not None
        receive = self._socket.recvfrom
        for _ in range(BURST):
            try:
                packet, address = receive(2048)
            except OSError:
                # Nothing more, or the word of a host that nobody listens there: asking it again tells the same.
                return
            ip = address[0]
            self.hear(packet, (ip[len(MAPPED) :] if self._mapped and ip.startswith(MAPPED) else ip.partition("%")[0], address[1]))

    def _send(self, packet: bytes, address: Address) -> None:
        if self._socket is None:
            return
        ip, port = address
        try:
            self._socket.sendto(packet, (MAPPED + ip if self._mapped and ":" not in ip else ip, port))
        except OSError as error:
            log.debug("no letter to %s: %s", address[0], error)


def _open(address: str, port: int) -> Tuple[socket.socket, bool]:
    """A socket for that address, or for all of both families, where IPv4 addresses are then written as IPv6 ones (True). OSError."""
    if not address:
        try:
            return _bound(socket.AF_INET6, "::", port), True
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            log.debug("no IPv6 here: %s", error)
    return _bound(socket.AF_INET6 if ":" in address else socket.AF_INET, address, port), False


def _bound(family: int, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
