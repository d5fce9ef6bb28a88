"""Paths of ops files: how they are written, and how a token finds its place in a list. Source: manifest contract, sections 19.1, 19.2."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from director.diagnostics import did_you_mean

MODIFIERS = ("prev", "next", "before", "after")
MAX_TOKENS = 100
"""Longer paths are refused, so that documents stay shallow enough for recursive walks."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")  # longer ones are keys, as they are too large for an index
_ENCODED = re.compile(r"~[017]")
_DECODE = {"~0": "~", "~1": "/", "~7": ":"}


class PathError(Exception):
    """A path that cannot be read, or that leads nowhere in the document."""

    def __init__(self, text: str, suggestion: str = "") -> None:
        super().__init__(text)
        self.suggestion = suggestion


class Unexpected(PathError):
    """The path and the document do not fit each other."""


class Missing(PathError):
    """Token number `at` names something that is not there."""

    def __init__(self, text: str, at: int, suggestion: str = "") -> None:
        super().__init__(text, suggestion)
        self.at = at


@dataclasses.dataclass(frozen=True)
class Key:
    name: str
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Index:
    number: int
    modifiers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Match:
    key: str
    value: str
    optional: bool = False
    modifiers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Append:
    """`-`: after the last element."""


Token = Key | Index | Match | Append


def parse_path(text: str) -> tuple[Token, ...]:
    """The tokens of a path; none for the empty path, which is the whole document. Raises PathError."""
    if not text:
        return ()
    if not text.startswith("/"):
        raise PathError("Expected to start with '/'", f"Write /{text}")
    words = text.split("/")[1:]
    if len(words) > MAX_TOKENS:
        raise PathError(f"Expected at most {MAX_TOKENS} elements but found {len(words)}")
    tokens: list[Token] = []
    optional = False
    for at, whole in enumerate(words):
        word, *modifiers = whole.split(":")
        for modifier in modifiers:
            if modifier not in MODIFIERS:
                raise PathError(
                    f"Expected to find one of the following modifiers: 'prev', 'next', 'before', or 'after' but found '{modifier}'",
                    "Write ~7 for a colon that is part of a name.",
                )
        token = _token(_decode(word), tuple(modifiers), at == len(words) - 1, optional)
        optional = getattr(token, "optional", optional) or optional
        tokens.append(token)
    return tuple(tokens)


def _token(word: str, modifiers: tuple[str, ...], last: bool, optional: bool) -> Token:
    if last and word == "-":
        if modifiers:
            raise PathError("Expected not to find any modifiers with after last index token")
        return Append()
    if _INTEGER.match(word):
        return Index(int(word), modifiers)
    optional = optional or word.endswith("?")
    key, equals, value = word.partition("=")
    if equals:
        return Match(key, value.removesuffix("?"), optional, modifiers)
    if modifiers:
        raise PathError("Expected not to find any modifiers with key token")
    return Key(word.removesuffix("?"), optional)


def _decode(word: str) -> str:
    return _ENCODED.sub(lambda match: _DECODE[match[0]], word)


def _encode(word: str) -> str:
    return word.replace("~", "~0").replace("/", "~1").replace(":", "~7")


def show(tokens: Sequence[Token]) -> str:
    """The path as text; `?` is written at the first optional token only, as it holds for all after it."""
    parts = [""]
    optional = False
    for token in tokens:
        mark = ""
        if isinstance(token, (Key, Match)) and token.optional and not optional:
            optional, mark = True, "?"
        if isinstance(token, Key):
            parts.append(_encode(token.name) + mark)
        elif isinstance(token, Match):
            parts.append(f"{_encode(token.key)}={_encode(token.value)}{mark}" + "".join(f":{word}" for word in token.modifiers))
        elif isinstance(token, Index):
            parts.append(f"{token.number}" + "".join(f":{word}" for word in token.modifiers))
        else:
            parts.append("-")
    return "/".join(parts)


def type_name(value: Any) -> str:
    """The reference's word for a value's type, known from its errors."""
    names: dict[type, str] = {
        type(None): "<nil>", dict: "map[interface {}]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int",
        float: "float64",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)


def found_keys(node: Mapping[Any, Any]) -> str:
    """`found map keys: 'a', 'b'`, sorted."""
    names = sorted(str(key) for key in node)
    return "found map keys: " + ", ".join(f"'{name}'" for name in names) if names else "found no other map keys"


def mismatch(wanted: str, tokens: Sequence[Token], at: int, node: Any) -> Unexpected:
    """The error for a container of the wrong type."""
    return Unexpected(f"Expected to find {wanted} at path '{show(tokens[: at + 1])}' but found '{type_name(node)}'")


def matching(node: Sequence[Any], token: Match, tokens: Sequence[Token], at: int) -> int | None:
    """The index of the one map whose key has that text; None when there is none and the token is optional."""
    found = [index for index, item in enumerate(node) if isinstance(item, dict) and item.get(token.key) == token.value]
    if not found and token.optional:
        return None
    if len(found) != 1:
        words = [str(item[token.key]) for item in node if isinstance(item, dict) and token.key in item]
        text = f"Expected to find exactly one matching array item for path '{show(tokens[: at + 1])}' but found {len(found)}"
        if found:
            raise Unexpected(text)
        raise Missing(text, at, did_you_mean(token.value, words))
    return found[0]


def position(node: Sequence[Any], number: int, modifiers: Sequence[str], tokens: Sequence[Token], at: int) -> int:
    """The index, not negative, of an element that is there. Raises PathError."""
    for modifier in modifiers:
        if modifier not in ("prev", "next"):
            raise Unexpected(f"Expected to find one of the following modifiers: 'prev', 'next', but found modifier '{modifier}'")
        number += 1 if modifier == "next" else -1
    if not -len(node) <= number < len(node):
        text = f"Expected to find array index '{number}' but found array of length '{len(node)}' for path '{show(tokens[: at + 1])}'"
        raise Missing(text, at)
    return number if number >= 0 else len(node) + number


def insertion(node: Sequence[Any], number: int, modifiers: Sequence[str], tokens: Sequence[Token], at: int) -> tuple[int, int]:
    """The slice that a new value takes: one element, or an empty slice before or after it. Raises PathError."""
    for index, modifier in enumerate(modifiers[:-1]):
        if modifier in ("before", "after"):
            raise Unexpected(f"Expected to not find any modifiers after '{modifier}' modifier, but found modifier '{modifiers[index + 1]}'")
    side = modifiers[-1] if modifiers and modifiers[-1] in ("before", "after") else ""
    index = position(node, number, modifiers[:-1] if side else modifiers, tokens, at)
    if side == "before":
        return index, index
    return (index + 1, index + 1) if side == "after" else (index, index + 1)
