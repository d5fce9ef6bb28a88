"""Rules on packages. Source: release contract, sections 3 and 10."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from director.diagnostics import Diagnostic, Where, did_you_mean
from director.render.lint.folder import Package, Release
from director.render.lint.uses import Checked


def _texts(tree: Mapping[Any, Any], key: str) -> list[tuple[int, str]]:
    found = tree.get(key)
    return [(index, str(item)) for index, item in enumerate(found)] if isinstance(found, list) else []


def missing(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    known = {package.name for package in release.packages}
    for job in release.jobs:
        for index, name in _texts(job.tree, "packages"):
            if name not in known:
                summary = f"Job '{job.name}' needs package '{name}', which is not in this release"
                yield Diagnostic(summary, where=job.spec.where(("packages", index)), code=80003, suggestion=did_you_mean(name, known))
    for package in release.packages:
        for index, name in _texts(package.tree, "dependencies"):
            if name not in known:
                summary = f"Package '{package.name}' depends on package '{name}', which is not in this release"
                yield Diagnostic(summary, where=package.spec.where(("dependencies", index)), suggestion=did_you_mean(name, known))
        if not package.has_packaging and not package.vendored:
            summary = f"Expected to find '{package.label}/packaging' for package '{package.name}'"
            yield Diagnostic(summary, where=Where(package.label), suggestion="It is the script that compiles the package.")
        if package.tree.get("files") is not None and not isinstance(package.tree["files"], list):
            yield Diagnostic(f"'files' of package '{package.name}' should be a list", where=package.spec.where(("files",)))


def unused(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    if not release.jobs:
        return  # a release to take packages from
    needs = {package.name: [name for _index, name in _texts(package.tree, "dependencies")] for package in release.packages}
    waiting = [name for job in release.jobs for _index, name in _texts(job.tree, "packages")]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(needs.get(name, ()))
    for package in release.packages:
        if package.name not in reached:
            summary = f"Package '{package.name}' is needed by no job"
            yield Diagnostic(summary, where=Where(package.spec.file), suggestion="Name it in a job, or delete it.", severity="warning")


def cycles(release: Release, _checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    """Each circle once, told at its first package by name."""
    by_name = {package.name: package for package in release.packages}
    done: set[str] = set()
    for start in sorted(by_name):
        way: list[str] = [start]
        open_: list[Iterator[str]] = [_dependencies(by_name, start)]
        while open_:
            name = next(open_[-1], None)
            if name is None:
                open_.pop()
                done.add(way.pop())
            elif name in way:
                loop = [*way[way.index(name) :], name]
                index = next(index for index, item in _texts(by_name[loop[0]].tree, "dependencies") if item == loop[1])
                yield Diagnostic(
                    f"Packages need each other in a circle: {' -> '.join(loop)}", suggestion="Remove one of these dependencies.",
                    where=by_name[loop[0]].spec.where(("dependencies", index)),
                )
            elif name not in done:
                way.append(name)
                open_.append(_dependencies(by_name, name))


def _dependencies(by_name: Mapping[str, Package], name: str) -> Iterator[str]:
    return iter([item for _index, item in _texts(by_name[name].tree, "dependencies") if item in by_name])
