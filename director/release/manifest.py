"""`release.MF` and the manifests under `dev_releases/` and `releases/`: one form, read and written here.

Source: release contract, sections 7 and 8.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from director import diagnostics, errors
from director.release import job as job_module
from director.release import model, text, versions

BAD_IDENTIFIER = 40005
BAD_PACKAGE = 80003

_IDENTIFIER = re.compile(r"[-0-9A-Za-z_+.]+")


@dataclasses.dataclass(frozen=True)
class License:
    version: str
    fingerprint: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a release manifest lists. The jobs' specs themselves are in their archives."""

    name: str
    version: str
    commit_hash: str = "unknown"
    uncommitted_changes: bool = False
    jobs: tuple[job_module.Identity, ...] = ()
    packages: tuple[model.PackageSpec, ...] = ()
    compiled_packages: tuple[model.CompiledPackageSpec, ...] = ()
    license: License | None = None
    no_compression: bool = False


def parse(content: str, file: str = "release.MF") -> Manifest:
    """Read and check a release manifest. Raises ReleaseError with everything that is wrong."""
    problems = diagnostics.Diagnostics()
    tree = text.read_map(content, file)
    name, version = str(tree.get("name") or ""), str(tree.get("version") or "")
    _identifier(name, "release name", problems)
    _identifier(version, "release version", problems)
    jobs = []
    for number, item in enumerate(_items(tree, "jobs", problems), 1):
        fields = _fields(item, f"job {number}", problems)
        listed = item.get("packages")
        packages = tuple(str(entry) for entry in listed) if isinstance(listed, list) else None
        jobs.append(job_module.Identity(release=name, packages=packages, **fields))
    sources = [
        model.PackageSpec(dependencies=_names(item, "dependencies"), **_fields(item, f"package {number}", problems))
        for number, item in enumerate(_items(tree, "packages", problems), 1)
    ]
    compiled = [
        model.CompiledPackageSpec(
            stemcell=str(item.get("stemcell", "")), dependencies=_names(item, "dependencies"),
            **_fields(item, f"compiled package {number}", problems),
        )
        for number, item in enumerate(_items(tree, "compiled_packages", problems), 1)
    ]
    for package in compiled:
        if not _is_stemcell(package.stemcell):
            problems.add(f"Compiled package '{package.name}' names no stemcell as OS/VERSION, got '{package.stemcell}'")
    listed = (
        ("job", [item.name for item in jobs]), ("package", [item.name for item in sources]),
        ("compiled package", [f"{item.name}' for '{item.stemcell}" for item in compiled]),
    )
    for kind, names in listed:
        for twice, count in collections.Counter(names).items():
            if count > 1:
                problems.add(f"Release '{name}' lists {kind} '{twice}' twice")
    marks: dict[str, set[str]] = {}
    for package_name, mark in [(one.name, one.fingerprint) for one in sources] + [(one.name, one.fingerprint) for one in compiled]:
        marks.setdefault(package_name, set()).add(mark)
    for package_name in sorted(key for key, found in marks.items() if len(found) > 1):
        problems.add(f"Release '{name}' lists package '{package_name}' with different fingerprints")
    _check_references(name, jobs, [*sources, *compiled], problems)
    license_ = tree.get("license")
    if problems.errors:
        where = diagnostics.Where(file)
        raise errors.ReleaseError(*(item if item.where else dataclasses.replace(item, where=where) for item in problems.errors))
    return Manifest(
        name, version, str(tree.get("commit_hash") or "unknown"), tree.get("uncommitted_changes") is True, tuple(jobs), tuple(sources),
        tuple(compiled), _license(license_) if isinstance(license_, dict) else None, tree.get("no_compression") is True,
    )


def dump(manifest: Manifest) -> str:
    """The text, in the order the reference writes: what is listed is sorted by name, empty lists are absent."""
    tree: dict[str, Any] = {
        "name": manifest.name, "version": manifest.version, "commit_hash": manifest.commit_hash,
        "uncommitted_changes": manifest.uncommitted_changes,
    }
    if manifest.jobs:
        tree["jobs"] = [
            {**_common(item), **({} if item.packages is None else {"packages": list(item.packages)})}
            for item in sorted(manifest.jobs, key=lambda item: item.name)
        ]
    if manifest.packages:
        tree["packages"] = [
            {**_common(item), "dependencies": list(item.dependencies)} for item in sorted(manifest.packages, key=lambda item: item.name)
        ]
    if manifest.compiled_packages:
        tree["compiled_packages"] = [
            {**_common(item), "stemcell": item.stemcell, "dependencies": list(item.dependencies)}
            for item in sorted(manifest.compiled_packages, key=lambda item: item.name)
        ]
    if manifest.license:
        tree["license"] = {
            "version": manifest.license.version, "fingerprint": manifest.license.fingerprint, "sha1": manifest.license.digest
        }
    tree["no_compression"] = manifest.no_compression
    return text.dump_yaml(tree)


def dependency_order(packages: Mapping[str, model.PackageSpec], names: Iterable[str] | None = None) -> list[model.PackageSpec]:
    """The named packages (all without names) and what they need, each after its dependencies. Raises ReleaseError for a cycle or a gap."""
    ordered: dict[str, model.PackageSpec] = {}
    path: list[str] = []

    def visit(name: str, wanted_by: str) -> None:
        if name in ordered:
            return
        if name in path:
            cycle = " -> ".join([*path[path.index(name):], name])
            raise errors.ReleaseError(f"Packages depend on each other in a circle: {cycle}")
        package = packages.get(name)
        if package is None:
            raise _missing(name, wanted_by, packages)
        path.append(name)
        for dependency in sorted(package.dependencies):
            visit(dependency, f"Package '{name}'")
        path.pop()
        ordered[name] = package

    for name in sorted(packages if names is None else names):
        visit(name, "The release")
    return list(ordered.values())


def _check_references(
    release: str, jobs: Iterable[job_module.Identity], packages: Iterable[model.PackageSpec | model.CompiledPackageSpec],
    problems: diagnostics.Diagnostics,
) -> None:
    known = {
        item.name: model.PackageSpec(item.name, item.version, item.fingerprint, item.digest, item.dependencies) for item in packages
    }
    wanted = [(f"Package '{item.name}'", item.dependencies) for item in known.values()]
    wanted += [(f"Job '{item.name}'", item.packages or ()) for item in jobs]
    complete = True
    for who, names in wanted:
        for name in names:
            if name not in known:
                complete = False
                problems.extend(_missing(name, who, known).diagnostics)
    if complete:
        try:
            dependency_order(known)
        except errors.ReleaseError as error:
            problems.extend(error.diagnostics)


def _is_stemcell(slug: str) -> bool:
    os, _, version = slug.partition("/")
    try:
        versions.parse_stemcell(version)
    except errors.ReleaseError:
        return False
    return bool(os)


def _missing(name: str, who: str, packages: Iterable[str]) -> errors.ReleaseError:
    return errors.ReleaseError(
        diagnostics.Diagnostic(
            f"{who} references missing package '{name}'", code=BAD_PACKAGE, suggestion=diagnostics.did_you_mean(name, packages)
        )
    )


def _items(tree: Mapping[str, Any], key: str, problems: diagnostics.Diagnostics) -> list[dict[str, Any]]:
    value = tree.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        problems.add(f"'{key}' of the release manifest is not a list of maps")
        return []
    return value


def _fields(item: Mapping[str, Any], what: str, problems: diagnostics.Diagnostics) -> dict[str, str]:
    name, version = str(item.get("name") or ""), str(item.get("version") or "")
    _identifier(name, f"{what} name", problems)
    _identifier(version, f"{what} version", problems)
    return {
        "name": name, "version": version, "fingerprint": str(item.get("fingerprint") or version), "digest": str(item.get("sha1") or "")
    }


def _names(item: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = item.get(key)
    return tuple(str(entry) for entry in value) if isinstance(value, list) else ()


def _common(item: job_module.Identity | model.PackageSpec | model.CompiledPackageSpec) -> dict[str, str]:
    return {"name": item.name, "version": item.version, "fingerprint": item.fingerprint, "sha1": item.digest}


def _identifier(value: str, what: str, problems: diagnostics.Diagnostics) -> None:
    # `.` and `..` have allowed letters, but would be folders when they become file names.
    if not _IDENTIFIER.fullmatch(value) or value in (".", ".."):
        problems.add(f'Invalid {what} in release manifest: "{value}"', code=BAD_IDENTIFIER)


def _license(item: Mapping[str, Any]) -> License:
    version = str(item.get("version") or item.get("fingerprint") or "")
    return License(version, str(item.get("fingerprint") or version), str(item.get("sha1") or ""))
