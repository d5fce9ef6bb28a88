"""The `$6$` password hash of crypt(3), which the standard library is about to lose and no given dependency has.

Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", version 0.6; the steps are numbered as there.
"""

from __future__ import annotations

import hashlib
import secrets

ROUNDS = 5000
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT_LENGTH = 16


def sha512_crypt(password: str, salt: str | None = None) -> str:
    """`$6$SALT$HASH` with 5000 rounds; a fresh salt unless one is given (cut to 16 characters)."""
    if salt is None:
        salt = "".join(secrets.choice(_ALPHABET) for _ in range(_SALT_LENGTH))
    salt = salt[:_SALT_LENGTH]
    return f"$6${salt}${_encoded(_digest(password.encode(), salt.encode()))}"


def _digest(key: bytes, salt: bytes) -> bytes:
    other = hashlib.sha512(key + salt + key).digest()  # steps 4-8
    start = key + salt + _repeated(other, len(key))  # 1-3, 9-10
    length = len(key)
    while length:  # 11
        start += other if length & 1 else key
        length >>= 1
    result = hashlib.sha512(start).digest()  # 12
    keys = _repeated(hashlib.sha512(key * len(key)).digest(), len(key))  # 13-16
    salts = _repeated(hashlib.sha512(salt * (16 + result[0])).digest(), len(salt))  # 17-20
    for number in range(ROUNDS):  # 21
        parts = [keys if number & 1 else result]
        if number % 3:
            parts.append(salts)
        if number % 7:
            parts.append(keys)
        parts.append(result if number & 1 else keys)
        result = hashlib.sha512(b"".join(parts)).digest()
    return result


def _repeated(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _encoded(digest: bytes) -> str:
    """Step 22: three bytes at a time, their places rotating, six bits each from the lowest."""
    text = ""
    first, second, third = 0, 21, 42
    for _ in range(21):
        text += _six_bits(digest[first] << 16 | digest[second] << 8 | digest[third], 4)
        first, second, third = second + 1, third + 1, first + 1
    return text + _six_bits(digest[63], 2)


def _six_bits(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 0x3F] for place in range(count))
