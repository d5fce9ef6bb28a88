"""Local users. Passwords are kept as scrypt hashes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import secrets

import sqlalchemy as sa

from director.state import database, tables

_table = tables.users
_COST, _BLOCK, _PARALLEL, _LENGTH = 2**14, 8, 1, 32
_MEMORY = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class UserRow:
    """`scopes` such as `bosh.admin`; a user without any has all rights, as local users of the reference do."""

    name: str
    password_hash: str = dataclasses.field(repr=False)
    scopes: tuple[str, ...]
    created_at: float


class Users(database.Repository):
    """Source: API contract, 2.4."""

    def set(self, name: str, password: str, scopes: tuple[str, ...] = ()) -> None:
        """Make the user, or give it another password and scopes."""
        values = {"password_hash": hash_password(password), "scopes": scopes}
        with self._db.write():
            if not self._change(_table, _table.c.name == name, values):
                self._insert(_table, {"name": name, "created_at": self._db.clock(), **values})

    def authenticate(self, name: str, password: str) -> UserRow | None:
        """The user when the password is right. Takes as long for unknown users as for known ones."""
        user = self._one(UserRow, sa.select(_table).where(_table.c.name == name))
        right = check_password(password, user.password_hash if user else _NOBODY)
        return user if right else None

    def all(self) -> list[UserRow]:
        """Sorted by name."""
        return self._many(UserRow, sa.select(_table).order_by(_table.c.name))

    def delete(self, name: str) -> None:
        """Forget the user."""
        self._delete(_table, _table.c.name == name)


def hash_password(password: str) -> str:
    """`scrypt$N$R$P$SALT$HASH` with a fresh salt."""
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, maxmem=_MEMORY, dklen=_LENGTH)
    return f"scrypt${_COST}${_BLOCK}${_PARALLEL}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def check_password(password: str, stored: str) -> bool:
    """Whether the password has that hash."""
    _, cost, block, parallel, salt, digest = stored.split("$")
    wanted = base64.b64decode(digest)
    found = hashlib.scrypt(
        password.encode(), salt=base64.b64decode(salt), n=int(cost), r=int(block), p=int(parallel), maxmem=_MEMORY, dklen=len(wanted))
    return hmac.compare_digest(found, wanted)


_NOBODY = f"scrypt${_COST}${_BLOCK}${_PARALLEL}${base64.b64encode(bytes(16)).decode()}${base64.b64encode(bytes(_LENGTH)).decode()}"
