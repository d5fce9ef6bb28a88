"""`vendor-package`: a package of another release directory becomes one of this release, with its archive. Release contract, section 3."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from director import diagnostics, errors
from director.release import builds, digest, manifest, source, stores, text
from director.release.model import PackageSpec

LOCK = "spec.lock"


def vendor_package(directory: Path, name: str, origin: Path, *, prefix: str = "") -> list[str]:
    """Take the package and all it depends on from the release directory `origin`; their names here, dependencies first.

    They are finals there: each has an archive in that release's blobstore, which is copied to this one's. What a folder
    `packages/NAME` held before is replaced by `spec.lock`. Raises ReleaseError with all that is missing.
    """
    directory, origin = directory.resolve(), origin.resolve()
    release = source.read_source(origin)
    known = {item.name: PackageSpec(item.name, item.fingerprint, item.fingerprint, "", item.dependencies) for item in release.packages}
    if name not in known:
        raise errors.ReleaseError(
            f"Release '{release.name}' in '{origin}' has no package '{name}'", suggestion=diagnostics.did_you_mean(name, known))
    chosen = manifest.dependency_order(known, [name])
    entries = {
        item.name: builds.entries(builds.index_of(origin, "packages", item.name, final=True)).get(item.fingerprint) for item in chosen
    }
    lacking = [item for item, entry in entries.items() if entry is None or not entry.get("blobstore_id")]
    if lacking:
        raise errors.ReleaseError(*(
            diagnostics.Diagnostic(
                f"Package '{item}' with fingerprint '{known[item].fingerprint}' is in no final release of '{release.name}'",
                where=diagnostics.Where(str(origin / ".final_builds/packages" / item / "index.yml")),
                suggestion=f"Make one there first: caisson create-release --final --dir {origin}.")
            for item in lacking))
    theirs = stores.needed(stores.store_of(origin, source.read_config(origin)))
    ours = stores.needed(stores.store_of(directory, source.read_config(directory)))
    for package in chosen:
        entry = entries[package.name]
        assert entry is not None
        _copy(directory, _named(package.name, prefix), package.fingerprint, entry, theirs, ours)
    for package in chosen:
        _lock(directory, package, prefix)
    return [_named(package.name, prefix) for package in chosen]


def _named(name: str, prefix: str) -> str:
    return f"{prefix}-{name}" if prefix else name


def _copy(directory: Path, name: str, mark: str, entry: dict[str, object], theirs: stores.Blobstore, ours: stores.Blobstore) -> None:
    """The archive, and its line in the index of final builds; nothing to do when it is there."""
    index = builds.index_of(directory, "packages", name, final=True)
    if mark in builds.entries(index):
        return
    with tempfile.TemporaryDirectory(prefix="vendor-") as folder:
        archive = Path(folder) / "package.tgz"
        theirs.get(str(entry["blobstore_id"]), archive)
        digest.verify(archive, str(entry.get("sha1")), f"Package '{name}'")
        builds.record(index, mark, {"version": mark, "blobstore_id": ours.put(archive), "sha1": str(entry["sha1"])})


def _lock(directory: Path, package: PackageSpec, prefix: str) -> None:
    folder = directory / "packages" / _named(package.name, prefix)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    lock: dict[str, object] = {"name": folder.name, "fingerprint": package.fingerprint}
    if package.dependencies:
        lock["dependencies"] = [_named(item, prefix) for item in package.dependencies]
    builds.write(folder / LOCK, text.dump_yaml(lock))
