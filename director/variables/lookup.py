"""Values by name, as interpolation asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from director.variables import names

_SECRET_KEYS = {"certificate": ("private_key",), "rsa": ("private_key",), "ssh": ("private_key",), "user": ("password", "password_hash")}


class Lookup:
    """Called with a root name, relative or absolute, it answers the value; raises KeyError with the absolute name when there is none.

    `used` maps the absolute names asked for so far to the ids of their versions ('' for a preview's). Its repr tells no value.
    """

    def __init__(
        self, find: Callable[[str], tuple[str, Any]], director: str, deployment: str, *, overlay: Mapping[str, Any] | None = None,
    ) -> None:
        self._find = find
        self._director = director
        self._deployment = deployment
        self._overlay = overlay or {}
        self.used: dict[str, str] = {}

    def __call__(self, name: str) -> Any:
        """The value, whose keys the caller follows."""
        full = names.absolute(name, self._director, self._deployment)
        if full in self._overlay:
            self.used[full] = ""
            return self._overlay[full]
        self.used[full], value = self._find(full)
        return value

    def __repr__(self) -> str:
        return f"Lookup({self._deployment}, {len(self.used)} used)"


def secrets_of(type: str, value: Any) -> Iterator[str]:
    """The texts of a value that must not be shown: public keys and certificates may be."""
    if isinstance(value, dict) and type in _SECRET_KEYS:
        yield from (value[key] for key in _SECRET_KEYS[type] if isinstance(value.get(key), str))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_of("", item)
    elif isinstance(value, list):
        for item in value:
            yield from secrets_of("", item)
    elif isinstance(value, str):
        yield value
