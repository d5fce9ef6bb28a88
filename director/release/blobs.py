"""`config/blobs.yml` and `blobs/`: large files of a release that are not committed. Source: release contract, sections 1 and 6."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from director import diagnostics, errors
from director.release import digest, text


class _Source(Protocol):
    def get(self, object_id: str, destination: Path) -> None: ...


@dataclasses.dataclass(frozen=True)
class Blob:
    """One entry. `digest` is a digest text, `object_id` empty when it was never uploaded."""

    path: str
    size: int
    digest: str
    object_id: str = ""


def read_index(directory: Path) -> dict[str, Blob]:
    """`config/blobs.yml` by path; {} without one. Raises ReleaseError for entries that make no sense."""
    file = directory / "config" / "blobs.yml"
    if not file.is_file():
        return {}
    problems = diagnostics.Diagnostics()
    found: dict[str, Blob] = {}
    for path, entry in text.read_map(file.read_text("utf-8"), "config/blobs.yml").items():
        where = diagnostics.Where("config/blobs.yml", path=path)
        if not path or path.startswith("/") or ".." in path.split("/"):
            problems.add(f"Blob '{path}' leads out of blobs/", where=where)
        elif not isinstance(entry, dict) or not isinstance(entry.get("size"), int) or not digest.parse(str(entry.get("sha"))):
            problems.add(f"Blob '{path}' needs a size and a digest ('sha')", where=where)
        else:
            found[path] = Blob(path, entry["size"], str(entry["sha"]), str(entry.get("object_id") or ""))
    if problems.errors:
        raise errors.ReleaseError(*problems.errors)
    return found


def is_current(directory: Path, blob: Blob) -> bool:
    """Whether `blobs/PATH` is there with the recorded size and digest."""
    path = directory / "blobs" / blob.path
    if path.is_symlink() or not path.is_file() or path.stat().st_size != blob.size:
        return False
    try:
        digest.verify(path, blob.digest, blob.path)
    except errors.ReleaseError:
        return False
    return True


def fetch(directory: Path, store: _Source | None) -> None:
    """Make `blobs/` equal to `config/blobs.yml`: fetch what is missing or wrong, remove what is not listed. Raises ReleaseError."""
    index = read_index(directory)
    root = directory / "blobs"
    problems = diagnostics.Diagnostics()
    for path in sorted(root.rglob("*")) if root.is_dir() else []:
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            problems.add(f"'blobs/{name}' is a link, expected a file", suggestion="Replace it by the file itself.")
        elif path.is_file() and name not in index:
            path.unlink()
    for blob in index.values():
        if not is_current(directory, blob):
            _fetch(root, blob, store, problems)
    if problems.errors:
        raise errors.ReleaseError(*problems.errors)


def _fetch(root: Path, blob: Blob, store: _Source | None, problems: diagnostics.Diagnostics) -> None:
    where = diagnostics.Where("config/blobs.yml", path=blob.path)
    if not blob.object_id:
        problems.add(
            f"Blob '{blob.path}' is missing in blobs/ or changed, and was never uploaded", where=where,
            suggestion="Put the file there again, or correct its entry.",
        )
        return
    if store is None:
        problems.add(
            f"Blob '{blob.path}' cannot be fetched: no blobstore is configured", where=where,
            suggestion="Set 'blobstore' in config/final.yml.",
        )
        return
    target = root / blob.path
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    try:
        store.get(blob.object_id, partial)
        digest.verify(partial, blob.digest, f"Blob '{blob.path}'")
        partial.replace(target)
    except errors.ReleaseError as error:
        problems.extend(error.diagnostics)
    finally:
        partial.unlink(missing_ok=True)


def write_index(directory: Path, entries: Mapping[str, Mapping[str, Any]], comments: Mapping[str, str] | None = None) -> None:
    """Write `config/blobs.yml`, sorted by path; `comments` puts a comment line above an entry. Unchanged content is not written."""
    comments = comments or {}
    lines = ["---"] if entries else ["--- {}"]
    for path, entry in sorted(entries.items()):
        if path in comments:
            lines.append(f"# {comments[path]}")
        lines.append(text.dump_yaml({path: dict(entry)}).rstrip("\n"))
    content = "\n".join(lines) + "\n"
    file = directory / "config" / "blobs.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file() or file.read_text("utf-8") != content:
        partial = file.with_name(".blobs.yml.part")
        partial.write_text(content, "utf-8")
        partial.replace(file)
