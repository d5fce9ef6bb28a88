"""Rules on links. Source: release contract, sections 2 and 19."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from director.diagnostics import Diagnostic, Where, did_you_mean
from director.render.lint.folder import Job, Release
from director.render.lint.uses import UNKNOWN, Checked

BAD_LINKS, DUPLICATE_LINK = 80013, 80014


def shapes(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        for kind in ("provides", "consumes"):
            listed = job.tree.get(kind)
            for index, item in enumerate(listed if isinstance(listed, list) else ()):
                yield from _shape(job, kind, index, item)
            yield from _twice(job, kind)


def _shape(job: Job, kind: str, index: int, item: object) -> Iterator[Diagnostic]:
    where = job.spec.where((kind, index))
    if not isinstance(item, dict):
        yield Diagnostic(f"{kind.capitalize()} section in the release spec must be a list of hashes", where=where, code=BAD_LINKS)
        return
    for key in ("name", "type"):
        value = item.get(key)
        if not isinstance(value, str) or not value:
            yield Diagnostic(
                f"Link '{item.get('name', index)}' in '{kind}' of job '{job.name}' has no {key}", where=where, code=BAD_LINKS,
                suggestion="Each link has a name and a type; links of equal type find each other.",
            )
    if kind == "provides" and "optional" in item:
        summary = f"Link '{item.get('name')}' of type '{item.get('type')}' is a provides link, not allowed to have 'optional' key"
        yield Diagnostic(summary, where=where, code=BAD_LINKS)
    shared = item.get("properties") if kind == "provides" else None
    declared = job.properties()
    for number, name in enumerate(shared if isinstance(shared, list) else ()):
        if str(name) not in declared:
            yield Diagnostic(
                f"Link property {name} in template {job.name} is not defined in release spec",
                where=job.spec.where((kind, index, "properties", number)), suggestion=did_you_mean(str(name), declared),
            )


def _twice(job: Job, kind: str) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for index, item in job.links(kind):
        if item["name"] in seen:
            summary = f"Job '{job.name}' specifies duplicate {kind} link with name '{item['name']}'"
            yield Diagnostic(summary, where=job.spec.where((kind, index)), code=DUPLICATE_LINK)
        seen.add(item["name"])


def undeclared(release: Release, checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for item in checked:
        consumed = [str(link["name"]) for _index, link in item.job.links("consumes")]
        for use in item.uses:
            for name in use.names if use.kind in ("link", "if_link") else ():
                if UNKNOWN not in name and name not in consumed:
                    fatal = use.kind == "link"
                    yield Diagnostic(
                        f"Link '{name}' is used but not consumed by job '{item.job.name}'"
                        + (", so the template always fails" if fatal else ", so it is never there"),
                        where=Where(item.label, use.line), severity="error" if fatal else "warning",
                        suggestion=did_you_mean(name, consumed) or f"Add it to 'consumes' in {item.job.spec.file}.",
                    )


def unused(release: Release, checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        items = [item for item in checked if item.job is job]
        if not job.whole or any(item.failure or item.unchecked for item in items):
            continue
        words = {word for item in items for word in item.words}
        for index, link in job.links("consumes"):
            # Names that are put together, and `spec.links`, are words of a template too.
            if link["name"] not in words:
                yield Diagnostic(
                    f"Link '{link['name']}' of job '{job.name}' is consumed but not used", where=job.spec.where(("consumes", index)),
                    suggestion="Remove it, or use it in a template.", severity="warning",
                )


def optional(release: Release, checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for item in checked:
        names = {str(link["name"]) for _index, link in item.job.links("consumes") if link.get("optional") is True}
        asked = {name for use in item.uses if use.kind == "if_link" for name in use.names}
        for use in item.uses:
            for name in use.names if use.kind == "link" else ():
                if name in names - asked:
                    yield Diagnostic(
                        f"Link '{name}' is optional, but this template fails without it", where=Where(item.label, use.line),
                        suggestion=f"Ask with if_link('{name}') (Jinja2: has_link), or make the link required.", severity="warning",
                    )
