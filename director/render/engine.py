"""What an engine answers for one template: its text, or what went wrong and where."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Failure:
    """`line` is 1-based, None where the engine does not know. `message` is the engine's own."""

    message: str
    line: int | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A template's name for people (`JOB/FILE`) and its text."""

    file: str
    text: str


Outcome = str | Failure
