"""A release as it arrives: a tarball, a folder unpacked from one, or a manifest inside a release directory.

Every archive in it is verified against its digest and read through before anybody uses it.
Source: release contract, sections 7 and 8.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from director import diagnostics, errors
from director.release import digest, job, manifest, model, tar

NO_RELEASE_MANIFEST = 30003

_OUTER = tar.Limits()


@dataclasses.dataclass(frozen=True)
class ReleaseArchive:
    """An opened release. Its paths live until `close`, or the end of the `with` block."""

    release: model.Release
    manifest: manifest.Manifest
    sources: Mapping[str, job.JobSource]
    _paths: Mapping[tuple[str, str], Path]
    _stack: contextlib.ExitStack

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

    def compiled_archive(self, name: str) -> Path | None:
        return self._paths.get(("compiled_packages", name))


def open_release(
    path: Path, *, workdir: Path | None = None, limits: tar.Limits | None = None, known: Callable[[str], bool] = lambda _: False
) -> ReleaseArchive:
    """Open a tarball, an unpacked one, or a manifest such as `dev_releases/NAME/NAME-VERSION.yml` of a release directory.

    `known(fingerprint)` tells which packages' archives may be missing. `workdir` holds a temporary folder until `close`.
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
        listing = _manifest_of(root, path)
        return _opened(listing, find, path.name, limits, known, stack.pop_all())


def read_release(path: Path) -> model.Release:
    """The release alone, verified. Raises ReleaseError."""
    with open_release(path) as archive:
        return archive.release


_Find = Callable[[str, str, str], Path]


def _unpacked(root: Path) -> _Find:
    return lambda kind, name, _: root / kind / f"{name}.tgz"


def _built(manifest_path: Path) -> _Find:
    builds = manifest_path.resolve().parent.parent.parent / ".dev_builds"
    return lambda kind, name, fingerprint: builds / kind / name / f"{fingerprint}.tgz"


def _manifest_of(root: Path, shown: Path) -> manifest.Manifest:
    file = root / "release.MF" if root.is_dir() else root
    if not file.is_file():
        hint = "Make a release of this directory first: create-release." if (root / "config").is_dir() else ""
        raise errors.ReleaseError(
            diagnostics.Diagnostic(
                "Release manifest not found", detail=f"'{shown}' holds no release.MF.", code=NO_RELEASE_MANIFEST, suggestion=hint
            )
        )
    if file.stat().st_size > 32 << 20:
        raise errors.ReleaseError(f"'{shown.name}' has a manifest of more than 32 MiB")
    return manifest.parse(file.read_text("utf-8", errors="replace"), file.name)


def _opened(
    listing: manifest.Manifest, find: _Find, label: str, limits: tar.Limits | None, known: Callable[[str], bool],
    stack: contextlib.ExitStack,
) -> ReleaseArchive:
    problems = diagnostics.Diagnostics()
    paths: dict[tuple[str, str], Path] = {}
    sources: dict[str, job.JobSource] = {}

    def collect(kind: str, what: str, item: job.Identity | model.PackageSpec | model.CompiledPackageSpec) -> Path | None:
        path = find(kind, item.name, item.fingerprint)
        if not path.is_file():
            if kind == "jobs" or not known(item.fingerprint):
                problems.add(
                    f"{what} '{item.name}' is missing in release '{listing.name}/{listing.version}'",
                    where=diagnostics.Where(label, path=f"{kind}/{item.name}.tgz"), suggestion="Make the release anew, or upload it whole.",
                )
            return None
        digest.verify(path, item.digest, f"{what} '{item.name}' of release '{listing.name}/{listing.version}'")
        paths[kind, item.name] = path
        return path

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except errors.ReleaseError as error:
            problems.extend(error.diagnostics)

    def take_job(item: job.Identity) -> None:
        path = collect("jobs", "Job", item)
        if path is not None:
            sources[item.name] = job.read_job(path, item, label=f"jobs/{item.name}.tgz")

    def take_package(kind: str, what: str, item: model.PackageSpec | model.CompiledPackageSpec) -> None:
        path = collect(kind, what, item)
        if path is not None:
            outside = ("/var/vcap/",) if kind == "compiled_packages" else ()
            tar.check(path, label=f"{kind}/{item.name}.tgz", limits=limits, absolute_links=outside)

    with stack:
        for identity in listing.jobs:
            attempt(functools.partial(take_job, identity))
        for package in listing.packages:
            attempt(functools.partial(take_package, "packages", "Package", package))
        for compiled in listing.compiled_packages:
            attempt(functools.partial(take_package, "compiled_packages", "Compiled package", compiled))
        packages = {item.name for item in listing.packages} | {item.name for item in listing.compiled_packages}
        for source in sources.values():
            for name in sorted(set(source.spec.packages) - packages):
                problems.add(
                    f"Job '{source.spec.name}' references missing package '{name}'", code=manifest.BAD_PACKAGE,
                    suggestion=diagnostics.did_you_mean(name, packages),
                )
        if problems.errors:
            raise errors.ReleaseError(*problems.errors)
        release = model.Release(
            listing.name, listing.version, listing.commit_hash, listing.uncommitted_changes,
            tuple(source.spec for source in sources.values()), listing.packages, listing.compiled_packages,
        )
        return ReleaseArchive(release, listing, sources, paths, stack.pop_all())
