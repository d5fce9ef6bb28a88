"""Version texts and their order. Source: release contract, section 5.

`RELEASE[-PRE][+POST]`; each part is a list of components, integers before words.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from typing import Any

from director import errors

INVALID = 30010

_FORM = re.compile(r"([0-9A-Za-z_.]+)(?:-([0-9A-Za-z_.-]+))?(?:\+([0-9A-Za-z_.-]+))?")
_OLD_DEV = re.compile(r"(.*)\.([0-9]+)-dev")

Component = int | str


@functools.total_ordering
@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """A parsed version. Two versions may be equal in order and different in text: `1` and `1.0`."""

    release: tuple[Component, ...]
    pre: tuple[Component, ...] | None = None
    post: tuple[Component, ...] | None = None

    def __str__(self) -> str:
        text = _text(self.release)
        if self.pre is not None:
            text += "-" + _text(self.pre)
        if self.post is not None:
            text += "+" + _text(self.post)
        return text

    @property
    def key(self) -> tuple[Any, ...]:
        """Sorts as versions do."""
        pre = (1, ()) if self.pre is None else (0, _key(self.pre))
        post = (0, ()) if self.post is None else (1, _key(self.post))
        return (_key(self.release), pre, post)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: Version) -> bool:
        return bool(self.key < other.key)


def parse(text: str) -> Version:
    """A release version. Raises ReleaseError 30010."""
    old = _OLD_DEV.fullmatch(text)
    form = _FORM.fullmatch(f"{old[1]}+dev.{old[2]}" if old else text)
    if form is None:
        raise _invalid(text)
    parts = [None if part is None else _components(part, text) for part in form.groups()]
    return Version(parts[0] or (), parts[1], parts[2])


def parse_stemcell(text: str) -> Version:
    """A stemcell version, where `_` stands for a dot."""
    return parse(text.replace("_", "."))


def compare(left: str, right: str) -> int:
    """-1, 0 or 1."""
    a, b = parse(left), parse(right)
    return (a > b) - (a < b)


def sort(texts: Iterable[str]) -> list[str]:
    """Lowest first; equal ones keep their order."""
    return sorted(texts, key=lambda text: parse(text).key)


def latest_of(prefix: str, texts: Iterable[str], *, stemcell: bool = False) -> str | None:
    """The greatest version text that `prefix` asks for: `latest`, `PREFIX.latest`, or with a bare prefix the same as `PREFIX.latest`.

    An empty prefix means all. `3.latest` finds `3` and `3.4`, not `30`. None when nothing fits.
    """
    read = parse_stemcell if stemcell else parse
    wanted = "" if prefix == "latest" else prefix.removesuffix(".latest")
    candidates = [text for text in texts if not wanted or text == wanted or text.startswith((f"{wanted}.", f"{wanted}-", f"{wanted}+"))]
    return max(candidates, key=lambda text: read(text).key, default=None)


def same_line(left: str, right: str) -> bool:
    """Whether two stemcell versions match: their first components are equal."""
    return parse_stemcell(left).release[:1] == parse_stemcell(right).release[:1]


def next_dev(existing: Iterable[str]) -> str:
    """The version of the next dev release: the greatest of all dev and final versions with its `+dev.N` counted up."""
    last = latest_of("", existing)
    if last is None:
        return "0+dev.1"
    version = parse(last)
    if version.post is None:
        return f"{last}+dev.1"
    base = last.split("+", 1)[0] if "+" in last else str(dataclasses.replace(version, post=None))
    return f"{base}+{_text(_incremented(version.post, last))}"


def timestamped(existing: Iterable[str], seconds: int) -> str:
    """The next dev version with `dev.SECONDS` after the plus sign."""
    return f"{next_dev(existing).split('+', 1)[0]}+dev.{seconds}"


def next_final(existing: Iterable[str]) -> str:
    """`1`, or the greatest final version with its last component counted up: `1.2` -> `1.3`."""
    last = latest_of("", existing)
    if last is None:
        return "1"
    written = re.split(r"[-+]", last, maxsplit=1)[0].rsplit(".", 1)[-1]
    if written.isdecimal() and str(int(written)) != written:
        raise errors.ReleaseError(
            f"Expected version segment '{last}' to have last component '{written}' to be an integer", code=INVALID,
            suggestion="Name the version with --version.")
    return _text(_incremented(parse(last).release, last))


def rebased(text: str, stored: Iterable[str]) -> str:
    """The version that an upload of `text` with rebase gets. Raises ReleaseError for a version without a `+` part."""
    version = parse(text)
    if version.post is None:
        raise errors.ReleaseError(
            f"Failed to Rebase - Invalid Version: {text}", suggestion="Only dev versions (with a + part) can be rebased."
        )
    plain = dataclasses.replace(version, post=None)
    base = str(plain)
    peers = [other for other in stored if dataclasses.replace(parse(other), post=None) == plain]
    last = latest_of("", peers)
    if last is None:
        return f"{base}+dev.1"
    found = parse(last)
    base = str(dataclasses.replace(found, post=None))
    return f"{base}+dev.1" if found.post is None else f"{base}+{_text(_incremented(found.post, last))}"


def _components(part: str, whole: str) -> tuple[Component, ...]:
    pieces = part.rstrip(".").split(".")
    if not all(pieces):
        raise _invalid(whole)
    return tuple(int(piece) if piece.isdecimal() else piece for piece in pieces)


def _key(components: tuple[Component, ...]) -> tuple[tuple[int, Component], ...]:
    """Trailing zeros do not count; words come after integers. What is longer is then greater by itself."""
    end = len(components)
    while end and components[end - 1] == 0:
        end -= 1
    return tuple((0, item) if isinstance(item, int) else (1, item) for item in components[:end])


def _text(components: tuple[Component, ...]) -> str:
    return ".".join(str(item) for item in components)


def _incremented(components: tuple[Component, ...], whole: str) -> tuple[Component, ...]:
    last = components[-1]
    if not isinstance(last, int):
        raise errors.ReleaseError(f"Cannot count up version '{whole}': '{last}' is not an integer", code=INVALID)
    return (*components[:-1], last + 1)


def _invalid(text: str) -> errors.ReleaseError:
    return errors.ReleaseError(
        f"Release version invalid: {text}", code=INVALID, suggestion="A version looks like 1.2, 1.2-rc.1 or 1.2+dev.3."
    )
