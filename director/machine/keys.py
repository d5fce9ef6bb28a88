"""SSH keys, made and named."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """An ed25519 key: `private_pem` is an OpenSSH PEM text and secret, `public_line` an OpenSSH line without comment."""

    public_line: str
    private_pem: str = dataclasses.field(repr=False)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public_line)


def generate() -> KeyPair:
    """A new key."""
    return _pair(ed25519.Ed25519PrivateKey.generate())


def _pair(key: ed25519.Ed25519PrivateKey) -> KeyPair:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair(public.decode(), private.decode())


def fingerprint(public_line: str) -> str:
    """`SHA256:...` as ssh-keygen shows it."""
    blob = base64.b64decode(public_line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def derive(secret: bytes, label: str) -> KeyPair:
    """The same key for the same secret and label: what a repeated creation of a machine must give it."""
    seed = hmac.new(secret, label.encode(), hashlib.sha256).digest()
    return _pair(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def read(private_pem: str) -> KeyPair:
    """The pair of a private key. Raises ValueError when it is no ed25519 key."""
    key = serialization.load_ssh_private_key(private_pem.encode(), password=None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("not an ed25519 key")
    return _pair(key)
