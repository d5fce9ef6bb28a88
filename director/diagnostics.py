"""What users are told when something is wrong: summary, detail, where, and what to do next.

A layer collects `Diagnostic`s in a `Diagnostics` and raises once, with all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator


@dataclasses.dataclass(frozen=True)
class Where:
    """A place: a file with a line (1-based), a path inside a document (`instance_groups/web/jobs/0`), or a thing's name."""

    file: str = ""
    line: int | None = None
    path: str = ""

    def __str__(self) -> str:
        spot = f"{self.file}:{self.line}" if self.file and self.line else self.file or (f"line {self.line}" if self.line else "")
        return " ".join(part for part in (spot, self.path) if part)


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong. `summary` is one sentence; `code` is the reference's numeric error code, where it has one."""

    summary: str
    detail: str = ""
    where: Where | None = None
    suggestion: str = ""
    code: int | None = None
    severity: str = "error"

    @property
    def sentence(self) -> str:
        """Summary with its place, on one line where the summary is one line."""
        return f"{self.summary} ({self.where})" if self.where and str(self.where) else self.summary

    def to_dict(self) -> dict[str, object]:
        """The JSON shape shown with `--json` and sent by the API."""
        shape: dict[str, object] = {"severity": self.severity, "summary": self.summary}
        if self.detail:
            shape["detail"] = self.detail
        if self.where:
            shape["where"] = {k: v for k, v in dataclasses.asdict(self.where).items() if v}
        if self.suggestion:
            shape["suggestion"] = self.suggestion
        if self.code is not None:
            shape["code"] = self.code
        return shape


class Diagnostics:
    """A growing collection; `add` never raises, so that all errors are told at once."""

    def __init__(self) -> None:
        self._items: list[Diagnostic] = []

    def add(self, summary: str, *, detail: str = "", where: Where | None = None, suggestion: str = "", code: int | None = None) -> None:
        self._items.append(Diagnostic(summary, detail, where, suggestion, code))

    def warn(self, summary: str, *, detail: str = "", where: Where | None = None, suggestion: str = "") -> None:
        self._items.append(Diagnostic(summary, detail, where, suggestion, severity="warning"))

    def extend(self, items: Iterable[Diagnostic]) -> None:
        self._items.extend(items)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self._items if item.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self._items if item.severity == "warning")

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def folded(diagnostics: Iterable[Diagnostic], most: int = 3) -> tuple[Diagnostic, ...]:
    """Of those that differ in their summary alone (sixty instances without an address) the first `most`, and how many more there are."""
    groups: dict[tuple[object, ...], list[Diagnostic]] = {}
    for item in diagnostics:
        alike = (item.detail, item.where, item.suggestion, item.code, item.severity)
        groups.setdefault(alike if item.where and item.suggestion else (*alike, item.summary), []).append(item)
    result: list[Diagnostic] = []
    for items in groups.values():
        result += items if len(items) <= most + 1 else items[:most]
        if len(items) > most + 1:
            result.append(dataclasses.replace(items[0], summary=f"... and {len(items) - most} more like these"))
    return tuple(result)


def in_file(diagnostics: Iterable[Diagnostic], file: str) -> tuple[Diagnostic, ...]:
    """Lines without a file are lines of this one."""
    return tuple(
        dataclasses.replace(item, where=dataclasses.replace(item.where, file=file))
        if item.where is not None and item.where.line and not item.where.file else item for item in diagnostics
    )


def render(diagnostics: Iterable[Diagnostic]) -> str:
    """Plain text for people; a paragraph each."""
    paragraphs = []
    for item in diagnostics:
        lines = [item.sentence]
        if item.detail:
            lines.extend(f"  {line}" for line in item.detail.splitlines())
        if item.suggestion:
            lines.append(f"  -> {item.suggestion}")
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that looks most like `word`, or None when none is near."""
    import difflib  # only where something is wrong: commands start faster without

    found = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A suggestion sentence, or the empty string."""
    found = nearest(word, candidates)
    return f"Did you mean '{found}'?" if found else ""
