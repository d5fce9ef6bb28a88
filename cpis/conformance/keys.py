"""Keys for the logins of machines that the suite makes."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cpis.contract import Login


def pair(kind: str = "ed25519") -> tuple[str, str]:
    """An OpenSSH private key and its public line; `kind` is ed25519 or rsa (4096 bits)."""
    key = Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 4096)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


def login(kind: str = "ed25519", user: str = "caisson") -> tuple[Login, str]:
    """A login, and the private key of its user."""
    private, public = pair(kind)
    host_private, host_public = pair(kind)
    return Login(user, public, host_public, host_private), private
