"""Where final releases keep archives and blobs: the blobstore of `config/final.yml`. Source: release contract, section 1."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any, Protocol

from director import errors


class Blobstore(Protocol):
    """Objects by id."""

    def get(self, object_id: str, destination: Path) -> None:
        """Write the object's content to a path."""

    def put(self, path: Path) -> str:
        """Store a file; its object id."""


class LocalStore:
    """The provider `local`: a folder of objects."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, object_id: str, destination: Path) -> None:
        found = self._root / object_id
        if "/" in object_id or not found.is_file():
            raise errors.ReleaseError(
                f"Blob '{object_id}' is not in the blobstore '{self._root}'", suggestion="Is 'blobstore_path' in config/final.yml right?")
        shutil.copyfile(found, destination)

    def put(self, path: Path) -> str:
        self._root.mkdir(parents=True, exist_ok=True)
        object_id = str(uuid.uuid4())
        partial = self._root / f".{object_id}.part"
        shutil.copyfile(path, partial)
        partial.replace(self._root / object_id)
        return object_id


class _Unsupported:
    """Another provider: an error only when it is needed."""

    def __init__(self, provider: str) -> None:
        self._error = errors.ReleaseError(
            f"Blobstore provider '{provider}' of config/final.yml is not supported here",
            suggestion="Use 'provider: local' with 'options: {blobstore_path: FOLDER}', in config/private.yml if it must not be committed.")

    def get(self, object_id: str, destination: Path) -> None:
        raise self._error

    def put(self, path: Path) -> str:
        raise self._error


def store_of(directory: Path, config: dict[str, Any]) -> Blobstore | None:
    """The blobstore that `config` (see `source.read_config`) names; relative paths are below `directory`. None when it names none."""
    section = config.get("blobstore") or {}
    provider = str(section.get("provider") or "")
    if provider != "local":
        return _Unsupported(provider) if provider else None
    path = (section.get("options") or {}).get("blobstore_path")
    if not path:
        raise errors.ReleaseError("The blobstore 'local' needs 'options: {blobstore_path: FOLDER}' in config/final.yml or private.yml")
    return LocalStore(directory / str(path))


def needed(store: Blobstore | None) -> Blobstore:
    """The store. Raises ReleaseError when there is none."""
    if store is None:
        raise errors.ReleaseError(
            "No blobstore is configured",
            suggestion="Write 'blobstore: {provider: local, options: {blobstore_path: FOLDER}}' into config/final.yml.")
    return store
