"""`finalize-release`: a release archive that was tested becomes a final version of a release directory. Release contract, section 1."""

from __future__ import annotations

import dataclasses
import uuid
from pathlib import Path

from director import errors
from director.release import archive, builds, git, manifest, source, stores, versions


def finalize_release(directory: Path, tarball: Path, *, name: str = "", version: str = "", force: bool = False) -> manifest.Manifest:
    """Keep the archive's jobs and packages as final builds, and its manifest as `releases/NAME/NAME-VERSION.yml`; that manifest.

    Raises ReleaseError: uncommitted changes without `force`, a compiled release, a version that exists, no blobstore.
    """
    directory = directory.resolve()
    git.refuse_changes(directory, force=force)
    store = stores.needed(stores.store_of(directory, source.read_config(directory)))
    with archive.open_release(tarball) as found:
        listing = found.manifest
        if listing.compiled_packages:
            raise errors.ReleaseError(f"'{tarball.name}' is a compiled release; only sources become a final release")
        listing = dataclasses.replace(listing, name=name or listing.name)
        folder = directory / "releases" / listing.name
        known = builds.versions_of(folder / "index.yml")
        version = version or versions.next_final(known)
        versions.parse(version)
        if version in known:
            raise errors.ReleaseError(
                f"Release '{listing.name}' version '{version}' already exists",
                suggestion="Leave --version out for the next free one, or choose another.")
        listing = dataclasses.replace(listing, version=version)
        for job in listing.jobs:
            _keep(directory, "jobs", job.name, job.fingerprint, job.digest, found.job_archive(job.name), store)
        for package in listing.packages:
            path = found.package_archive(package.name)
            assert path is not None, package
            _keep(directory, "packages", package.name, package.fingerprint, package.digest, path, store)
        license_, path = listing.license, found.license_archive
        if license_ is None or path is None:
            listing = dataclasses.replace(listing, license=None)
        else:
            _keep(directory, "license", "", license_.fingerprint, license_.digest, path, store)
    folder.mkdir(parents=True, exist_ok=True)
    builds.write(folder / f"{listing.name}-{listing.version}.yml", manifest.dump(listing))
    builds.record(folder / "index.yml", str(uuid.uuid4()), {"version": listing.version})
    return listing


def _keep(directory: Path, kind: str, name: str, mark: str, digest: str, path: Path, store: stores.Blobstore) -> None:
    index = builds.index_of(directory, kind, name, final=True)
    if mark not in builds.entries(index):
        builds.record(index, mark, {"version": mark, "blobstore_id": store.put(path), "sha1": digest})
