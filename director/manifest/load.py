"""YAML text -> plain Python data, read as Go's YAML 1.1 reads it, with the line of every path kept beside it.

Differences from PyYAML's own loaders, all of which a user would notice: `y` and `n` are booleans, `010` and `0o10` are 8, `12:30` and
`2020-01-01` stay text, `1e3` and `1.0` are whole numbers, an anchor may be given
twice. Stricter than the reference: a key twice in one map is an error.
Source: manifest contract, sections 1.4 and 20.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import re
from typing import Any

import yaml

from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError

MAX_DEPTH = 200
"""Levels of nesting, aliases followed. Deeper documents are refused, so that every later walk may be recursive."""

LONGEST_INTEGER = 80
"""Characters. Longer ones do not fit into 64 bits, and Python refuses to read very long ones."""

SHORT = 1e6
"""From here on the reference's command line writes whole numbers with an exponent, and they stay floats."""

Path = tuple[str | int, ...]
Mark = tuple[int, Any]
"""(line, children): children is a dict of key -> Mark, a list of Marks, or None for a scalar. Lines are 1-based."""

_BOOLEANS = dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True) | dict.fromkeys(
    ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False
)
_CONSTANTS: dict[str, Any] = {
    **_BOOLEANS,
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_NUMERIC_START = frozenset("+-.0123456789")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_STR, _BINARY, _FLOAT_TAG, _INT, _BOOL, _NULL, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "binary", "float", "int", "bool", "null", "merge")
)


@dataclasses.dataclass(frozen=True)
class Document:
    """A parsed document. `tree` is plain data (aliases share their containers: never change it in place); None when the text is empty."""

    tree: Any
    file: str = ""
    marks: Mark | None = dataclasses.field(default=None, repr=False, compare=False)
    text: str = dataclasses.field(default="", repr=False, compare=False)

    def line(self, path: Path) -> int | None:
        """The line of the path's last element: of its key in a map, of its first character in a list.

        For a path that is not in the text, the line of the nearest element above it; None for a document made without text.
        """
        mark = self.marks
        if mark is None:
            return None
        for step in path:
            children = mark[1]
            found = _child(children, step)
            if found is None:
                break
            mark = found
        return mark[0]

    def where(self, path: Path) -> Where:
        """The place of a path for a diagnostic; list items that have a name are shown by it (`instance_groups/web/jobs/0`)."""
        return Where(self.file, self.line(path), show_path(self.tree, path))

    def replaced(self, tree: Any) -> Document:
        """The same places with another tree, made from this one's (by interpolation)."""
        return dataclasses.replace(self, tree=tree)


def _child(children: Any, step: str | int) -> Mark | None:
    if isinstance(children, dict):
        mark: Mark | None = children.get(step)
        return mark
    if isinstance(children, list) and isinstance(step, int) and -len(children) <= step < len(children):
        item: Mark = children[step]
        return item
    return None


def show_path(tree: Any, path: Path) -> str:
    """`instance_groups/web/jobs/nginx/properties/port`: list items appear by their name where they have one, else by their index."""
    parts = []
    node = tree
    for step in path:
        shown = str(step)
        if isinstance(node, list) and isinstance(step, int) and -len(node) <= step < len(node):
            node = node[step]
            if isinstance(node, dict):
                name = node.get("name", node.get("alias"))
                shown = str(name) if isinstance(name, (str, int)) and not isinstance(name, bool) and name != "" else shown
        else:
            node = node.get(step) if isinstance(node, dict) else None
        parts.append(shown)
    return "/".join(parts)


def load_yaml(text: str, file: str) -> Document:
    """Read the first document of `text`.

    Raises ManifestError with file and line: no YAML, a key twice, a map or list as a key, an alias without anchor or inside itself,
    aliases that multiply beyond measure, nesting deeper than `MAX_DEPTH`.
    """
    builder = _Builder(file)
    try:
        events = _event_source(text)
        tree, marks = builder.build(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line + 1, len(text.splitlines()) or 1) if mark else None  # the end of the text counts as its last line
        raise builder.error(error.problem or error.context or "the text is not YAML", line, syntax=True) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise builder.error("the text holds a character that YAML does not allow", line, syntax=True) from error
    except UnicodeEncodeError as error:
        raise builder.error("the text holds half of a surrogate pair", text.count("\n", 0, error.start) + 1, syntax=True) from error
    return Document(tree, file, marks, text)


def resolve_scalar(text: str) -> Any:
    """What an unquoted scalar means: None, bool, int, float or str."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMERIC_START:
        return text
    return _number(text)


def is_text(text: str) -> bool:
    """Whether an unquoted scalar would be read back as this very text (dates are text here, yet other readers disagree)."""
    return not text or (text[0] not in _NUMERIC_START and text not in _CONSTANTS) or isinstance(resolve_scalar(text), str)


def _number(text: str) -> Any:
    if text[0] == ".":
        return _float(text) if _FLOAT.match(text) else text
    plain = text.replace("_", "") if "_" in text else text
    match = _INTEGER.match(plain) if len(plain) <= LONGEST_INTEGER else None
    if match:
        sign, hexadecimal, binary, octal, decimal = match.groups()
        value = int(hexadecimal, 16) if hexadecimal else int(binary, 2) if binary else int(octal, 8) if octal else int(decimal)
        value = -value if sign == "-" else value
        if -(2**63) <= value < 2**64:
            return value
    if _FLOAT.match(plain):
        return _float(plain)
    return text


def _float(text: str) -> Any:
    """Whole numbers are integers: the reference's command line sends `1.0` as `1`. More than a float can hold is text."""
    number = float(text)
    if math.isinf(number):
        return text
    return int(number) if number.is_integer() and abs(number) < SHORT else number


class _Parser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """PyYAML's own parser, for a PyYAML built without libyaml."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


def _event_source(text: str) -> Any:
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser  # only there when libyaml is

        return CParser(text)
    return _Parser(text)


class _Frame:
    """A container that is being read. `size` and `height` count aliases as if they were written out."""

    __slots__ = ("anchor", "children", "height", "is_map", "key", "key_line", "line", "merged", "size", "value", "waiting")

    def __init__(self, value: Any, children: Any, line: int, anchor: str | None) -> None:
        self.value = value
        self.children = children
        self.is_map = isinstance(value, dict)
        self.line = line
        self.anchor = anchor
        self.size = 1
        self.height = 0
        self.waiting = True  # for a key, in a map
        self.key: Any = None
        self.merged: set[Any] | None = None  # keys that came by `<<` only
        self.key_line = line


_MERGE_KEY = object()


class _Builder:
    """Turns parser events into a tree and its marks, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, Mark, int, int] | None] = {}
        self.aliased = 0
        self.root: tuple[Any, Mark, int] | None = None

    def error(self, problem: str, line: int | None, *, syntax: bool = False, suggestion: str = "") -> ManifestError:
        if syntax:
            suggestion = suggestion or "Check the indentation and the quotes on this line and the one before it."
        summary = f"Incorrect YAML structure: {problem}" if syntax else problem
        return ManifestError(Diagnostic(summary, where=Where(self.file, line), code=440001, suggestion=suggestion))

    def build(self, source: Any) -> tuple[Any, Mark | None]:
        handlers: dict[type, Any] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
        }
        while True:
            event = source.get_event()
            if event is None or type(event) in (yaml.DocumentEndEvent, yaml.StreamEndEvent):
                break
            handler = handlers.get(type(event))
            if handler:
                handler(event)
        if self.root is None:
            return None, None
        self._check_aliases(self.root[2])
        return self.root[0], self.root[1]

    def _check_aliases(self, size: int) -> None:
        allowed = 0.99 if size <= 400_000 else 0.10 if size >= 4_000_000 else 0.99 - 0.89 * (size - 400_000) / 3_600_000
        if self.aliased > 100 and size > 1000 and self.aliased / size > allowed:
            raise self.error("The document contains excessive aliasing: its aliases, written out, would fill the memory", None)

    def _scalar(self, event: Any) -> None:
        line = event.start_mark.line + 1
        value = event.value
        plain = event.implicit[0]
        tag = event.tag
        frame = self.frames[-1] if self.frames else None
        if frame is not None and frame.is_map and frame.waiting and value == "<<" and (plain or tag == _MERGE):
            frame.key, frame.key_line, frame.waiting = _MERGE_KEY, line, False
            return
        if plain and tag is None:
            value = resolve_scalar(value)
        elif tag is not None and tag != "!":
            value = self._tagged(tag, value, line)
        if event.anchor:
            self.anchors[event.anchor] = (value, (line, None), 1, 0)
        self._put(value, (line, None), 1, 0, line)

    def _tagged(self, tag: str, value: str, line: int) -> Any:
        if tag == _BINARY:
            try:
                return base64.b64decode(value, validate=False).decode("utf-8", "surrogateescape")
            except (binascii.Error, ValueError) as error:
                raise self.error("!!binary value contains invalid base64 data", line) from error
        kinds: dict[str, Any] = {_INT: int, _FLOAT_TAG: (int, float), _BOOL: bool, _NULL: type(None)}
        if tag not in kinds:
            return value
        found = resolve_scalar(value)
        wrong_bool = isinstance(found, bool) and tag != _BOOL
        if wrong_bool or not isinstance(found, kinds[tag]):
            raise self.error(f"Cannot decode `{value[:40]}` as a !!{tag.rpartition(':')[2]}", line)
        return float(found) if tag == _FLOAT_TAG else found

    def _start(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if len(self.frames) >= MAX_DEPTH:
            raise self.error(f"The document is nested deeper than {MAX_DEPTH} levels", line)
        is_map = isinstance(event, yaml.MappingStartEvent)
        if self.frames and self.frames[-1].is_map and self.frames[-1].waiting:
            raise self.error(f"A {'map' if is_map else 'list'} cannot be a key", line, suggestion="Quote it if `{` or `[` begins a text.")
        if event.anchor:
            self.anchors[event.anchor] = None
        self.frames.append(_Frame({}, {}, line, event.anchor) if is_map else _Frame([], [], line, event.anchor))

    def _end(self, _event: Any) -> None:
        frame = self.frames.pop()
        mark = (frame.line, frame.children)
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.value, mark, frame.size, frame.height)
        self._put(frame.value, mark, frame.size, frame.height + 1, frame.line)

    def _alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if event.anchor not in self.anchors:
            raise self.error(
                f"Unknown anchor '{event.anchor}' referenced", line, suggestion=f"Quote the text if it shall begin with '*{event.anchor}'."
            )
        target = self.anchors[event.anchor]
        if target is None:
            raise self.error(f"Anchor '{event.anchor}' value contains itself", line)
        value, mark, size, height = target
        if len(self.frames) + height > MAX_DEPTH:
            raise self.error(f"The document is nested deeper than {MAX_DEPTH} levels", line)
        self.aliased += size
        self._put(value, mark, size, height + 1 if isinstance(value, (dict, list)) else 0, line)

    def _put(self, value: Any, mark: Mark, size: int, height: int, line: int) -> None:
        if not self.frames:
            self.root = (value, mark, size)
            return
        frame = self.frames[-1]
        frame.size += size
        frame.height = max(frame.height, height)
        if not frame.is_map:
            frame.value.append(value)
            frame.children.append(mark)
        elif frame.waiting:
            self._key(frame, value, line)
        else:
            frame.waiting = True
            if frame.key is _MERGE_KEY:
                self._merge(frame, value, mark, line)
            else:
                frame.value[frame.key] = value
                frame.children[frame.key] = (frame.key_line, mark[1])

    def _key(self, frame: _Frame, key: Any, line: int) -> None:
        if isinstance(key, (dict, list)):
            raise self.error("A map or list cannot be a key", line)
        if key in frame.value:
            if frame.merged is None or key not in frame.merged:
                first = frame.children[key][0]
                raise self.error(f"Key '{key}' is given twice in one map, first on line {first}", line, suggestion="Remove one of the two.")
            frame.merged.discard(key)
        frame.key, frame.key_line, frame.waiting = key, line, False

    def _merge(self, frame: _Frame, value: Any, mark: Mark, line: int) -> None:
        """Put a `<<` value's keys into the map, in the order written as the reference does; of a list the first map wins."""
        sources = list(zip(value, mark[1], strict=True)) if isinstance(value, list) else [(value, mark)]
        for source, source_mark in reversed(sources):
            if not isinstance(source, dict):
                raise self.error("Map merge requires map or sequence of maps as the value", line)
            frame.value.update(source)
            frame.children.update(source_mark[1])
            frame.merged = (frame.merged or set()) | source.keys()
