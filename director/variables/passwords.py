"""Passwords and users."""

from __future__ import annotations

import secrets
import string
from typing import Any

from director.variables.options import Options
from director.variables.sha512crypt import sha512_crypt

LONGEST = 4096
SPECIAL = "!@#$%^&*()-_=+[]{}<>?.,:;~"
_CLASSES = {"exclude_upper": string.ascii_uppercase, "exclude_lower": string.ascii_lowercase, "exclude_number": string.digits}
USER_NAME_LENGTH = 20


def make_password(options: Options, *, length: int, alphabet: str) -> str:
    """Random characters of `alphabet`, each as likely; `length` unless the options name one. Raises ManifestError."""
    length = options.number("length", length, least=1, most=LONGEST)
    for key, characters in _CLASSES.items():
        if options.flag(key):
            alphabet = "".join(character for character in alphabet if character not in characters)
    if options.flag("include_special"):
        alphabet += SPECIAL
    if not alphabet:
        options.wrong("no characters are left to choose from", "Leave out one of the exclude_... options.")
    options.finish()
    return "".join(secrets.choice(alphabet) for _ in range(length))


def make_user(options: Options, *, length: int, alphabet: str) -> dict[str, Any]:
    """`{username, password, password_hash}`; the hash is SHA-512 crypt. Raises ManifestError."""
    name = options.text("username")
    password = make_password(options, length=length, alphabet=alphabet)
    name = name or "".join(secrets.choice(string.ascii_letters) for _ in range(USER_NAME_LENGTH))
    return {"username": name, "password": password, "password_hash": sha512_crypt(password)}
