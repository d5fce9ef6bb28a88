"""What a kept plan rests on, and what of it has moved since."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from director.plan.explain import reason_text
from director.plan.outline import WORDS, Entry, Outline

Facts = Mapping[str, Mapping[str, str]]
"""`KIND NAME` -> what it is -> a short text without secrets (a version, an id, a keyed digest)."""

# These move all the time without any meaning for a plan; they are told only when the plan itself became another one.
BESIDE = ("agent", "shared link")
MOST = 20


@dataclasses.dataclass(frozen=True)
class Moved:
    """One fact that is another now; '' for one that was not there, or is no more."""

    what: str
    aspect: str
    before: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.what}: {self.aspect} was {self.before or 'not there'}, is {self.after or 'not there'}"

    @property
    def beside(self) -> bool:
        """Whether it matters only when it changes the plan."""
        return self.what.startswith(tuple(f"{kind} " for kind in BESIDE))


def moved(before: Facts, now: Facts) -> tuple[Moved, ...]:
    """All differences, sorted by what they are about."""
    return tuple(_moved(before, now))


def _moved(before: Facts, now: Facts) -> Iterator[Moved]:
    for what in sorted(before.keys() | now.keys()):
        old, new = before.get(what), now.get(what)
        if old is None or new is None:
            label = _label(new if old is None else old)
            yield Moved(what, "it", "" if old is None else label, "" if new is None else label)
            continue
        for aspect in sorted(old.keys() | new.keys()):
            if old.get(aspect, "") != new.get(aspect, ""):
                yield Moved(what, aspect, old.get(aspect, ""), new.get(aspect, ""))


def _label(facts: Mapping[str, str] | None) -> str:
    return ", ".join(f"{aspect} {text}" for aspect, text in sorted((facts or {}).items()) if text) or "there"


def differing(before: Outline, now: Outline) -> tuple[str, ...]:
    """Instances for which the two plans do something else, in a line each, at most `MOST`."""
    old, new = ({entry.id: entry for entry in side.changed} for side in (before, now))
    lines = [
        f"{(new.get(id) or old[id]).label}: was to {_words(old.get(id))}, would {_words(new.get(id))}"
        for id in dict.fromkeys((*old, *new)) if _words(old.get(id)) != _words(new.get(id))]
    more = [f"... and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return (*lines[:MOST], *more)


def _words(entry: Entry | None) -> str:
    if entry is None:
        return "stay unchanged"
    reasons = "; ".join(reason_text(dataclasses.replace(reason, line=None)) for reason in entry.reasons)
    addresses = ", ".join(item.ip for item in entry.addresses if item.ip)
    return WORDS[entry.action] + (f" with {addresses}" if addresses else "") + (f" ({reasons})" if reasons else "")
