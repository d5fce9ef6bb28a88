"""What failed while rendering, in the reference's nested text and as diagnostics. Source: planning contract, section 1."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from director import diagnostics, errors
from director.render.engine import Failure
from director.render.model import RenderJob

_PROPERTY = re.compile(r"Can't find property '(\[.*\])'", re.DOTALL)
_LINK = re.compile(r"Can't find link '(.*)'", re.DOTALL)


class TemplatesFailed(errors.RenderError):
    """Templates cannot be filled in. `message` is the reference's nested text; the diagnostics name each place."""

    def __init__(self, nested: str, *items: diagnostics.Diagnostic) -> None:
        super().__init__(*items)
        self.nested = nested

    @property
    def message(self) -> str:
        return self.nested


@dataclasses.dataclass(frozen=True)
class Problem:
    """One failed template, or with an empty `template` one failed schema with its violations."""

    group: str
    job: RenderJob
    template: str
    failure: Failure
    violations: tuple[str, ...] = ()

    def of_group(self, group: str) -> Problem:
        """The same problem in a group that renders the same job with the same context."""
        return self if group == self.group else dataclasses.replace(self, group=group)

    @property
    def lines(self) -> tuple[str, ...]:
        """The sentence, and what stands below it."""
        if self.violations:
            return (f"Error validating properties for {self.job.name}", *self.violations)
        line = "(unknown)" if self.failure.line is None else str(self.failure.line)
        return (f"Error filling in template '{self.template}' (line {line}: {self.failure.message})",)


def failed(problems: Iterable[Problem]) -> TemplatesFailed:
    """One error of all problems. The same problem on many instances of a group is told once."""
    groups: dict[str, dict[str, dict[tuple[str, ...], Problem]]] = {}
    for problem in problems:
        groups.setdefault(problem.group, {}).setdefault(problem.job.name, {}).setdefault(problem.lines, problem)
    text = ["Unable to render instance groups for deployment. Errors are:"]
    items = []
    for group, jobs in groups.items():
        text.append(f"  - Unable to render jobs for instance group '{group}'. Errors are:")
        for job, found in jobs.items():
            text.append(f"    - Unable to render templates for job '{job}'. Errors are:")
            for lines, problem in found.items():
                text.append(f"      - {lines[0]}")
                text += [f"        - {line}" for line in lines[1:]]
                items.append(_diagnostic(problem))
    return TemplatesFailed("\n".join(text), *items)


def _diagnostic(problem: Problem) -> diagnostics.Diagnostic:
    job = problem.job
    path = f"instance group '{problem.group}', job '{job.name}' of release '{job.release}/{job.release_version}'"
    if problem.violations:
        where = diagnostics.Where(f"{job.name}/properties_schema.json", path=path)
        return diagnostics.Diagnostic(problem.lines[0], "\n".join(problem.violations), where, "Correct these properties in the manifest.")
    file = problem.template if problem.template == "monit" else f"templates/{problem.template}"
    where = diagnostics.Where(f"{job.name}/{file}", problem.failure.place, path)
    return diagnostics.Diagnostic(problem.lines[0], where=where, suggestion=_suggestion(problem))


def _suggestion(problem: Problem) -> str:
    job = problem.job
    found = _PROPERTY.search(problem.failure.message)
    if found:
        names = re.findall(r'"([^"]*)"', found[1])
        return " ".join(_about_property(name, job) for name in names)
    found = _LINK.search(problem.failure.message)
    if found:
        near = diagnostics.did_you_mean(found[1], job.links)
        return near or f"Job '{job.name}' has no link '{found[1]}' here: an optional link needs if_link, or a job that provides it."
    return ""


def _about_property(name: str, job: RenderJob) -> str:
    if name in job.declared:
        return f"Set '{name}' in the properties of job '{job.name}': it has no default."
    near = diagnostics.did_you_mean(name, job.declared)
    return f"Job '{job.name}' declares no property '{name}' in its spec." + (f" {near}" if near else "")
