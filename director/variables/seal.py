"""Encryption at rest: AES-256-GCM with a key in a file of its own, so that a copy of the database alone tells nothing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from director import errors

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class Seal:
    """Seals bytes for a purpose; what was sealed for one does not open for another."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, content: bytes, purpose: str) -> bytes:
        """Encrypt. The same content looks different each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, content, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Decrypt. Raises CaissonError when key or purpose are others, or a bit was changed."""
        nonce, rest = sealed[1:1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES:]
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            return self._cipher.decrypt(nonce, rest, purpose.encode())
        except (InvalidTag, ValueError):
            raise errors.CaissonError(
                "A stored secret cannot be decrypted",
                suggestion="The key file does not belong to this database, or the database was damaged. Restore both from the same backup.",
            ) from None

    def __repr__(self) -> str:
        return "Seal(...)"


def load_key(path: Path) -> bytes | None:
    """The key, None when there is no file. Raises CaissonError when it cannot be a key."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != KEY_BYTES:
        raise errors.CaissonError(f"'{path}' is no encryption key", suggestion="Restore the file from a backup of the state directory.")
    return key


def make_key(path: Path) -> bytes:
    """A new key in a file only its owner reads, on disk before anything is sealed with it; another process's key when that was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    key = secrets.token_bytes(KEY_BYTES)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as stream:
        stream.write(key)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        key = path.read_bytes()
    finally:
        temporary.unlink()
    return key
