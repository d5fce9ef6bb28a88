"""Packages: which a group needs, under which keys they are compiled, and which are not compiled yet. Source: release contract, 9 and 10."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping

from director.diagnostics import Diagnostics, Where
from director.errors import ReleaseError
from director.manifest.model import InstanceGroup, ReleaseRef
from director.plan.model import Blueprint, Compile, PackageRef
from director.release import compiled, versions
from director.release.manifest import dependency_order
from director.release.model import CompiledPackageSpec, JobSpec, PackageSpec, Release

_NO_SOURCE = 60001
_NOT_EXPORTED = 60003
_STEMCELL_NOT_EXPORTED = 60004
_COLLISION = 80011


class ReleasePackages:
    """The packages of one release version, with dependency and compiled keys, each computed once.

    `exported_from` lists the stemcells (`OS/VERSION`) whose compiled forms alone may be used; empty: no such limit.
    """

    def __init__(self, release: Release, exported_from: Iterable[str] = ()) -> None:
        self.release = release
        self.exported_from = tuple(exported_from)
        self._compiled: dict[str, list[CompiledPackageSpec]] = {}
        for item in release.compiled_packages:
            self._compiled.setdefault(item.name, []).append(item)
        self._specs: dict[str, PackageSpec] = {
            item.name: PackageSpec(item.name, item.version, item.fingerprint, item.digest, item.dependencies)
            for item in release.compiled_packages}
        self._sources = {package.name: package for package in release.packages}
        self._specs.update(self._sources)
        self._keys: dict[tuple[str, str], str] = {}

    def package(self, name: str) -> PackageSpec | None:
        """The source package, or one made of its compiled form."""
        return self._specs.get(name)

    def has_source(self, name: str) -> bool:
        """A package without blob came compiled only."""
        source = self._sources.get(name)
        return source is not None and bool(source.blob_id)

    def compiled(self, name: str) -> Iterable[CompiledPackageSpec]:
        return self._compiled.get(name, ())

    def dependency_key(self, name: str) -> str:
        """Compact JSON of the dependencies, nested; '' when they are broken, which `check_sources` tells."""
        if (name, "") not in self._keys:
            try:
                self._keys[name, ""] = compiled.dependency_key(self._specs[name], self._specs)
            except ReleaseError:
                self._keys[name, ""] = ""
        return self._keys[name, ""]

    def key(self, name: str, stemcell: str) -> str:
        """The compiled key for a stemcell, `OS/VERSION`; '' when dependencies are broken."""
        if (name, stemcell) not in self._keys:
            os, _, version = stemcell.rpartition("/")
            try:
                key = compiled.compiled_key(self._specs[name], self._specs, stemcell_os=os, stemcell_version=version)
            except ReleaseError:
                key = ""
            self._keys[name, stemcell] = key
        return self._keys[name, stemcell]

    def key_in_use(self, name: str, stemcell: str) -> str:
        """The key of the form that machines of the stemcell get: one the release carries for a near stemcell, or their own."""
        near = usable(self, name, stemcell)
        return self.key(name, near.stemcell if near else stemcell)

    def closure(self, names: Iterable[str]) -> list[str]:
        """The names and all they depend on, dependencies before what needs them. Raises ReleaseError for one missing, or a circle."""
        return [item.name for item in dependency_order(self._specs, sorted(name for name in names if name in self._specs))]


def usable(packages: ReleasePackages, name: str, stemcell: str) -> CompiledPackageSpec | None:
    """The compiled form that is there and may be used on `stemcell` (`OS/VERSION`), or None.

    With `exported_from` exactly one of the listed stemcells, the nearest; else exact match first, and for a package without source also
    the same OS and first version component, with the greatest second component. Source: release contract, section 9.
    """
    near = [item for item in packages.compiled(name) if same_line(item.stemcell, stemcell)]
    if packages.exported_from:
        near = [item for item in near if item.stemcell in packages.exported_from]
    exact = next((item for item in near if item.stemcell == stemcell), None)
    if exact is not None or (packages.has_source(name) and not packages.exported_from):
        return exact
    return max(near, key=lambda item: _second(item.stemcell), default=None)


def same_line(one: str, other: str) -> bool:
    """Whether two stemcells (`OS/VERSION`) match: the same OS and first version component."""
    return _line(one) == _line(other)


def group_packages(jobs: Iterable[JobSpec], releases: Mapping[str, ReleasePackages], stemcell: str) -> tuple[PackageRef, ...]:
    """The union of the jobs' packages, by name; runtime dependencies are not added. `releases` maps release names."""
    found: dict[str, PackageRef] = {}
    for job in jobs:
        packages = releases.get(job.release)
        if packages is None:
            continue
        for name in job.packages:
            package = packages.package(name)
            if package is not None and name not in found:
                key = packages.dependency_key(name)
                found[name] = PackageRef(
                    name, job.release, packages.release.version, package.version, package.fingerprint, key,
                    packages.key_in_use(name, stemcell))
    return tuple(found[name] for name in sorted(found))


def check_collisions(group: InstanceGroup, jobs: Iterable[JobSpec], releases: Mapping[str, ReleasePackages], report: Diagnostics) -> None:
    """Packages of one name from two releases must be the same in one group."""
    seen: dict[str, tuple[JobSpec, str, tuple[str, ...]]] = {}
    for job in jobs:
        packages = releases.get(job.release)
        for name in job.packages if packages else ():
            assert packages is not None
            package = packages.package(name)
            if package is None:
                report.add(
                    f"Job '{job.name}' of release '{job.release}' needs package '{name}', which the release does not have",
                    where=Where(line=group.line, path=f"instance_groups/{group.name}"))
                continue
            facts = (package.fingerprint, tuple(sorted(package.dependencies)))
            other = seen.setdefault(name, (job, *facts))
            if other[1:] != facts:
                report.add(
                    f"Package name collision detected in instance group '{group.name}': job '{other[0].release}/{other[0].name}' depends on"
                    f" package '{other[0].release}/{name}' with fingerprint '{other[1]}', job '{job.release}/{job.name}' depends on package"
                    f" '{job.release}/{name}' with fingerprint '{facts[0]}'. BOSH cannot currently collocate two packages with identical"
                    " names and different fingerprints or dependencies.",
                    where=Where(line=group.line, path=f"instance_groups/{group.name}"), code=_COLLISION)


@dataclasses.dataclass
class Use:
    """What groups need of a release: stemcell (`OS/VERSION`) -> names of packages."""

    packages: ReleasePackages
    names: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    def add(self, stemcell: str, names: Iterable[str]) -> None:
        self.names[stemcell] = self.names.get(stemcell, frozenset()) | frozenset(names)


def check_sources(used: Iterable[Use], report: Diagnostics) -> None:
    """Every package that jobs need can be compiled or is there compiled."""
    for use in used:
        packages = use.packages
        try:
            closures = {stemcell: packages.closure(names) for stemcell, names in sorted(use.names.items())}
        except ReleaseError as error:
            report.extend(error.diagnostics)
            continue
        title = f"{packages.release.name}/{packages.release.version}"
        if packages.exported_from:
            for stemcell, closure in closures.items():
                _check_exported(title, packages, closure, stemcell, report)
            continue
        missing = [(name, stemcell) for stemcell, closure in closures.items() for name in closure
                   if not packages.has_source(name) and usable(packages, name, stemcell) is None]
        if missing:
            report.add(_no_source(title, packages, missing, len(closures)), code=_NO_SOURCE,
                       suggestion=_hint(packages, [name for name, _ in missing]))


def _check_exported(title: str, packages: ReleasePackages, closure: Iterable[str], stemcell: str, report: Diagnostics) -> None:
    listed = [item for item in packages.exported_from if same_line(item, stemcell)]
    if not listed:
        report.add(f"Can't use release '{title}': expected to find stemcell for '{stemcell}' to be configured in exported_from'",
                   code=_STEMCELL_NOT_EXPORTED)
        return
    lacking = [name for name in closure if usable(packages, name, stemcell) is None]
    if lacking:
        lines = "".join(f"\n - '{name}/{_fingerprint(packages, name)}'" for name in lacking)
        report.add(
            f"Can't use release '{title}':\nPackages must be exported from stemcell '{listed[0]}', but some packages are not compiled"
            f" for this stemcell:{lines}", code=_NOT_EXPORTED, suggestion=_hint(packages, lacking))


def _hint(packages: ReleasePackages, names: Iterable[str]) -> str:
    there = sorted({item.stemcell for name in names for item in packages.compiled(name)})
    compiled_for = f" Here they are compiled for {', '.join(there)}." if there else ""
    return f"Upload the source release, or one compiled for that stemcell.{compiled_for}"


def _no_source(title: str, packages: ReleasePackages, missing: list[tuple[str, str]], stemcells: int) -> str:
    head = f"\nCan't use release '{title}'. It references packages without source code and are not compiled against "
    if stemcells == 1:
        lines = (f"\n - '{name}/{_fingerprint(packages, name)}'" for name, _ in missing)
        return head + f"stemcell '{missing[0][1]}':" + "".join(lines)
    return head + "intended stemcells:" + "".join(
        f"\n - '{name}/{_fingerprint(packages, name)}' against stemcell '{stemcell}'" for name, stemcell in missing)


def compilations(blueprint: Blueprint, known: Container[str]) -> tuple[Compile, ...]:
    """What must be compiled: one per (package, stemcell) over all groups, transitive, dependencies first. `known` holds compiled keys.

    `Compile.after` lists only keys that are compiled in the same answer.
    """
    wanted: dict[str, Compile] = {}
    releases = packages_of(blueprint.request.manifest.releases, blueprint.request.releases)
    done: set[tuple[str, str, str]] = set()
    for packages, release, stemcell, names in _needs(blueprint, releases):
        todo = tuple(name for name in names if (release, stemcell, name) not in done)
        if not todo:
            continue
        done.update((release, stemcell, name) for name in todo)
        _add_missing(packages, todo, stemcell, known, wanted)
    return tuple(wanted.values())


def missing(packages: ReleasePackages, names: Iterable[str], stemcell: str, known: Container[str]) -> tuple[Compile, ...]:
    """What must be compiled so that all of `names`, and what they depend on, is there for `stemcell`; as `compilations`."""
    wanted: dict[str, Compile] = {}
    _add_missing(packages, names, stemcell, known, wanted)
    return tuple(wanted.values())


def _add_missing(
    packages: ReleasePackages, names: Iterable[str], stemcell: str, known: Container[str], wanted: dict[str, Compile],
) -> None:
    for name in packages.closure(names):
        item = _compile(packages, name, stemcell, known, wanted)
        if item is not None:
            wanted.setdefault(item.key, item)


def _compile(
    packages: ReleasePackages, name: str, stemcell: str, known: Container[str], wanted: Mapping[str, Compile],
) -> Compile | None:
    package = packages.package(name)
    if package is None or usable(packages, name, stemcell) is not None:
        return None
    key = packages.key(name, stemcell)
    if key in known or key in wanted:
        return None
    keys = (packages.key(dependency, stemcell) for dependency in sorted(package.dependencies))
    after = [dependency_key for dependency_key in keys if dependency_key in wanted]
    return Compile(packages.release.name, packages.release.version, name, package.fingerprint, stemcell, key, tuple(after))


def _needs(blueprint: Blueprint, releases: Mapping[str, ReleasePackages]) -> Iterator[tuple[ReleasePackages, str, str, tuple[str, ...]]]:
    seen: set[tuple[int, str]] = set()
    for placed in blueprint.instances:
        spec = placed.spec
        stemcell = f"{spec.stemcell_os}/{spec.stemcell_version}"
        if (id(spec.packages), stemcell) in seen:
            continue  # the group's instances share one tuple
        seen.add((id(spec.packages), stemcell))
        by_release: dict[str, list[str]] = {}
        for ref in spec.packages:
            by_release.setdefault(ref.release, []).append(ref.name)
        for release, names in by_release.items():
            yield releases[release], release, stemcell, tuple(names)


def packages_of(refs: Iterable[ReleaseRef], releases: Iterable[Release]) -> dict[str, ReleasePackages]:
    """The packages of each release the manifest names, in the version it names."""
    by_version = {(release.name, release.version): release for release in releases}
    return {
        ref.name: ReleasePackages(
            by_version[ref.name, ref.version], [f"{item.get('os', '')}/{item.get('version', '')}" for item in ref.exported_from])
        for ref in refs if (ref.name, ref.version) in by_version
    }


def _fingerprint(packages: ReleasePackages, name: str) -> str:
    package = packages.package(name)
    return package.fingerprint if package else ""


def _line(stemcell: str) -> tuple[str, str]:
    os, _, version = stemcell.rpartition("/")
    return os, version.replace("_", ".").split(".")[0]


def _second(stemcell: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts stemcells of one line: by the second version component, numbers before words."""
    second = versions.parse_stemcell(stemcell.rpartition("/")[2]).release[1:]
    return tuple((0, item) if isinstance(item, int) else (1, item) for item in second)
