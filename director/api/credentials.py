"""The certificate the API shows and the first user, made once and kept in the state directory.

Files below `STATE/api` (mode 0700): `ca.pem` and `server.pem` to be given away, `server.key` and `admin-password` for this
computer only. The CA's own key is thrown away: it signs one certificate, and both are made anew before they end.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import os
import pathlib
import secrets
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from director.state import store as state_store

ADMIN = "admin"
DAYS = 3650
RENEW_DAYS = 30
# RSA, because the `bosh` command offers only RSA suites with TLS 1.2.
KEY_BITS = 2048


@dataclasses.dataclass(frozen=True)
class Credentials:
    """Paths of the PEM files, and who may log in from this computer."""

    ca: pathlib.Path
    certificate: pathlib.Path
    key: pathlib.Path
    user: str
    password: str = dataclasses.field(repr=False)


def folder(state: pathlib.Path) -> pathlib.Path:
    return state / "api"


def read(state: pathlib.Path) -> Credentials | None:
    """What a director made there, None before its first start."""
    place = folder(state)
    password = place / "admin-password"
    if not password.is_file() or not (place / "ca.pem").is_file():
        return None
    return Credentials(place / "ca.pem", place / "server.pem", place / "server.key", ADMIN, password.read_text().strip())


def prepare(state: pathlib.Path, store: state_store.Store, hosts: Sequence[str], now: float) -> Credentials:
    """Make what is missing or about to end, for these names and addresses; the admin user is recorded in the store."""
    place = folder(state)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = place / "admin-password"
    if not password.is_file():
        _write(password, secrets.token_urlsafe(24).encode() + b"\n", 0o600)
    secret = password.read_text().strip()
    if store.users.authenticate(ADMIN, secret) is None:
        store.users.set(ADMIN, secret)
    when = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if not _valid(place, hosts, when):
        _make(place, hosts, when)
    return Credentials(place / "ca.pem", place / "server.pem", place / "server.key", ADMIN, secret)


def _valid(place: pathlib.Path, hosts: Sequence[str], now: datetime.datetime) -> bool:
    if not all((place / name).is_file() for name in ("ca.pem", "server.pem", "server.key")):
        return False
    found = x509.load_pem_x509_certificate((place / "server.pem").read_bytes())
    named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = {str(item.value) for item in named}
    return set(hosts) <= names and found.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)


def _make(place: pathlib.Path, hosts: Sequence[str], now: datetime.datetime) -> None:
    ca_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Caisson director CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    certificate = (
        _builder(name, ca_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(place / "server.key", private, 0o600)
    _write(place / "server.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(place / "ca.pem", ca.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, now: datetime.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=not sign, data_encipherment=False, key_agreement=False,
        key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: pathlib.Path, content: bytes, mode: int) -> None:
    """Whole or not at all, never readable by others in between."""
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
