"""The rules, one function each, in one table. A rule is a pure function of a release and what its templates use.

Sources: release contract, sections 2, 3, 14, 16, 17 and 19.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from director.diagnostics import Diagnostic, Where
from director.render.lint import jobs, links, packages, properties, scripts
from director.render.lint.folder import Release
from director.render.lint.uses import Checked

Check = Callable[[Release, Sequence[Checked]], Iterator[Diagnostic]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """`name` is what people switch on; `about` is one line of the manual."""

    name: str
    check: Check
    about: str


@dataclasses.dataclass(frozen=True)
class Finding:
    rule: str
    diagnostic: Diagnostic

    @property
    def severity(self) -> str:
        return self.diagnostic.severity

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape: that of a diagnostic, and the rule's name."""
        return {"rule": self.rule, **self.diagnostic.to_dict()}


def _unreadable(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    yield from release.unreadable


RULES: tuple[Rule, ...] = (
    Rule("yaml", _unreadable, "YAML that cannot be read, or a key given twice"),
    Rule("name", jobs.names, "names that differ from their folder, or have characters that BOSH refuses; no name in config/final.yml"),
    Rule("shape", jobs.shapes, "a job's keys that have the wrong type, or that nobody reads"),
    Rule("monit", jobs.monit, "a job without monit file, a monit process outside of group vcap, or one whose program no template becomes"),
    Rule("template-missing", jobs.templates_missing, "templates in the spec that do not exist"),
    Rule("template-unlisted", jobs.templates_unlisted, "files below templates/ that the spec does not list"),
    Rule("template-destination", jobs.destinations, "destinations that lead out of the job, or are given twice"),
    Rule("template-syntax", jobs.syntax, "templates that cannot be parsed, and schemas that are no JSON"),
    Rule("property-undeclared", properties.undeclared, "properties used but not declared"),
    Rule("property-unused", properties.unused, "properties declared but not used"),
    Rule("link-shape", links.shapes, "links without name or type, given twice, or sharing properties that are not declared"),
    Rule("link-undeclared", links.undeclared, "links used but not consumed"),
    Rule("link-unused", links.unused, "links consumed but not used"),
    Rule("link-optional", links.optional, "optional links that a template takes for granted"),
    Rule("package-missing", packages.missing, "packages that a job or a package names and that do not exist, or that lack their packaging"),
    Rule("package-unused", packages.unused, "packages that no job needs"),
    Rule("package-cycle", packages.cycles, "packages that need each other in a circle"),
    Rule("script-mode", scripts.modes, "scripts that will not be executable, since they do not go below bin/"),
    Rule("script-shebang", scripts.shebangs, "scripts below bin/ that do not begin with #!"),
    Rule("script-place", scripts.places, "scripts like pre-start and drain where BOSH does not look for them"),
)


def findings(release: Release, checked: Sequence[Checked]) -> tuple[Finding, ...]:
    """What all rules find, by file and line."""
    found = [Finding(rule.name, item) for rule in RULES for item in rule.check(release, checked)]

    def place(finding: Finding) -> tuple[str, int, str]:
        where = finding.diagnostic.where or Where()
        return where.file, where.line or 0, finding.diagnostic.summary

    return tuple(sorted(dict.fromkeys(found), key=place))
