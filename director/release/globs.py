"""The glob patterns of package specs. Source: release contract, sections 1 (corrections) and 3.

`*` and `?` stay within a folder, `**` alone between slashes spans folders, `[^a]` negates (`[!a]` does not), `{a,b}` chooses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from director import errors


def matcher(pattern: str) -> re.Pattern[str]:
    """A compiled expression for whole relative paths. Raises ReleaseError for a pattern that cannot be read."""
    segments = _expression(os.path.normpath(pattern) if pattern else "").split("/")
    parts: list[str] = []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == _DEEP:
            parts.append(".*" if last else "(?:[^/]+/)*")
        else:
            parts.append(segment.replace(_DEEP, "[^/]*") + ("" if last else "/"))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise errors.ReleaseError(f"Pattern '{pattern}' cannot be read: {error}") from error


def files_below(root: Path) -> Iterator[str]:
    """Relative paths of all files and links, sorted; links to folders are named, not entered."""
    if not root.is_dir():
        return
    for folder, folders, names in os.walk(root):
        folders.sort()
        base = os.path.relpath(folder, root)
        prefix = "" if base == "." else base + "/"
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*names, *links]):
            yield prefix + name


def select(paths: Iterable[str], pattern: str) -> list[str]:
    """Those of `paths` that the pattern matches."""
    expression = matcher(pattern)
    return [path for path in paths if expression.fullmatch(path)]


_DEEP = "\0"
_TOKEN = re.compile(r"\*\*+|\*|\?|\[\^?\]?[^\]]*\]|[{},]|\\.|.", re.DOTALL)


def _expression(pattern: str) -> str:
    depth = 0
    out: list[str] = []
    for token in _TOKEN.findall(pattern):
        if token.startswith("**"):
            out.append(_DEEP)
        elif token == "*":
            out.append("[^/]*")
        elif token == "?":
            out.append("[^/]")
        elif token.startswith("[") and len(token) > 1:
            body = token[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("&&", "&\\&").replace("||", "|\\|")
            out.append(f"[{body}]")
        elif token == "{":
            depth += 1
            out.append("(?:")
        elif token == "}" and depth:
            depth -= 1
            out.append(")")
        elif token == "," and depth:
            out.append("|")
        elif token == "/":
            out.append("/")
        else:
            out.append(re.escape(token[1:] if len(token) == 2 and token[0] == "\\" else token))
    return "".join(out)
