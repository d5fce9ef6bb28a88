"""Values that somebody else made, checked before they are kept: of each type in its shape, with what follows from it filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from director import errors
from director.diagnostics import Diagnostic, did_you_mean
from director.state.variables import VariableRow
from director.variables import certificates, keys
from director.variables.sha512crypt import sha512_crypt
from director.variables.vault import Vault

SHAPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "certificate": (("certificate", "private_key"), ("ca",)), "rsa": (("private_key",), ("public_key",)),
    "ssh": (("private_key",), ("public_key", "public_key_fingerprint")), "user": (("username", "password"), ("password_hash",)),
}
TYPES = ("password", "value", "json", *SHAPES)


def keep(vault: Vault, authorities: Mapping[str, VariableRow], name: str, type: str, value: Any) -> VariableRow:
    """The new version of `name` (absolute), not stored yet. `authorities` are the newest versions of all variables, among which the signer
    of a certificate is looked for. Raises UsageError with all that is wrong; no error tells a value."""
    if type not in TYPES:
        raise errors.UsageError(f"There is no type '{type}'", suggestion=did_you_mean(type, TYPES) or f"Types: {', '.join(TYPES)}.")
    if type == "certificate":
        value = _shaped(name, type, value)
        value, signer = _certificate(vault, authorities, name, value)
        return vault.version(name, type, value, signed_by=signer)
    return vault.version(name, type, _MAKERS[type](name, value))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise errors.UsageError(f"The value of '{name}' must be a text that is not empty")
    return value


def _user(name: str, value: Any) -> dict[str, str]:
    value = _shaped(name, "user", value)
    return {"password_hash": sha512_crypt(value["password"]), **value}


def _rsa(name: str, value: Any) -> dict[str, str]:
    value = _shaped(name, "rsa", value)
    return {**keys.rsa_value(_key(name, value["private_key"])), **value}


def _ssh(name: str, value: Any) -> dict[str, str]:
    value = _shaped(name, "ssh", value)
    return {**keys.ssh_value(_key(name, value["private_key"])), **value}


_MAKERS: Mapping[str, Callable[[str, Any], Any]] = {
    "password": _text, "value": lambda name, value: value, "json": lambda name, value: value, "user": _user, "rsa": _rsa, "ssh": _ssh,
}


def _shaped(name: str, type: str, value: Any) -> dict[str, str]:
    """A map with the type's keys. Raises UsageError with all that is missing, unknown or no text."""
    needed, optional = SHAPES[type]
    if not isinstance(value, Mapping):
        raise errors.UsageError(f"The value of '{name}' must be a map", suggestion=f"Its keys: {', '.join((*needed, *optional))}.")
    problems = [Diagnostic(f"'{key}' is missing in the value of '{name}'") for key in needed if not value.get(key)]
    for key, item in value.items():
        if key not in (*needed, *optional):
            problems.append(Diagnostic(f"A value of type '{type}' has no '{key}'", suggestion=did_you_mean(str(key), (*needed, *optional))))
        elif not isinstance(item, str):
            problems.append(Diagnostic(f"'{key}' in the value of '{name}' must be a text"))
    if problems:
        raise errors.UsageError(*problems)
    return dict(value)


def _key(name: str, pem: str) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        problem = f"'private_key' in the value of '{name}' cannot be read"
        raise errors.UsageError(problem, suggestion="It must be PEM, without a password.") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise errors.UsageError(f"'private_key' in the value of '{name}' is no RSA key")
    return key


def _certificate(
    vault: Vault, authorities: Mapping[str, VariableRow], name: str, value: dict[str, str],
) -> tuple[dict[str, str], str]:
    """The value with its `ca`, and the id of the version that signed it ('' when that is not here)."""
    key, pem = _key(name, value["private_key"]), value["certificate"]
    try:
        public = x509.load_pem_x509_certificate(pem.encode()).public_key()
    except ValueError as error:
        raise errors.UsageError(f"'certificate' in the value of '{name}' cannot be read", suggestion="It must be PEM.") from error
    if public != key.public_key():
        raise errors.UsageError(f"'certificate' and 'private_key' in the value of '{name}' do not belong together")
    if certificates.is_self_signed(pem):
        return {"ca": pem, **value}, ""
    for row in authorities.values():
        if row.type == "certificate" and row.name != name and certificates.is_issued_by(pem, vault.value(row.id)["certificate"]):
            return {"ca": certificates.Signer.of(vault.value(row.id)).chain, **value}, row.id
    if not value.get("ca"):
        raise errors.UsageError(f"'ca' is missing in the value of '{name}', and what signed it is not here",
                                suggestion="Add `ca`, or set the CA first.")
    return value, ""
