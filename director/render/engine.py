"""What an engine answers for one template: its text, or what went wrong and where."""

from __future__ import annotations

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Failure:
    """`line` is 1-based, None where the engine does not know. `message` is the engine's own."""

    message: str
    line: int | None = None

    @property
    def place(self) -> int | None:
        """The line to lead people to. Ruby's syntax errors have it in their text only (`JOB/FILE:LINE: ...`); `line` is as the reference
        tells it."""
        found = None if self.line else re.match(r"[^\n]*?:(\d+): ", self.message)
        return int(found[1]) if found else self.line


@dataclasses.dataclass(frozen=True)
class Source:
    """A template's name for people (`JOB/FILE`) and its text."""

    file: str
    text: str


Outcome = str | Failure


def engine_of(source: str, text: str, *, jinja_around: bool) -> str:
    """`jinja`, `erb`, or `text` for what no engine need see.

    Monit files carry no engine in their name: they are Jinja2 where they look like it and the job has Jinja2 templates (`jinja_around`).
    """
    if source.endswith(".j2"):
        return "jinja"
    if "<%" in text:
        return "erb"
    return "jinja" if source.endswith("monit") and jinja_around and any(mark in text for mark in ("{{", "{%")) else "text"
