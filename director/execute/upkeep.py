"""Releases, stemcells, disks and orphaned machines go when nothing uses them. Source: planning contract, section 21."""

from __future__ import annotations

import datetime

from director.blobs import LocalBlobstore
from director.diagnostics import Diagnostic
from director.errors import ConflictError, NotFoundError
from director.execute.context import Context
from director.execute.steps import disks
from director.execute.steps.orphan_vm import Lock, delete_orphaned_vms
from director.execute.uploads import drop_blob
from director.manifest import load
from director.release import versions
from director.state import Store
from director.state.disks import DiskRow
from director.state.stemcells import StemcellRow

RELEASE_IN_USE, VERSION_IN_USE, STEMCELL_IN_USE, ACTIVE_DISK = 30007, 30008, 50004, 520000
KEPT = 2
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


def delete_release(ctx: Context, name: str, version: str = "", *, force: bool = False) -> str:
    """One version, or all. Raises NotFoundError, ConflictError while a deployment uses it. The task's result."""
    known = ctx.store.releases.versions(name)
    if not known:
        raise NotFoundError(f"Release '{name}' doesn't exist", code=30005)
    if version and version not in known:
        raise NotFoundError(f"Release version '{name}/{version}' doesn't exist", code=30006)
    chosen = [version] if version else known
    users = sorted({deployment for deployment, release, used in ctx.store.deployments.releases() if release == name and used in chosen})
    if users and not force:
        what = f"ReleaseVersion '{name}/{version}'" if version else f"Release '{name}'"
        raise ConflictError(Diagnostic(
            f"{what} is still in use by: {', '.join(users)}", code=VERSION_IN_USE if version else RELEASE_IN_USE,
            suggestion="Deploy those with another version first, or delete them.",
        ))
    with ctx.event("delete", "release", f"{name}/{version}" if version else name):
        for item in chosen:
            _drop_release(ctx, name, item)
    return f"/release/{name}"


def _drop_release(ctx: Context, name: str, version: str) -> None:
    stage = ctx.log.stage("Deleting release", 1)
    with stage.step(f"{name}/{version}"):
        for blob in ctx.store.releases.delete(name, version):
            drop_blob(ctx, blob)


def delete_stemcell(ctx: Context, name: str, version: str, *, force: bool = False) -> str:
    """From all CPIs. Raises NotFoundError, ConflictError while a deployment uses it. The task's result."""
    rows = ctx.store.stemcells.on_all_cpis(name, version)
    if not rows:
        raise NotFoundError(f"Stemcell '{name}/{version}' doesn't exist", code=50003)
    users = sorted({deployment for deployment, stemcell, used in ctx.store.deployments.stemcells() if (stemcell, used) == (name, version)})
    if users and not force:
        raise ConflictError(Diagnostic(
            f"Stemcell '{name}/{version}' is still in use by: {', '.join(users)}", code=STEMCELL_IN_USE,
            suggestion="Deploy those with another stemcell first, or delete them.",
        ))
    with ctx.event("delete", "stemcell", f"{name}/{version}"):
        for row in rows:
            _drop_stemcell(ctx, row)
    return f"/stemcells/{name}/{version}"


def _drop_stemcell(ctx: Context, row: StemcellRow) -> None:
    def act() -> None:
        ctx.cpi(row.cpi).delete_stemcell(row.cid)

    stage = ctx.log.stage("Deleting stemcell from cloud", 1)
    with stage.step(f"{row.name}/{row.version}"):
        ctx.journal.perform(
            "delete_stemcell", f"delete-{row.token}-{ctx.new_id()}", "", f"Deleting stemcell {row.name}/{row.version}",
            {"cid": row.cid, "cpi": row.cpi}, act, lambda _: ctx.store.stemcells.delete(row.id),
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


def clean_up(ctx: Context, lock_vm: Lock, *, remove_all: bool = False, keep_orphaned_disks: bool = False) -> str:
    """What nothing uses: orphaned VMs, old release versions and stemcells, with `remove_all` all of them and orphaned disks.
    The task's result."""
    vms = delete_orphaned_vms(ctx, lock_vm)
    kept = 0 if remove_all else KEPT
    releases = _unused_releases(ctx, kept)
    for name, version in releases:
        _drop_release(ctx, name, version)
    stemcells = _unused_stemcells(ctx, kept)
    for row in stemcells:
        _drop_stemcell(ctx, row)
    orphans = ctx.store.disks.orphans() if remove_all and not keep_orphaned_disks else []
    _delete_disks(ctx, orphans)
    blobs = ctx.store.dns.expired()
    for version_row in blobs:
        drop_blob(ctx, version_row.blob_id)
        ctx.store.dns.delete(version_row.version)
    before = datetime.datetime.fromtimestamp(ctx.clock() - 3600, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"Deleted {len(releases)} release(s), {len(stemcells)} stemcell(s), 0 extra compiled package(s), {len(orphans)} orphaned disk(s), "
        f"{vms} orphaned vm(s), 0 exported release(s), Deleted {len(blobs)} dns blob(s) created before {before}"
    )


def _unused_releases(ctx: Context, kept: int) -> list[tuple[str, str]]:
    used = {(name, version) for _, name, version in ctx.store.deployments.releases()} | _of_runtime_configs(ctx)
    names = sorted({row.name for row in ctx.store.releases.all()})
    return [(name, version) for name in names for version in _oldest(
        [version for version in ctx.store.releases.versions(name) if (name, version) not in used], kept)]


def _of_runtime_configs(ctx: Context) -> set[tuple[str, str]]:
    found = set()
    for config in ctx.store.configs.current("runtime"):
        tree = load.load_yaml(config.content, config.name).tree or {}
        for release in tree.get("releases") or ():
            name, version = str(release["name"]), str(release["version"])
            if version == "latest":
                version = versions.latest_of("", ctx.store.releases.versions(name)) or version
            found.add((name, version))
    return found


def _unused_stemcells(ctx: Context, kept: int) -> list[StemcellRow]:
    used = {(name, version) for _, name, version in ctx.store.deployments.stemcells()}
    rows = [row for row in ctx.store.stemcells.all() if (row.name, row.version) not in used]
    doomed = {(name, version) for name in {row.name for row in rows} for version in _oldest(
        list({row.version for row in rows if row.name == name}), kept)}
    return [row for row in rows if (row.name, row.version) in doomed]


def _oldest(texts: list[str], kept: int) -> list[str]:
    ordered = versions.sort(texts)
    return ordered[:len(ordered) - kept] if kept else ordered
