"""`create-release`: a release directory becomes a release version. Source: release contract, section 6.

Content that did not change keeps its fingerprint, its archive and, for dev releases, its version: doing it again is a no-op.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from director import diagnostics, errors
from director.release import blobs, builds, debian, fingerprint, git, manifest, source, stores, tar, versions
from director.release.job import Identity
from director.release.model import PackageSpec


@dataclasses.dataclass(frozen=True)
class CreatedRelease:
    """`path` is the tarball when one was asked for, else the manifest; `open_release` takes both. `reused` when nothing had changed."""

    name: str
    version: str
    path: Path
    manifest_path: Path
    jobs: tuple[str, ...]
    packages: tuple[str, ...]
    reused: bool = False


@dataclasses.dataclass(frozen=True)
class _Build:
    """What `_builds` needs to know of a job, package or license."""

    kind: str
    name: str
    fingerprint: str
    entries: dict[str, Path]
    prepare: Path | None = None
    packed: bool = True
    vendored: bool = False


def create_release(
    directory: Path, *, name: str = "", version: str = "", final: bool = False, force: bool = False, timestamp_version: bool = False,
    tarball: Path | None = None, blobstore: stores.Blobstore | None = None, clock: Callable[[], float] = time.time,
    prepare: Callable[[Path], None] | None = None,
) -> CreatedRelease:
    """Make a dev or final release of `directory`.

    `prepare` is called first and may fill `blobs/` and `config/blobs.yml`; without it, Debian packages named in `config/debian.yml`
    are fetched. Without `blobstore` the local one of `config/final.yml` is used. Raises ReleaseError: dirty git tree without
    `force`, anything wrong in jobs and packages (all at once), an existing `version`, missing blobs.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise errors.ReleaseError(f"There is no release directory '{directory}'")
    state = git.refuse_changes(directory, force=force)
    (prepare or _vendor)(directory)
    config = source.read_config(directory)
    store = blobstore or stores.store_of(directory, config)
    blobs.fetch(directory, store)
    release = source.read_source(directory, name=name)
    listing = _built(release, store if final else None, store)
    listing = dataclasses.replace(listing, commit_hash=state.commit, uncommitted_changes=bool(state.changes))
    folder = directory / ("releases" if final else "dev_releases") / release.name
    if not final and not version and not timestamp_version:
        last = _last(folder)
        if last is not None and _same(last, listing):
            return _finished(directory, folder, last, tarball, reused=True)
    listing = dataclasses.replace(listing, version=_version(directory, release.name, version, final, timestamp_version, clock))
    folder.mkdir(parents=True, exist_ok=True)
    builds.write(folder / f"{release.name}-{listing.version}.yml", manifest.dump(listing))
    builds.record(folder / "index.yml", str(uuid.uuid4()), {"version": listing.version})
    return _finished(directory, folder, listing, tarball, reused=False)


def _vendor(directory: Path) -> None:
    if (directory / "config" / "debian.yml").is_file():
        debian.vendor_debian(directory)


def _built(release: source.Source, upload: stores.Blobstore | None, store: stores.Blobstore | None) -> manifest.Manifest:
    """Build what has no archive yet; the manifest without version."""
    directory = release.directory
    jobs = []
    for item in release.jobs:
        mark = _archive(directory, _Build("jobs", item.name, item.fingerprint, item.entries), upload, store)
        jobs.append(Identity(item.name, release.name, item.fingerprint, item.fingerprint, mark, item.packages))
    packages = []
    for package in release.packages:
        build = _Build(
            "packages", package.name, package.fingerprint, package.entries, package.prepare, not package.no_compression, package.vendored
        )
        mark = _archive(directory, build, upload, store)
        packages.append(PackageSpec(package.name, package.fingerprint, package.fingerprint, mark, package.dependencies))
    manifest.dependency_order({item.name: item for item in packages})
    license_ = None
    if release.license_files:
        entries = {path.name: path for path in release.license_files}
        mark = _archive(directory, _Build("license", "", release.license_fingerprint, entries), upload, store)
        license_ = manifest.License(release.license_fingerprint, release.license_fingerprint, mark)
    packed = (release.final.get("no_compression") or (release.final.get("blobstore") or {}).get("no_compression")) is not True
    return manifest.Manifest(
        release.name, "0", jobs=tuple(jobs), packages=tuple(packages), license=license_, no_compression=not packed
    )


def _archive(directory: Path, build: _Build, upload: stores.Blobstore | None, store: stores.Blobstore | None) -> str:
    """Make sure that the archive of a fingerprint is in `.dev_builds`; its digest text."""
    folder = directory / ".dev_builds" / build.kind / build.name
    archive = folder / f"{build.fingerprint}.tgz"
    final_index = directory / ".final_builds" / build.kind / build.name / "index.yml"
    final_entry = builds.entries(final_index).get(build.fingerprint)
    entry = builds.entries(folder / "index.yml").get(build.fingerprint)
    known = final_entry or entry
    if known and not (archive.is_file() and builds.intact(archive, str(known.get("sha1")))):
        known = final_entry if final_entry and builds.fetched(final_entry, archive, store) else None
    if known is None:
        if build.vendored:
            raise errors.ReleaseError(
                f"Vendored package '{build.name}' has no archive with fingerprint '{build.fingerprint}' in '.final_builds'",
                suggestion="Vendor it again with vendor-package.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        with _entries_of(build, directory) as entries:
            tar.write(archive, entries, packed=build.packed, level=6 if build.kind == "jobs" else 1)
        known = {"version": build.fingerprint, "sha1": fingerprint.digest_of(archive)}
        builds.record(folder / "index.yml", build.fingerprint, known)
    if upload is not None and final_entry is None:
        known = {"version": build.fingerprint, "blobstore_id": upload.put(archive), "sha1": known["sha1"]}
        builds.record(final_index, build.fingerprint, known)
    return str(known["sha1"])


@contextlib.contextmanager
def _entries_of(build: _Build, directory: Path) -> Iterator[list[tuple[str, Path | bytes, int]]]:
    if build.prepare is None:
        yield [(name, _content(path, build), _mode(path)) for name, path in sorted(build.entries.items())]
        return
    with tempfile.TemporaryDirectory(prefix="package-") as scratch:
        staging = Path(scratch)
        for name, path in build.entries.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, staging / name, follow_symlinks=False)
        shutil.copy2(build.prepare, staging / source.PREPARED)
        environment = {**os.environ, "BUILD_DIR": str(staging), "RELEASE_DIR": str(directory)}
        done = subprocess.run(
            ["bash", "-x", source.PREPARED], cwd=staging, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            raise errors.ReleaseError(
                diagnostics.Diagnostic(
                    f"pre_packaging of package '{build.name}' failed with exit code {done.returncode}", detail=done.stderr[-4000:],
                    where=diagnostics.Where(f"packages/{build.name}/{source.PREPARED}"),
                )
            )
        (staging / source.PREPARED).unlink(missing_ok=True)
        found = [path for path in staging.rglob("*") if path.is_symlink() or path.is_file()]
        yield sorted((path.relative_to(staging).as_posix(), path, _mode(path)) for path in found)


def _content(path: Path, build: _Build) -> Path | bytes:
    """Links in packages stay links; those of jobs and licenses give what they lead to."""
    return path.read_bytes() if path.is_symlink() and build.kind != "packages" else path


def _mode(path: Path) -> int:
    return 0o755 if path.lstat().st_mode & 0o111 else 0o644


def _version(directory: Path, name: str, wanted: str, final: bool, timestamp: bool, clock: Callable[[], float]) -> str:
    finals = builds.versions_of(directory / "releases" / name / "index.yml")
    devs = builds.versions_of(directory / "dev_releases" / name / "index.yml")
    if wanted:
        versions.parse(wanted)
        if wanted in (finals if final else devs):
            raise errors.ReleaseError(
                f"Release version '{wanted}' already exists", suggestion="Leave --version out for the next free one, or choose another."
            )
        return wanted
    if final:
        return versions.next_final(finals)
    known = [*finals, *devs]
    return versions.timestamped(known, int(clock())) if timestamp else versions.next_dev(known)


def _finished(directory: Path, folder: Path, listing: manifest.Manifest, tarball: Path | None, *, reused: bool) -> CreatedRelease:
    path = folder / f"{listing.name}-{listing.version}.yml"
    if tarball is not None:
        write_tarball(directory, listing, tarball)
    names = tuple(item.name for item in listing.jobs), tuple(item.name for item in listing.packages)
    return CreatedRelease(listing.name, listing.version, tarball or path, path, names[0], names[1], reused)


def write_tarball(directory: Path, listing: manifest.Manifest, tarball: Path) -> None:
    """Write the release as one archive, of what was built in the release directory, or built once and kept in its blobstore.

    Raises ReleaseError for an archive that is nowhere.
    """
    store = stores.store_of(directory, source.read_config(directory))
    entries: list[tuple[str, Path | bytes, int]] = [("release.MF", manifest.dump(listing).encode(), 0o644)]
    entries += [(f"{kind}/{name}.tgz", path, 0o600) for kind, name, path in _archives(directory, listing, store)]
    if listing.license is not None:
        archive = builds.archive_of(directory, "license", "", listing.license.fingerprint, listing.license.digest, store)
        entries.append(("license.tgz", archive, 0o600))
        entries += [(name, content, 0o644) for name, (content, _) in sorted(tar.read_files(archive).items())]
    tarball.parent.mkdir(parents=True, exist_ok=True)
    tar.write(tarball, entries, packed=not listing.no_compression, level=1)


def fetch_archives(manifest_path: Path) -> None:
    """Have all archives of a version in `.dev_builds`; `manifest_path` is `releases/NAME/NAME-VERSION.yml` or in `dev_releases`.

    Raises ReleaseError for one that is nowhere.
    """
    directory = manifest_path.resolve().parent.parent.parent
    listing = manifest.parse(manifest_path.read_text("utf-8"), manifest_path.name)
    _archives(directory, listing, stores.store_of(directory, source.read_config(directory)))


def _archives(directory: Path, listing: manifest.Manifest, store: stores.Blobstore | None) -> list[tuple[str, str, Path]]:
    parts = [("jobs", item.name, item.fingerprint, item.digest) for item in listing.jobs]
    parts += [("packages", item.name, item.fingerprint, item.digest) for item in listing.packages]
    return [(kind, name, builds.archive_of(directory, kind, name, mark, expected, store)) for kind, name, mark, expected in parts]


def _same(last: manifest.Manifest, now: manifest.Manifest) -> bool:
    """Whether two versions have the same content; commits do not count."""
    blank = {"version": "0", "commit_hash": "", "uncommitted_changes": False}
    return manifest.dump(dataclasses.replace(last, **blank)) == manifest.dump(dataclasses.replace(now, **blank))  # type: ignore[arg-type]


def _last(folder: Path) -> manifest.Manifest | None:
    latest = versions.latest_of("", builds.versions_of(folder / "index.yml"))
    path = folder / f"{folder.name}-{latest}.yml"
    return manifest.parse(path.read_text("utf-8"), path.name) if latest and path.is_file() else None
