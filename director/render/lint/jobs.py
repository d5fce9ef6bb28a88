"""Rules on a job's folder: names, keys, monit files, templates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from director.diagnostics import Diagnostic, Where, did_you_mean
from director.render.lint.folder import Job, Package, Release
from director.render.lint.uses import Checked

KEYS = {
    "name": str, "description": str, "templates": dict, "packages": list, "properties": dict, "consumes": list, "provides": list,
    "logs": dict,
}  # fmt: skip
DETAILS = ("description", "default", "example", "type", "env", "env_fields", "deprecated", "sensitive")
_NAME = re.compile(r"[-0-9A-Za-z_+.]+\Z")
_PROCESS = re.compile(r"^\s*check\s+(?:process|program)\s+(\S+)", re.MULTILINE | re.IGNORECASE)
_PROGRAM = re.compile(r"/var/vcap/jobs/([^/\s\"<]+)/(bin/[-\w./]+)")
_GROUP = re.compile(r"^\s*group\s+vcap\b", re.MULTILINE | re.IGNORECASE)


def names(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    final = release.config.tree if isinstance(release.config.tree, dict) else {}
    if not final.get("name") and not final.get("final_name"):
        where = Where(release.config.file)
        yield Diagnostic("Expected non-empty 'name' in config 'config/final.yml'", where=where, suggestion="Write 'name: RELEASE' into it.")
    if final.get("name") and final.get("final_name"):
        yield Diagnostic("Both 'name' and 'final_name' are set", where=release.config.where(("final_name",)), suggestion="Keep 'name'.")
    items: tuple[Job | Package, ...] = (*release.jobs, *release.packages)
    for item in items:
        kind = "Job" if isinstance(item, Job) else "Package"
        if item.spec.tree is None:
            yield Diagnostic(f"{kind} '{item.name}' has no spec", where=Where(item.spec.file))
            continue
        name = item.tree.get("name")
        if name != item.name and item.tree:
            summary = f"{kind} directory '{item.name}' does not match {kind.lower()} name '{name}' in spec"
            yield Diagnostic(summary, where=item.spec.where(("name",)), suggestion=f"Write name: {item.name}, or rename the folder.")
        if not _NAME.match(item.name):
            summary = f"{kind} name '{item.name}' has characters that are not allowed"
            yield Diagnostic(summary, where=Where(item.spec.file), suggestion="Use letters, digits, '-', '_', '+' and '.' only.")


def shapes(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        for key, value in job.tree.items():
            where = job.spec.where((key,))
            if key not in KEYS:
                hint = did_you_mean(str(key), KEYS) or f"Known keys: {', '.join(KEYS)}."
                yield Diagnostic(f"Unknown key '{key}' in the spec of job '{job.name}'", where=where, suggestion=hint, severity="warning")
            elif value is not None and not isinstance(value, KEYS[key]):
                wanted = {dict: "a map", list: "a list", str: "a text"}[KEYS[key]]
                yield Diagnostic(f"'{key}' of job '{job.name}' should be {wanted}", where=where)
        details = job.tree.get("properties")
        for name, definition in (details if isinstance(details, dict) else {}).items():
            if definition is not None and not isinstance(definition, dict):
                summary = f"Property '{name}' of job '{job.name}' should be a map with description and default"
                yield Diagnostic(summary, where=job.spec.where(("properties", name)))
            for key in definition if isinstance(definition, dict) else ():
                if hint := "" if key in DETAILS else did_you_mean(str(key), ("default", "description", "example")):
                    where = job.spec.where(("properties", name, key))
                    yield Diagnostic(f"Property '{name}' has an unknown key '{key}'", where=where, suggestion=hint, severity="warning")


def monit(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        if not job.monits:
            yield Diagnostic(
                f"Job '{job.name}' is missing monit file", where=Where(job.label), code=80004,
                suggestion="An empty file will do for a job without processes.",
            )
        for file in job.monits.values():
            text = file.text or ""
            starts = list(_PROCESS.finditer(text))
            for match, following in zip(starts, [*starts[1:], None], strict=False):
                body = text[match.start() : following.start() if following else len(text)]
                if not _GROUP.search(body):
                    where = Where(file.label, text.count("\n", 0, match.start(1)) + 1)
                    summary = f"Process '{match[1]}' is not in group vcap, so nobody starts it or looks at it"
                    yield Diagnostic(summary, where=where, suggestion="Add the line: group vcap", severity="warning")
            yield from _programs(job, file.label, text)


def _programs(job: Job, label: str, text: str) -> Iterator[Diagnostic]:
    """Programs of this job that monit would start and no template becomes."""
    there = [destination for _source, destination in job.listed()]
    for match in _PROGRAM.finditer(text):
        if match[1] == job.name and match[2] not in there:
            yield Diagnostic(
                f"Monit names '{match[2]}' of job '{job.name}', which no template becomes",
                where=Where(label, text.count("\n", 0, match.start()) + 1), suggestion=did_you_mean(match[2], there),
            )


def templates_missing(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        for source, _destination in job.listed():
            if source not in job.templates:
                yield Diagnostic(
                    f"Missing template file '{source}' for job '{job.name}'", where=job.spec.where(("templates", source)), code=80002,
                    suggestion=did_you_mean(source, job.templates),
                )


def templates_unlisted(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        listed = {source for source, _destination in job.listed()}
        for source, file in job.templates.items():
            if source not in listed:
                yield Diagnostic(
                    f"Template '{source}' is not listed in the spec of job '{job.name}'", where=Where(file.label),
                    suggestion=did_you_mean(source, listed) or "List it below 'templates', or delete it.", severity="warning",
                )


def destinations(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for job in release.jobs:
        taken: dict[str, str] = {}
        for source, destination in job.listed():
            where = job.spec.where(("templates", source))
            for kind, name in (("source", source), ("destination", destination)):
                if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
                    yield Diagnostic(f"Template {kind} '{name}' of job '{job.name}' leads out of the job", where=where)
            if destination in taken:
                yield Diagnostic(f"Templates '{taken[destination]}' and '{source}' have the same destination '{destination}'", where=where)
            taken[destination] = source


def syntax(release: Release, checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for item in checked:
        if item.failure is not None:
            yield Diagnostic(f"The template cannot be parsed: {item.failure.message}", where=Where(item.label, item.failure.line))
    unchecked = [item for item in checked if item.unchecked and item.failure is None]
    if unchecked:
        yield Diagnostic(
            f"{len(unchecked)} ERB templates were not looked into, since there is no Ruby here", where=Where(release.label),
            suggestion="Install it: apt-get install ruby", severity="warning",
        )
    for job in release.jobs:
        if job.schema is None:
            continue
        try:
            schema = json.loads(job.schema.text or "")
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            yield Diagnostic("properties_schema.json is not valid JSON", str(error), where=Where(job.schema.label, line))
            continue
        if not isinstance(schema, dict) or not schema.get("$schema"):
            where = Where(job.schema.label, 1)
            yield Diagnostic("You must declare your $schema draft version", where=where,
                             suggestion='Write "$schema": "https://json-schema.org/draft/2020-12/schema"')
