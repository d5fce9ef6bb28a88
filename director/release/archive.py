"""A release as it arrives: a tarball, a folder unpacked from one, or a manifest inside a release directory.

Every archive in it is verified against its digest and read through before anybody uses it.
Source: release contract, sections 7 and 8.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from director import diagnostics, errors
from director.release import digest, fingerprint, job, manifest, model, tar

NO_RELEASE_MANIFEST = 30003

Known = Callable[[model.PackageSpec | model.CompiledPackageSpec, manifest.Manifest], bool]

_OUTER = tar.Limits()


@dataclasses.dataclass(frozen=True)
class ReleaseArchive:
    """An opened release. Its paths live until `close`, or the end of the `with` block.

    `unlike` names jobs and packages whose content does not come to their fingerprint (`package 'x'`). That is no proof of damage, see
    `fingerprint.archived_fingerprint`; but what is taken by fingerprint from elsewhere may then differ from what was sent.
    """

    release: model.Release
    manifest: manifest.Manifest
    manifest_path: Path
    sources: Mapping[str, job.JobSource]
    _paths: Mapping[tuple[str, str], Path]
    _stack: contextlib.ExitStack
    unlike: tuple[str, ...] = ()

    def __enter__(self) -> ReleaseArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def job_archive(self, name: str) -> Path:
        return self._paths["jobs", name]

    def package_archive(self, name: str) -> Path | None:
        """None when the sender left it out because the receiver has it."""
        return self._paths.get(("packages", name))

    @property
    def license_archive(self) -> Path | None:
        """None when there is none, or it was not sent."""
        return self._paths.get(("license", ""))

    def compiled_archive(self, name: str) -> Path | None:
        return self._paths.get(("compiled_packages", name))

    def write(self, destination: Path, *, without: Container[str] = ()) -> None:
        """Write it as one archive, its manifest as it is; packages whose fingerprint is in `without` are left out."""
        entries: list[tuple[str, Path | bytes, int]] = [("release.MF", self.manifest_path, 0o644)]
        marks = {("packages", item.name): item.fingerprint for item in self.manifest.packages}
        marks |= {("compiled_packages", item.name): item.fingerprint for item in self.manifest.compiled_packages}
        for (kind, name), path in sorted(self._paths.items()):
            if marks.get((kind, name)) is None or marks[kind, name] not in without:
                entries.append((f"{kind}/{name}.tgz" if name else f"{kind}.tgz", path, 0o600))
        # The archives in it are packed already.
        tar.write(destination, entries, level=1)


def open_release(
    path: Path, *, workdir: Path | None = None, limits: tar.Limits | None = None, known: Known = lambda item, listing: False
) -> ReleaseArchive:
    """Open a tarball, an unpacked one, or a manifest such as `dev_releases/NAME/NAME-VERSION.yml` of a release directory.

    `known(package, manifest)` tells which packages' archives may be missing. `workdir` holds a temporary folder until `close`.
    Raises ReleaseError with everything that is wrong, naming archive and member.
    """
    with contextlib.ExitStack() as stack:
        if path.is_dir():
            root, find = path, _unpacked(path)
        elif path.suffix in (".yml", ".yaml", ".MF"):
            root, find = path, _unpacked(path.parent) if path.suffix == ".MF" else _built(path)
        elif path.is_file():
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="release-", dir=workdir)))
            tar.extract(path, root, label=path.name, limits=limits or _OUTER)
            find = _unpacked(root)
        else:
            raise errors.ReleaseError(f"There is no release at '{path}'", suggestion="Give a release tarball or a release manifest.")
        listing, file = _manifest_of(root, path)
        return _opened(listing, file, find, path.name, limits, known, stack.pop_all())


def read_release(path: Path) -> model.Release:
    """The release alone, verified. Raises ReleaseError."""
    with open_release(path) as archive:
        return archive.release


_Find = Callable[[str, str, str], Path]


def _unpacked(root: Path) -> _Find:
    return lambda kind, name, _: root / kind / f"{name}.tgz" if name else root / f"{kind}.tgz"


def _built(manifest_path: Path) -> _Find:
    builds = manifest_path.resolve().parent.parent.parent / ".dev_builds"
    return lambda kind, name, fingerprint: builds / kind / name / f"{fingerprint}.tgz"


def _manifest_of(root: Path, shown: Path) -> tuple[manifest.Manifest, Path]:
    file = root / "release.MF" if root.is_dir() else root
    if not file.is_file():
        hint = "Make a release of this directory first: create-release." if (root / "config").is_dir() else (
            "Is this the archive of a release? `caisson create-release --tarball FILE` makes one.")
        raise errors.ReleaseError(
            diagnostics.Diagnostic(
                "Release manifest not found", detail=f"'{shown}' holds no release.MF.", code=NO_RELEASE_MANIFEST, suggestion=hint
            )
        )
    if file.stat().st_size > 32 << 20:
        raise errors.ReleaseError(f"'{shown.name}' has a manifest of more than 32 MiB")
    return manifest.parse(file.read_text("utf-8", errors="replace"), file.name), file


class _Opening:
    """Verifies what a release lists, part by part, and collects what is wrong."""

    def __init__(
        self, listing: manifest.Manifest, find: _Find, label: str, limits: tar.Limits | None, known: Known
    ) -> None:
        self.listing = listing
        self.problems = diagnostics.Diagnostics()
        self.paths: dict[tuple[str, str], Path] = {}
        self.sources: dict[str, job.JobSource] = {}
        self.unlike: list[str] = []
        self._find = find
        self._label = label
        self._limits = limits
        self._known = known

    def all(self) -> None:
        for identity in self.listing.jobs:
            self._attempt(functools.partial(self._job, identity))
        for package in self.listing.packages:
            self._attempt(functools.partial(self._package, package))
        for compiled in self.listing.compiled_packages:
            self._attempt(functools.partial(self._compiled, compiled))
        self._attempt(self._license)
        packages = {item.name for item in self.listing.packages} | {item.name for item in self.listing.compiled_packages}
        for source in self.sources.values():
            for name in sorted(set(source.spec.packages) - packages):
                self.problems.add(
                    f"Job '{source.spec.name}' references missing package '{name}'", code=manifest.BAD_PACKAGE,
                    suggestion=diagnostics.did_you_mean(name, packages),
                )

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except errors.ReleaseError as error:
            self.problems.extend(error.diagnostics)

    def _job(self, item: job.Identity) -> None:
        path = self._verified("jobs", "Job", item)
        if path is not None:
            label = f"jobs/{item.name}.tgz"
            self.sources[item.name] = job.read_job(path, item, label=label)
            self._compare("job", item.name, item.fingerprint, tar.digests(path, label=label, limits=self._limits), ())

    def _package(self, item: model.PackageSpec) -> None:
        path = self._verified("packages", "Package", item)
        if path is not None:
            members = tar.digests(path, label=f"packages/{item.name}.tgz", limits=self._limits)
            self._compare("package", item.name, item.fingerprint, members, item.dependencies)

    def _compiled(self, item: model.CompiledPackageSpec) -> None:
        path = self._verified("compiled_packages", "Compiled package", item)
        if path is not None:
            tar.check(path, label=f"compiled_packages/{item.name}.tgz", limits=self._limits, absolute_links=("/var/vcap/",))

    def _license(self) -> None:
        """It may be left out. One that is there is what the manifest says."""
        listed = self.listing.license
        path = self._find("license", "", listed.fingerprint) if listed else None
        if listed and path is not None and path.is_file():
            digest.verify(path, listed.digest, f"License of release '{self.listing.name}/{self.listing.version}'")
            tar.check(path, label="license.tgz", limits=self._limits)
            self.paths["license", ""] = path

    def _verified(self, kind: str, what: str, item: job.Identity | model.PackageSpec | model.CompiledPackageSpec) -> Path | None:
        """The archive, with its digest checked; None when it is missing, which is an error unless the receiver knows it."""
        release = f"{self.listing.name}/{self.listing.version}"
        path = self._find(kind, item.name, item.fingerprint)
        if path.is_file():
            digest.verify(path, item.digest, f"{what} '{item.name}' of release '{release}'")
            self.paths[kind, item.name] = path
            return path
        if isinstance(item, job.Identity) or not self._known(item, self.listing):
            self.problems.add(
                f"{what} '{item.name}' is missing in release '{release}'",
                where=diagnostics.Where(self._label, path=f"{kind}/{item.name}.tgz"),
                suggestion="Make the release anew, or upload it whole.",
            )
        return None

    def _compare(self, kind: str, name: str, expected: str, members: list[tuple[tar.Member, str]], dependencies: tuple[str, ...]) -> None:
        if len(expected) != 64:
            return  # made by an old tool, with another algorithm
        files = [
            fingerprint.Archived(member.name, member.executable, mark, member.target if member.kind == "symlink" else "")
            for member, mark in members if member.kind in ("file", "symlink")
        ]
        if fingerprint.archived_fingerprint(files, dependencies, is_job=kind == "job") != expected:
            self.unlike.append(f"{kind} '{name}'")


def _opened(
    listing: manifest.Manifest, file: Path, find: _Find, label: str, limits: tar.Limits | None, known: Known,
    stack: contextlib.ExitStack,
) -> ReleaseArchive:
    with stack:
        opening = _Opening(listing, find, label, limits, known)
        opening.all()
        if opening.problems.errors:
            raise errors.ReleaseError(*opening.problems.errors)
        release = model.Release(
            listing.name, listing.version, listing.commit_hash, listing.uncommitted_changes,
            tuple(source.spec for source in opening.sources.values()), listing.packages, listing.compiled_packages,
        )
        return ReleaseArchive(release, listing, file, opening.sources, opening.paths, stack.pop_all(), tuple(opening.unlike))
