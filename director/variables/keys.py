"""RSA keys, and the values of type rsa and ssh."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_LENGTHS = (2048, 3072, 4096)
_EXPONENT = 65537


class Keys:
    """Makes RSA keys: ahead and side by side when it is told what will be needed, since a key takes 50 ms to make."""

    def __init__(self) -> None:
        self._ahead: dict[int, list[Future[rsa.RSAPrivateKey]]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def prepare(self, lengths: Iterable[int]) -> None:
        """Begin to make keys of these lengths (bits), one for each mention."""
        for length in lengths:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="keys")
            self._ahead.setdefault(length, []).append(self._pool.submit(rsa.generate_private_key, _EXPONENT, length))

    def take(self, length: int) -> rsa.RSAPrivateKey:
        """A fresh key."""
        waiting = self._ahead.get(length)
        return waiting.pop(0).result() if waiting else rsa.generate_private_key(_EXPONENT, length)

    def close(self) -> None:
        """Give up keys that nobody took."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class SameKeys(Keys):
    """Gives the same key each time. For previews, where a key must look right and guards nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._made: dict[int, rsa.RSAPrivateKey] = {}

    def prepare(self, lengths: Iterable[int]) -> None:
        """Nothing is made ahead."""

    def take(self, length: int) -> rsa.RSAPrivateKey:
        """The key of that length."""
        with self._lock:
            if length not in self._made:
                self._made[length] = rsa.generate_private_key(_EXPONENT, length)
            return self._made[length]


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """PKCS#1, as the reference writes private keys."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()).decode()


def rsa_value(key: rsa.RSAPrivateKey) -> dict[str, str]:
    """`{private_key, public_key}`."""
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"private_key": private_pem(key), "public_key": public.decode()}


def ssh_value(key: rsa.RSAPrivateKey, comment: str = "") -> dict[str, str]:
    """`{private_key, public_key, public_key_fingerprint}`; the fingerprint is SHA-256, base64 without padding (43 characters)."""
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    digest = hashlib.sha256(base64.b64decode(public.split(" ")[1])).digest()
    return {
        "private_key": private_pem(key), "public_key": f"{public} {comment}".strip(),
        "public_key_fingerprint": base64.b64encode(digest).decode().rstrip("="),
    }
