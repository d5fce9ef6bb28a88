"""One thread that waits for sockets and for moments. Nothing here ever blocks for longer than a turn."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
from typing import Any, Callable, List, Optional, Tuple

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
LONGEST_TURN = 1.0
Ready = Callable[[int], None]


class Timer:
    """A moment at which something is called, unless it is cancelled before."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Optional[Callable[[], None]] = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """`register` sockets, ask to be called `later`, then `turn` again and again. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: List[Tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._waker: Optional[socket.socket] = None
        self._calls: List[Callable[[], None]] = []

    def register(self, sock: Any, events: int, ready: Ready) -> None:
        self._selector.register(sock, events, ready)

    def modify(self, sock: Any, events: int, ready: Ready) -> None:
        self._selector.modify(sock, events, ready)

    def unregister(self, sock: Any) -> None:
        """A socket that was never registered is fine."""
        try:  # noqa: SIM105 - contextlib.suppress costs more than the look-up
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            pass

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        heapq.heappush(self._timers, (self.clock() + seconds, next(self._numbers), timer))
        return timer

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls again and again, counted from the end of the call before: a machine that slept has nothing to catch up on."""

        def again() -> None:
            call()
            self.later(seconds, again)

        self.later(seconds, again)

    def from_thread(self, call: Callable[[], None]) -> None:
        """The one method for other threads: `call` runs in the loop's thread. `accept_threads` comes first."""
        assert self._waker is not None
        self._calls.append(call)
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # Enough wake-ups are on their way.

    def accept_threads(self) -> None:
        if self._waker is not None:
            return
        waker, woken = socket.socketpair()
        waker.setblocking(False)
        woken.setblocking(False)
        self._waker = waker
        self.register(woken, READ, lambda mask: self._run_calls(woken))

    def _run_calls(self, woken: socket.socket) -> None:
        woken.recv(4096)
        calls, self._calls = self._calls, []
        for call in calls:
            call()

    def turn(self, most: float = LONGEST_TURN) -> None:
        """Waits for at most `most` seconds and deals with what came."""
        timers = self._timers
        wait = most
        if timers:
            wait = min(most, max(0.0, timers[0][0] - self.clock()))
        for key, mask in self._selector.select(wait):
            key.data(mask)
        if timers and timers[0][0] <= self.clock():
            self._run_timers()

    def _run_timers(self) -> None:
        now = self.clock()
        due = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            # One of those before it may have cancelled it.
            if timer.call is not None:
                timer.call()

    def close(self) -> None:
        """Closes what is registered, too."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        if self._waker is not None:
            self._waker.close()
        self._selector.close()
