"""The indexes of a release directory: which archive was built for which fingerprint, and which versions were made.

Source: release contract, section 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from director import errors
from director.release import digest, stores, text


def index_of(directory: Path, kind: str, name: str, *, final: bool) -> Path:
    """The index file of a job, package (`kind` jobs, packages) or the license (no name)."""
    return directory / (".final_builds" if final else ".dev_builds") / kind / name / "index.yml"


def entries(index: Path) -> dict[str, dict[str, Any]]:
    """By fingerprint, or by an id in the indexes of versions; {} without the file."""
    tree = text.read_map(index.read_text("utf-8"), index.name) if index.is_file() else {}
    return {str(key): value for key, value in (tree.get("builds") or {}).items() if isinstance(value, dict)}


def versions_of(index: Path) -> list[str]:
    """In the order in which they were made."""
    return [str(entry["version"]) for entry in entries(index).values() if "version" in entry]


def record(index: Path, key: str, entry: dict[str, Any]) -> None:
    """Add an entry."""
    index.parent.mkdir(parents=True, exist_ok=True)
    write(index, text.dump_yaml({"builds": {**entries(index), key: entry}, "format-version": "2"}))


def write(path: Path, content: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(content, "utf-8")
    partial.replace(path)


def intact(archive: Path, expected: str) -> bool:
    """Whether a file has the digest."""
    try:
        digest.verify(archive, expected, "archive")
    except errors.ReleaseError:
        return False
    return True


def fetched(entry: dict[str, Any], archive: Path, store: stores.Blobstore | None) -> bool:
    """Get an archive that an index of final builds lists. False when it was never uploaded or there is no blobstore.

    Raises ReleaseError when the blobstore lacks it, or has something else.
    """
    object_id = entry.get("blobstore_id")
    if store is None or not object_id:
        return False
    archive.parent.mkdir(parents=True, exist_ok=True)
    store.get(str(object_id), archive)
    digest.verify(archive, str(entry.get("sha1")), f"Blob '{object_id}'")
    return True


def archive_of(directory: Path, kind: str, name: str, fingerprint: str, expected: str, store: stores.Blobstore | None) -> Path:
    """The archive of a fingerprint: one that was built here, or the final one of the blobstore. Raises ReleaseError when it is nowhere."""
    archive = index_of(directory, kind, name, final=False).with_name(f"{fingerprint}.tgz")
    if archive.is_file() and intact(archive, expected):
        return archive
    entry = entries(index_of(directory, kind, name, final=True)).get(fingerprint)
    if entry is None or not fetched(entry, archive, store):
        what = f"{kind.removesuffix('s')} '{name}'" if name else "the license"
        raise errors.ReleaseError(
            f"The archive of {what} with fingerprint '{fingerprint}' is neither in .dev_builds nor in .final_builds",
            suggestion="Make the release again, from the commit that it was made from.")
    return archive
