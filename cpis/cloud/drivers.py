"""A driver for each thread: Libcloud's keep the request under way as attributes, so that two threads would sign each other's."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import requests
from requests.utils import get_environ_proxies

Driver = TypeVar("Driver")


def settle(session: requests.Session, url: str) -> None:
    """Let a session that speaks with one server ask the environment for proxies now, and not with each request, a third of whose cost that
    is. It no longer looks into `.netrc`, whose passwords would take the place of our own headers."""
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return  # these are read with each request, or not at all
    session.proxies.update(get_environ_proxies(url, no_proxy=None))
    session.trust_env = False


class _Held(Generic[Driver]):
    """A thread's hold on a driver; it ends with the thread."""

    def __init__(self, driver: Driver, generation: int) -> None:
        self.driver = driver
        self.generation = generation


class PerThread(Generic[Driver]):
    """`make` builds a driver; `end` closes one. The driver of a thread that ended serves the next one that asks, so that there are never
    more than threads at one time."""

    def __init__(self, make: Callable[[], Driver], end: Callable[[Driver], None] = lambda driver: None) -> None:
        self._make = make
        self._end = end
        self._own = threading.local()
        self._lock = threading.RLock()
        self._made: list[Driver] = []
        self._idle: list[Driver] = []
        self._generation = 0

    def get(self) -> Driver:
        """This thread's driver."""
        held: _Held[Driver] | None = getattr(self._own, "held", None)
        if held is None or held.generation != self._generation:
            held = self._own.held = self._hold()
        return held.driver

    def _hold(self) -> _Held[Driver]:
        with self._lock:
            generation = self._generation
            driver = self._idle.pop() if self._idle else None
        if driver is None:
            driver = self._make()
            with self._lock:
                self._made.append(driver)
        held = _Held(driver, generation)
        weakref.finalize(held, self._let_go, driver, generation).atexit = False
        return held

    def _let_go(self, driver: Driver, generation: int) -> None:
        with self._lock:
            if generation == self._generation:
                self._idle.append(driver)

    def close(self) -> None:
        """End all; whoever asks again gets a new one."""
        with self._lock:
            made, self._made, self._idle = self._made, [], []
            self._generation += 1
        for driver in made:
            self._end(driver)
