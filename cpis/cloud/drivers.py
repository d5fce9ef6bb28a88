"""A driver for each thread: Libcloud's keep the request under way as attributes, so that two threads would sign each other's."""

from __future__ import annotations

import os
import threading
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


class PerThread(Generic[Driver]):
    """`make` builds a driver; `end` closes one. Drivers of threads that ended are closed with the rest."""

    def __init__(self, make: Callable[[], Driver], end: Callable[[Driver], None] = lambda driver: None) -> None:
        self._make = make
        self._end = end
        self._own = threading.local()
        self._lock = threading.Lock()
        self._made: list[Driver] = []
        self._generation = 0

    def get(self) -> Driver:
        """This thread's driver."""
        if getattr(self._own, "generation", None) != self._generation:
            driver = self._make()
            with self._lock:
                self._made.append(driver)
            self._own.driver, self._own.generation = driver, self._generation
        found: Driver = self._own.driver
        return found

    def close(self) -> None:
        """End all; whoever asks again gets a new one."""
        with self._lock:
            made, self._made = self._made, []
            self._generation += 1
        for driver in made:
            self._end(driver)
