"""A definition's options, read with their types. All that is wrong is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from director import errors
from director.diagnostics import Diagnostic, Diagnostics, Where, did_you_mean

FAILED = 540005


class Options:
    """Options of the variable `name`. `finish` raises when anything read so far was wrong."""

    def __init__(self, name: str, type: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self._type = type
        self._options = options
        self._problems = Diagnostics()

    def known(self, keys: Iterable[str]) -> None:
        """Complain about every option that is none of `keys`."""
        keys = tuple(keys)
        for key in self._options:
            if key not in keys:
                self.wrong(f"Unsupported parameter '{key}'", did_you_mean(str(key), keys) or f"Known ones: {', '.join(keys) or 'none'}.")

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers are taken as they are written."""
        value = self._options.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.wrong(f"'{key}' must be a String, but was {_kind(value)}")
            return default
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; a single text stands for a list of one."""
        value = self._options.get(key)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            self.wrong(f"'{key}' must be an Array of Strings")
            return ()
        return tuple(items)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self._options.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.wrong(f"'{key}' must be a Boolean, but was {_kind(value)}")
            return default
        return value

    def number(self, key: str, default: int, *, least: int = 1, most: int = 1_000_000) -> int:
        """An integer within limits."""
        value = self._options.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(f"'{key}' must be an Integer, but was {_kind(value)}")
            return default
        if not least <= value <= most:
            self.wrong(f"'{key}' must be between {least} and {most}, but was {value}")
            return default
        return value

    def choice(self, key: str, value: Any, allowed: Iterable[Any], message: str) -> bool:
        """Whether `value` is allowed; complains with `message` otherwise."""
        allowed = tuple(allowed)
        if value in allowed:
            return True
        self.wrong(message, did_you_mean(str(value), map(str, allowed)) or f"'{key}' may be: {', '.join(map(str, allowed))}.")
        return False

    def wrong(self, problem: str, suggestion: str = "") -> None:
        """Complain, once about the same."""
        complaint = failure(self.name, self._type, problem, suggestion)
        if complaint not in self._problems:
            self._problems.extend([complaint])

    def finish(self) -> None:
        """Raises ManifestError (540005) with all complaints."""
        if self._problems.errors:
            raise errors.ManifestError(*self._problems.errors)


def failure(name: str, type: str, problem: str, suggestion: str = "", where: Where | None = None) -> Diagnostic:
    """The diagnostic of a variable that cannot be made."""
    return Diagnostic(
        f"Failed to generate variable '{name}' with type '{type}': {problem}", where=where, code=FAILED, suggestion=suggestion)


def _kind(value: Any) -> str:
    """What a value is, for errors; the value itself may be secret."""
    names = {bool: "a Boolean", int: "an Integer", float: "a Float", str: "a String", list: "an Array", dict: "a Hash"}
    return names.get(type(value), type(value).__name__)
