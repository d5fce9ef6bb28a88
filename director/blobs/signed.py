"""Links that allow one thing with one blob for a while, so that machines fetch blobs without an account on the director.

    PATH?expires=1451020321&signature=HEX
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

MINIMUM_SECRET_BYTES = 32


class Signer:
    """Makes and checks links. `secret` is at least 32 random bytes; `clock` gives Unix seconds."""

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        if len(secret) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"the secret needs {MINIMUM_SECRET_BYTES} bytes")
        self._secret = secret
        self._clock = clock

    def sign(self, path: str, seconds: float, *, method: str = "GET") -> str:
        """`path` with a query that allows `method` on it for that long. The path is signed as given: the check must see the same."""
        expires = int(self._clock() + seconds)
        return f"{path}?{urlencode({'expires': expires, 'signature': self._signature(path, method, expires)})}"

    def allows(self, path: str, query: Mapping[str, str], *, method: str = "GET") -> bool:
        """Whether a request with these query parameters may pass: right signature, not expired. HEAD passes where GET does."""
        method = "GET" if method == "HEAD" else method
        text = query.get("expires", "")
        if not (text.isascii() and text.isdigit() and len(text) <= 12):
            return False
        wanted = self._signature(path, method, int(text))
        genuine = hmac.compare_digest(wanted.encode(), query.get("signature", "").encode())
        return genuine and self._clock() < int(text)

    def _signature(self, path: str, method: str, expires: int) -> str:
        return hmac.new(self._secret, f"{method}\n{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
