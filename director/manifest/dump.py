"""Plain data -> YAML text, in the style of Go's writer (documents) or of Ruby's (lines of the diff).

Documents are quoted a little more than Go does it, so that readers of YAML 1.1 and 1.2 in any language read the same back.
Source: manifest contract, section 1.4.
"""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from director.manifest.load import is_text
from director.manifest.numbers import number_text

Style = Callable[[str], str | None]
"""The scalar style of a text: None for plain, or one of | " '."""

_TIMESTAMP = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt ]+\d{1,2}:\d{1,2}:\d{1,2}(\.\d*)?\s*(Z|[-+]\d{1,2}(:?\d\d)?)?)?\Z")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_RUBY_OTHER = re.compile(
    r"(?:[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|[-+]?0[_,]?[0-7_,]+|[-+]?0[xX][_,]?[0-9a-fA-F_,]+|[-+]?0b[01_,]+"
    r"|(?:[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][-+][0-9]+)?)|[-+]?[0-9][0-9_,]*[eE][-+]?[0-9]+|~|null|Null|NULL|"
    r"yes|Yes|YES|true|True|TRUE|on|On|ON|no|No|NO|false|False|FALSE|off|Off|OFF|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|:.*)\Z"
)
# Numbers that Go takes for text and others do not: `1,000`, `.1_0`, `1e400`.
_NUMBER_ELSEWHERE = re.compile(r"[-+]?(?:[0-9][0-9_,]*)?(?:\.[0-9_,]*)?(?:[eE][-+]?[0-9]+)?\Z")
_NOT_WORD_FIRST = re.compile(r"[^\w][^\"]*\Z")
_SIMPLE_KEY = re.compile(r"[a-z_-]*\Z")
_UNPAIRED = re.compile("[\ud800-\udfff]")
_BINARY, _STR = "tag:yaml.org,2002:binary", "tag:yaml.org,2002:str"


def dump(tree: Any, *, sort_keys: bool = True) -> str:
    """A document as the reference's command line writes it: keys sorted, two spaces, lists not indented below their key."""
    return _write(tree, _go_style, sort_keys)


def dump_ruby(tree: Any) -> str:
    """A document as the reference's director writes the values of a diff: keys in their order, no `---`."""
    return _write(tree, _ruby_style, False)


def _go_style(text: str) -> str | None:
    if "\n" in text:
        return "|"
    plain = is_text(text) and text not in ("", "=") and not text.startswith(":")
    if plain and text[0] in "+-.0123456789":
        plain = not (_TIMESTAMP.match(text) or _BASE_60.match(text) or _NUMBER_ELSEWHERE.match(text))
    return None if plain else '"'


def _ruby_style(text: str) -> str | None:
    if "\n" in text.removesuffix("\n"):
        return "|"
    if text in ("y", "Y", "n", "N") or _NOT_WORD_FIRST.match(text):
        return '"'
    return "'" if text in ("", "<<") or _RUBY_OTHER.match(text) or _BASE_60.match(text) or _TIMESTAMP.match(text) else None


def _emitter(stream: io.StringIO) -> Any:
    if yaml.__with_libyaml__:
        from yaml._yaml import CEmitter  # only there when libyaml is

        return CEmitter(stream, width=-1, allow_unicode=True)
    return yaml.emitter.Emitter(stream, width=2**31, allow_unicode=True)


def _write(tree: Any, style: Style, sort_keys: bool) -> str:
    stream = io.StringIO()
    emitter = _emitter(stream)
    emitter.emit(yaml.StreamStartEvent())
    emitter.emit(yaml.DocumentStartEvent(explicit=False))
    _emit(emitter.emit, tree, style, sort_keys)
    emitter.emit(yaml.DocumentEndEvent(explicit=False))
    emitter.emit(yaml.StreamEndEvent())
    return stream.getvalue().removesuffix("...\n")


def _emit(emit: Callable[[yaml.Event], None], node: Any, style: Style, sort_keys: bool) -> None:
    if isinstance(node, Mapping):
        emit(yaml.MappingStartEvent(None, None, True, flow_style=not node))
        for key in _sorted(node) if sort_keys else node:
            emit(_scalar(key, style))
            _emit(emit, node[key], style, sort_keys)
        emit(yaml.MappingEndEvent())
    elif isinstance(node, (list, tuple)):
        emit(yaml.SequenceStartEvent(None, None, True, flow_style=not node))
        for item in node:
            _emit(emit, item, style, sort_keys)
        emit(yaml.SequenceEndEvent())
    else:
        emit(_scalar(node, style))


def _scalar(value: Any, style: Style) -> yaml.Event:
    if isinstance(value, str):
        if _UNPAIRED.search(value):  # bytes that are no UTF-8, as `!!binary` is read
            text = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii")
            return yaml.ScalarEvent(None, _BINARY, (False, False), text)
        if value == "<<":  # Ruby merges a key like this even where it is quoted, but not where it is tagged
            return yaml.ScalarEvent(None, _STR, (False, False), value, style='"')
        return yaml.ScalarEvent(None, None, (True, True), value, style=style(value))
    if value is None:
        text = "null" if style is _go_style else ""
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float) and style is _ruby_style:
        text = repr(value)
    else:
        text = number_text(value)
        if isinstance(value, float) and "e" in text and "." not in text:
            text = text.replace("e", ".0e")  # without a point it is text to readers of YAML 1.1 other than Go's
    return yaml.ScalarEvent(None, None, (True, False), text)


def _sorted(node: Mapping[Any, Any]) -> list[Any]:
    """Go's order. Of keys without digits and capitals it is that of their code points, which is found faster."""
    simple = all(isinstance(key, str) and _SIMPLE_KEY.match(key) for key in node)
    return sorted(node) if simple else sorted(node, key=_KEY)


def _compare(left: Any, right: Any) -> int:
    """Go's order of keys: numbers first, texts naturally (`a2` before `a10`), other characters before letters."""
    left_number, right_number = (isinstance(key, (int, float)) for key in (left, right))
    if left_number and right_number:
        return int(left > right) - int(left < right)
    if not (isinstance(left, str) and isinstance(right, str)):
        return (isinstance(left, str) > isinstance(right, str)) - (isinstance(left, str) < isinstance(right, str))
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return -1 if _less(left, right, index) else 1
    return (len(left) > len(right)) - (len(left) < len(right))


def _less(left: str, right: str, index: int) -> bool:
    a, b = left[index], right[index]
    if a.isalpha() and b.isalpha():
        return a < b
    if a.isalpha() or b.isalpha():
        return b.isalpha()
    start = 0
    if "0" in (a, b):
        before = re.search(r"[0-9]*\Z", left[:index])
        start = 1 if before and before[0].strip("0") else 0
    (a_digits, a_number), (b_digits, b_number) = (_number_at(text, index, start) for text in (left, right))
    if a_number != b_number:
        return a_number < b_number
    return a_digits < b_digits if a_digits != b_digits else a < b


def _number_at(text: str, index: int, start: int) -> tuple[int, int]:
    digits = re.match(r"[0-9]{0,1000}", text[index:])
    found = digits[0] if digits else ""
    return len(found), int(f"{start}{found}") if found else start


_KEY = functools.cmp_to_key(_compare)
