"""`config/blobs.yml` and `blobs/`: large files of a release that are not committed. Source: release contract, sections 1 and 6."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from director import diagnostics, errors
from director.release import digest, fingerprint, text


class _Source(Protocol):
    def get(self, object_id: str, destination: Path) -> None: ...


class _Sink(Protocol):
    def put(self, path: Path) -> str: ...


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


def add(directory: Path, file: Path, path: str) -> Blob:
    """Copy a file to `blobs/PATH` and list it, not uploaded yet. Raises ReleaseError."""
    if not file.is_file():
        raise errors.ReleaseError(f"There is no file '{file}'")
    if not path or path.startswith("/") or {"..", "."} & set(path.split("/")) or path.endswith("/"):
        raise errors.ReleaseError(f"Blob '{path}' would not be a file of blobs/", suggestion="Give a path such as 'golang/go1.22.tgz'.")
    read_index(directory)
    target = directory / "blobs" / path
    if target.is_dir():
        raise errors.ReleaseError(f"'blobs/{path}' is a folder", suggestion=f"Name the file too: {path}/{file.name}.")
    if not (target.is_file() and target.samefile(file)):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.part")
        shutil.copy2(file, partial)
        partial.replace(target)
    blob = Blob(path, target.stat().st_size, fingerprint.digest_of(target))
    _save(directory, {**_entries(directory), path: _entry(blob)})
    return blob


def remove(directory: Path, path: str) -> None:
    """List it no more, and remove `blobs/PATH`. What the blobstore has stays: earlier commits need it. Raises ReleaseError."""
    listed = read_index(directory)
    if path not in listed:
        raise errors.ReleaseError(
            f"Blob '{path}' is not in config/blobs.yml", suggestion=diagnostics.did_you_mean(path, listed) or "'caisson blobs' lists them.")
    (directory / "blobs" / path).unlink(missing_ok=True)
    _save(directory, {key: entry for key, entry in _entries(directory).items() if key != path})


def upload(directory: Path, store: _Sink) -> list[Blob]:
    """Put what was never uploaded into the blobstore; those, with their ids. Raises ReleaseError with all that are missing or changed."""
    waiting = [blob for blob in read_index(directory).values() if not blob.object_id]
    problems = diagnostics.Diagnostics()
    for blob in waiting:
        if not is_current(directory, blob):
            _fetch(directory / "blobs", blob, None, problems)
    if problems.errors:
        raise errors.ReleaseError(*problems.errors)
    done = []
    for blob in waiting:
        blob = dataclasses.replace(blob, object_id=store.put(directory / "blobs" / blob.path))
        # One by one: what is uploaded must not be forgotten because the next one fails.
        _save(directory, {**_entries(directory), blob.path: {**_entries(directory)[blob.path], "object_id": blob.object_id}})
        done.append(blob)
    return done


def _entry(blob: Blob) -> dict[str, Any]:
    return {"size": blob.size, **({"object_id": blob.object_id} if blob.object_id else {}), "sha": blob.digest}


def _entries(directory: Path) -> dict[str, dict[str, Any]]:
    file = directory / "config" / "blobs.yml"
    return text.read_map(file.read_text("utf-8"), "config/blobs.yml") if file.is_file() else {}


def _save(directory: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """With the comments above entries as they are."""
    file = directory / "config" / "blobs.yml"
    comments: dict[str, str] = {}
    above = ""
    for line in file.read_text("utf-8").splitlines() if file.is_file() else []:
        if line and not line[0].isspace() and line.rstrip().endswith(":") and above:
            comments.update(dict.fromkeys(text.read_map(line, file.name), above))
        above = line[1:].strip() if line.startswith("#") else ""
    write_index(directory, entries, comments)


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
