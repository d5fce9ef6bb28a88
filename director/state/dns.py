"""Versions of the DNS records, the blob of each, and how far machines are."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from director.state import database, tables

_table = tables.dns_versions


@dataclasses.dataclass(frozen=True)
class DnsVersionRow:
    """`version` grows strictly, also over deleted ones. `blob_id` is '' until it is published. `digest` is the blob's (`sha256:HEX`),
    `content_digest` that of the records without the version, so that equal records need no new one."""

    version: int
    blob_id: str
    digest: str
    content_digest: str
    created_at: float


class Dns(database.Repository):
    """Source: DNS contract, section 1."""

    def begin(self, content_digest: str, *, after: int = 0) -> DnsVersionRow:
        """Draw the next version, a higher one than `after`. Not seen by `latest` before `publish`, since the blob carries the number."""
        now = self._db.clock()
        row = {"blob_id": "", "digest": "", "content_digest": content_digest, "created_at": now}
        with self._db.write():
            number = self._insert(_table, row)
            if number <= after:
                self._delete(_table, _table.c.version == number)
                number = self._insert(_table, {**row, "version": after + 1})
        return DnsVersionRow(number, "", "", content_digest, now)

    def publish(self, version: int, blob_id: str, digest: str) -> None:
        """The version's blob is in the blobstore."""
        self._change(_table, _table.c.version == version, {"blob_id": blob_id, "digest": digest})

    def latest(self) -> DnsVersionRow | None:
        """The newest published version."""
        return self._one(DnsVersionRow, sa.select(_table).where(_table.c.blob_id != "").order_by(_table.c.version.desc()))

    def find(self, version: int) -> DnsVersionRow | None:
        return self._one(DnsVersionRow, sa.select(_table).where(_table.c.version == version))

    def since(self, version: int) -> float | None:
        """When the first published version after this one was made, as far as versions are kept; None when there is none."""
        later = sa.select(_table).where(_table.c.version > version, _table.c.blob_id != "").order_by(_table.c.version)
        found = self._one(DnsVersionRow, later)
        return None if found is None else found.created_at

    def acknowledge(self, instance_id: str, version: int) -> None:
        """The instance's machine has written this version. An older one than it had changes nothing."""
        table = tables.instances
        self._change(table, (table.c.id == instance_id) & (table.c.dns_version < version), {"dns_version": version})

    def acknowledged(self) -> int:
        """The newest version that any machine has, 0 for none. Of a director restored from an old copy it may be one that it never made."""
        return int(self._value(sa.select(sa.func.max(tables.instances.c.dns_version))) or 0)

    def forget_acknowledgement(self, instance_id: str) -> None:
        """The instance has a new machine that has no records yet."""
        self._change(tables.instances, tables.instances.c.id == instance_id, {"dns_version": 0})

    def behind(self, version: int) -> list[str]:
        """Ids of instances with an active VM that have not acknowledged `version` yet."""
        table, vms = tables.instances, tables.vms
        query = (
            sa.select(table.c.id).join(vms, vms.c.instance_id == table.c.id).where(vms.c.active, table.c.dns_version < version)
            .order_by(table.c.id))
        with self._db.read() as connection:
            return [id for (id,) in connection.execute(query)]

    def expired(self, *, keep: int = 10, older_than_seconds: float = 3600.0) -> list[DnsVersionRow]:
        """Versions that may be deleted: neither among the `keep` newest nor young."""
        rows = self._many(DnsVersionRow, sa.select(_table).order_by(_table.c.version.desc()))
        limit = self._db.clock() - older_than_seconds
        return [row for row in rows[keep:] if row.created_at <= limit]

    def delete(self, version: int) -> None:
        """Forget a version; the caller deletes its blob."""
        self._delete(_table, _table.c.version == version)
