"""Releases, stemcells and disks go when nothing uses them. Source: planning contract, section 21."""

from __future__ import annotations

from director.blobs import LocalBlobstore
from director.diagnostics import Diagnostic
from director.errors import CloudError, ConflictError, NotFoundError
from director.execute.context import Context
from director.execute.steps import disks
from director.state import Store
from director.state.disks import DiskRow
from director.state.stemcells import StemcellRow

RELEASE_IN_USE, VERSION_IN_USE, STEMCELL_IN_USE, ACTIVE_DISK = 30007, 30008, 50004, 520000
DISKS_KEPT_SECONDS = 5 * 86400
LOGS_KEPT_SECONDS = 86400.0


def sweep_blobs(store: Store, blobs: LocalBlobstore, now: float) -> int:
    """Remove what no row knows (a director died between writing a blob and its row), and packed logs that are a day old.

    Only while no task runs. Answers how many were removed.
    """
    stale = [blob_id for blob_id in blobs.ids() if store.blobs.find(blob_id) is None]
    stale += [row.id for row in store.blobs.of_kind("logs") if row.created_at < now - LOGS_KEPT_SECONDS]
    for blob_id in stale:
        store.blobs.delete(blob_id)
        blobs.delete(blob_id)
    return len(stale)


def delete_release(ctx: Context, name: str, version: str = "") -> str:
    """One version, or all. Raises NotFoundError, ConflictError while a deployment uses it. The task's result."""
    known = ctx.store.releases.versions(name)
    if not known:
        raise NotFoundError(f"Release '{name}' doesn't exist", code=30005)
    if version and version not in known:
        raise NotFoundError(f"Release version '{name}/{version}' doesn't exist", code=30006)
    chosen = [version] if version else known
    _refuse_used(ctx, name, chosen, whole=not version)
    with ctx.event("delete", "release", f"{name}/{version}" if version else name):
        stage = ctx.log.stage("Deleting release", len(chosen))
        for item in chosen:
            with stage.step(f"{name}/{item}"):
                drop_release(ctx, name, item)
    return f"/release/{name}"


def drop_release(ctx: Context, name: str, version: str) -> None:
    """Rows first: a blob without a row is found by a sweep. Raises ConflictError when a deployment has taken it up meanwhile."""
    with ctx.store.transaction(durable=True):
        _refuse_used(ctx, name, [version])
        blobs = ctx.store.releases.delete(name, version)
        for blob in blobs:
            ctx.store.blobs.delete(blob)
    for blob in blobs:
        ctx.blobs.delete(blob)


def _refuse_used(ctx: Context, name: str, chosen: list[str], *, whole: bool = False) -> None:
    users = sorted({deployment for deployment, release, used in ctx.store.deployments.releases() if release == name and used in chosen})
    if users:
        what = f"Release '{name}'" if whole else f"ReleaseVersion '{name}/{chosen[0]}'"
        raise ConflictError(Diagnostic(
            f"{what} is still in use by: {', '.join(users)}", code=RELEASE_IN_USE if whole else VERSION_IN_USE,
            suggestion="Deploy those with another version first, or delete them.",
        ))


def delete_stemcell(ctx: Context, name: str, version: str, *, force: bool = False) -> str:
    """From all CPIs; `force` goes on where a cloud fails. Raises NotFoundError, CloudError, ConflictError while a deployment uses it.

    The task's result.
    """
    rows = ctx.store.stemcells.on_all_cpis(name, version)
    if not rows:
        raise NotFoundError(f"Stemcell '{name}/{version}' doesn't exist", code=50003)
    with ctx.event("delete", "stemcell", f"{name}/{version}"):
        stage = ctx.log.stage("Deleting stemcell from cloud", len(rows))
        for row in rows:
            try:
                with stage.step(f"{row.name}/{row.version}{f' (cpi: {row.cpi})' if row.cpi else ''}"):
                    drop_stemcell(ctx, row)
            except (CloudError, NotFoundError) as error:  # not found: the CPI, which was taken out of the CPI config
                if not force:
                    raise
                ctx.log.warning(f"Image '{row.cid}' may be left in the cloud: {error.message}")
                ctx.store.stemcells.delete(row.id)
    return f"/stemcells/{name}/{version}"


def drop_stemcell(ctx: Context, row: StemcellRow) -> None:
    """From one CPI. Raises CloudError, ConflictError while a deployment uses it."""
    users = sorted({
        deployment for deployment, name, version in ctx.store.deployments.stemcells() if (name, version) == (row.name, row.version)})
    if users:
        raise ConflictError(Diagnostic(
            f"Stemcell '{row.name}/{row.version}' is still in use by: {', '.join(users)}", code=STEMCELL_IN_USE,
            suggestion="Deploy those with another stemcell first, or delete them.",
        ))
    ctx.journal.perform(
        "delete_stemcell", f"delete-{row.token}-{ctx.new_id()}", "", f"Deleting stemcell {row.name}/{row.version}",
        {"cid": row.cid, "cpi": row.cpi}, lambda: ctx.cpi(row.cpi).delete_stemcell(row.cid),
        lambda _: ctx.store.stemcells.delete(row.id),
    )


def delete_orphaned_disk(ctx: Context, cid: str) -> str:
    """For ever. Raises ConflictError for a disk of an instance; one that is unknown is gone already. The task's result."""
    disk = ctx.store.disks.find(cid)
    if disk is not None and disk.instance_id is not None:
        raise ConflictError(f"Deleting persistent disk is not supported: [{cid}]", code=ACTIVE_DISK,
                            suggestion="Delete the instance first; its disk is orphaned then.")
    stage = ctx.log.stage("Deleting orphaned disks", 1)
    with stage.step(cid):
        if disk is not None:
            disks.delete_disk(ctx, disk)
    return f"orphaned disk(s) {cid} deleted"


def delete_old_disks(ctx: Context) -> str:
    """Orphaned disks that nobody asked for in five days. The task's result."""
    old = ctx.store.disks.orphans(older_than_seconds=DISKS_KEPT_SECONDS)
    return f"Deleted {_delete_disks(ctx, old)} orphaned disk(s) that were orphaned more than {DISKS_KEPT_SECONDS // 86400} days ago"


def _delete_disks(ctx: Context, orphans: list[DiskRow]) -> int:
    stage = ctx.log.stage("Deleting orphaned disks", len(orphans)) if orphans else None
    for disk in orphans:
        assert stage is not None
        with stage.step(disk.cid):
            disks.delete_disk(ctx, disk)
    return len(orphans)
