"""One call at a time for each token: two calls with one token must make one thing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class OnePerToken:
    """`with once(token):` waits while another thread of this process is inside with the same token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def __call__(self, token: str) -> Iterator[None]:
        with self._lock:
            lock, users = self._inside.get(token, (threading.Lock(), 0))
            self._inside[token] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._inside[token]
                if users == 1:
                    del self._inside[token]
                else:
                    self._inside[token] = (lock, users - 1)
