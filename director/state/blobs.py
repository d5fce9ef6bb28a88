"""The index of the blobstore: what each blob is, for clean-up and for the API."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from director import errors
from director.state import database, tables

_table = tables.blobs


@dataclasses.dataclass(frozen=True)
class BlobRow:
    """`kind` is package, job, compiled-package, rendered, exported-release, logs, dns, upload or another word. `size` in bytes."""

    id: str
    kind: str
    sha256: str
    size: int
    sha1: str = ""
    created_at: float = 0.0


class Blobs(database.Repository):
    """Rows only; the bytes are in `director.blobs`."""

    def add(self, blob: BlobRow) -> BlobRow:
        """`created_at` 0 becomes now. Raises ConflictError when the id is known."""
        blob = dataclasses.replace(blob, created_at=blob.created_at or self._db.clock())
        self._insert(_table, database.values_of(blob))
        return blob

    def find(self, id: str) -> BlobRow | None:
        return self._one(BlobRow, sa.select(_table).where(_table.c.id == id))

    def get(self, id: str) -> BlobRow:
        """Raises NotFoundError (100002)."""
        found = self.find(id)
        if found is None:
            raise errors.NotFoundError(f"Blob '{id}' not found in the blobstore", code=100002)
        return found

    def by_sha256(self, sha256: str) -> BlobRow | None:
        """The newest blob with this content; `sha256` is bare hex."""
        return self._one(BlobRow, sa.select(_table).where(_table.c.sha256 == sha256).order_by(_table.c.created_at.desc()))

    def of_kind(self, kind: str) -> list[BlobRow]:
        """Oldest first."""
        return self._many(BlobRow, sa.select(_table).where(_table.c.kind == kind).order_by(_table.c.created_at, _table.c.id))

    def delete(self, id: str) -> None:
        """Forget it."""
        self._delete(_table, _table.c.id == id)
