"""Rules on properties. Source: release contract, section 16: what is not declared never reaches a template."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence

from director.diagnostics import Diagnostic, Where, did_you_mean
from director.render.lint.folder import Job, Release
from director.render.lint.uses import UNKNOWN, Checked, Use

_PLAIN = frozenset(("to_h", "methods", "respond_to?", "each_pair", "dig", "send", "to_s", "inspect", "nil?"))


def undeclared(release: Release, checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for item in checked:
        declared = item.job.properties()
        for use in item.uses:
            if use.receiver or use.kind not in ("p", "if_p", "properties"):
                continue
            unknown = [name for name in use.names if UNKNOWN not in name and not _known(name, declared, use.kind)]
            # Of several names the first one that is set counts; old names next to new ones are how properties are renamed.
            if not unknown or (use.kind == "p" and len(unknown) < len(use.names)):
                continue
            for name in unknown:
                fatal = use.kind == "p" and not use.default
                yield Diagnostic(
                    f"Property '{name}' is used but not declared in the spec of job '{item.job.name}'" + _outcome(use),
                    where=Where(item.label, use.line), severity="error" if fatal else "warning",
                    suggestion=did_you_mean(name, declared) or f"Declare it below 'properties' in {item.job.spec.file}.",
                )


def _outcome(use: Use) -> str:
    if use.kind == "p":
        return ", so its default is used always" if use.default else ", so the template always fails"
    return ", so it is never set"


def _known(name: str, declared: Iterable[str], kind: str) -> bool:
    if kind == "properties":
        first = name.split(".")[0]
        return first in _PLAIN or any(item.split(".")[0] == first for item in declared)
    return any(_related(name, item) for item in declared)


def _related(name: str, declared: str) -> bool:
    """A name gives what is declared, all below it, or something inside of it."""
    return name == declared or declared.startswith(f"{name}.") or name.startswith(f"{declared}.")


def unused(release: Release, checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        items = [item for item in checked if item.job is job]
        if not job.whole or any(item.failure or item.unchecked for item in items):
            continue  # what cannot be read may use anything
        uses = [use for item in items for use in item.uses if use.kind in ("p", "if_p", "properties")]
        if any(use.kind == "properties" and not use.names for use in uses):
            continue
        words = {word for item in items for word in item.words} | set(_provided(job))
        names = [name for use in uses for name in use.names]
        for declared in job.properties():
            if declared not in words and not any(_reached(name, declared) for name in names):
                yield Diagnostic(
                    f"Property '{declared}' of job '{job.name}' is declared but not used", severity="warning",
                    where=job.spec.where(("properties", declared)), suggestion="Remove it, or use it in a template or a provided link.",
                )


def _reached(name: str, declared: str) -> bool:
    if UNKNOWN in name:
        return name.strip(UNKNOWN) != "" and (fnmatch.fnmatchcase(declared, name) or fnmatch.fnmatchcase(declared, f"{name}.*"))
    return _related(name, declared)


def _provided(job: Job) -> Iterator[str]:
    for _index, link in job.links("provides"):
        shared = link.get("properties")
        yield from map(str, shared if isinstance(shared, list) else ())
