"""clean-up: what nothing uses goes. Source: planning contract, section 21; director API contract, section 6.10."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from director.diagnostics import Diagnostic
from director.errors import CaissonError, CloudError, ConflictError, NotFoundError
from director.execute import networks, upkeep
from director.execute.context import Context
from director.execute.export import KIND as EXPORTED
from director.execute.steps import disks
from director.execute.steps.orphan_vm import delete_orphaned_vms
from director.execute.uploads import drop_blob
from director.manifest import load
from director.release import versions
from director.state import Store
from director.state.blobs import BlobRow
from director.state.compiled_packages import CompiledPackageRow
from director.state.disks import DiskRow
from director.state.dns import DnsVersionRow
from director.state.stemcells import StemcellRow
from director.state.vms import OrphanedVmRow

KEPT, DNS_KEPT, DNS_SECONDS = 2, 10, 3600.0

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Leftovers:
    """What a clean-up deletes. `releases` are (name, version)."""

    releases: Sequence[tuple[str, str]]
    stemcells: Sequence[StemcellRow]
    compiled_packages: Sequence[CompiledPackageRow]
    orphaned_disks: Sequence[DiskRow]
    orphaned_vms: Sequence[OrphanedVmRow]
    exported_releases: Sequence[BlobRow]
    dns_versions: Sequence[DnsVersionRow]


def leftovers(store: Store, *, remove_all: bool = False, keep_orphaned_disks: bool = False) -> Leftovers:
    """Look, and change nothing. The two newest unused versions of each release and stemcell stay, unless `remove_all`."""
    kept = 0 if remove_all else KEPT
    releases, stemcells = _unused_releases(store, kept), _unused_stemcells(store, kept)
    dns = (1 if store.deployments.all() else 0, 0.0) if remove_all else (DNS_KEPT, DNS_SECONDS)
    return Leftovers(
        releases, stemcells, _useless_forms(store, releases, stemcells) if remove_all else [],
        store.disks.orphans() if remove_all and not keep_orphaned_disks else [], store.vms.orphans(), store.blobs.of_kind(EXPORTED),
        store.dns.expired(keep=dns[0], older_than_seconds=dns[1]),
    )


def clean_up(ctx: Context, *, remove_all: bool = False, keep_orphaned_disks: bool = False) -> str:
    """Delete them. What fails is told at the end, and does not stop the rest. The task's result."""
    vms = delete_orphaned_vms(ctx)
    networks.delete_orphaned(ctx, ctx.store.networks.orphans())
    found = leftovers(ctx.store, remove_all=remove_all, keep_orphaned_disks=keep_orphaned_disks)
    doing = _Deleting(ctx)
    releases = doing.each("Deleting releases", found.releases, "/".join, lambda item: upkeep.drop_release(ctx, *item))
    stemcells = doing.each(
        "Deleting stemcells", found.stemcells, lambda row: f"{row.name}/{row.version}", lambda row: upkeep.drop_stemcell(ctx, row))
    # Looked at again: not everything may have gone.
    forms = _useless_forms(ctx.store, (), ()) if remove_all else []
    compiled = doing.each(
        "Deleting compiled packages", forms, lambda row: f"{row.name} for {row.stemcell_os}/{row.stemcell_version}", doing.form)
    orphans = doing.each("Deleting orphaned disks", found.orphaned_disks, lambda row: row.cid, lambda row: disks.delete_disk(ctx, row))
    exports = doing.each("Deleting exported releases", found.exported_releases, lambda row: row.id, lambda row: drop_blob(ctx, row.id))
    records = doing.each("Deleting dns blobs", found.dns_versions, lambda row: str(row.version), doing.records)
    if doing.problems:
        raise CaissonError(*doing.problems)
    before = datetime.datetime.fromtimestamp(ctx.clock() - DNS_SECONDS, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"Deleted {releases} release(s), {stemcells} stemcell(s), {compiled} extra compiled package(s), {orphans} orphaned disk(s), "
        f"{vms} orphaned vm(s), {exports} exported release(s), Deleted {records} dns blob(s) created before {before}"
    )


class _Deleting:
    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.problems: list[Diagnostic] = []

    def each(self, title: str, items: Sequence[Item], name: Callable[[Item], str], delete: Callable[[Item], None]) -> int:
        """Answers how many are gone."""
        gone = 0
        stage = self._ctx.log.stage(title, len(items)) if items else None
        for item in items:
            assert stage is not None
            self._ctx.check()
            try:
                with stage.step(name(item)):
                    delete(item)
                gone += 1
            except ConflictError as error:
                self._ctx.log.warning(f"{name(item)} is in use by now: {error.message}")
            except (CloudError, NotFoundError) as error:  # not found: a CPI that was taken out of the CPI config
                self.problems.extend(error.diagnostics)
        return gone

    def form(self, row: CompiledPackageRow) -> None:
        with self._ctx.store.transaction():
            self._ctx.store.compiled_packages.delete(row.key)
            self._ctx.store.blobs.delete(row.blob_id)
        self._ctx.blobs.delete(row.blob_id)

    def records(self, row: DnsVersionRow) -> None:
        if row.blob_id:
            drop_blob(self._ctx, row.blob_id)
        self._ctx.store.dns.delete(row.version)


def _unused_releases(store: Store, kept: int) -> list[tuple[str, str]]:
    used = {(name, version) for _, name, version in store.deployments.releases()} | _of_runtime_configs(store)
    names = sorted({row.name for row in store.releases.all()})
    return [(name, version) for name in names for version in _oldest(
        [version for version in store.releases.versions(name) if (name, version) not in used], kept)]


def _of_runtime_configs(store: Store) -> set[tuple[str, str]]:
    found = set()
    for config in store.configs.current("runtime"):
        tree = load.load_yaml(config.content, config.name).tree or {}
        for release in tree.get("releases") or ():
            name, version = str(release.get("name")), str(release.get("version"))
            if version == "latest" or version.endswith(".latest"):
                version = versions.latest_of(version, store.releases.versions(name)) or version
            found.add((name, version))
    return found


def _unused_stemcells(store: Store, kept: int) -> list[StemcellRow]:
    used = {(name, version) for _, name, version in store.deployments.stemcells()}
    rows = [row for row in store.stemcells.all() if (row.name, row.version) not in used]
    doomed = {(name, version) for name in {row.name for row in rows} for version in _oldest(
        {row.version for row in rows if row.name == name}, kept)}
    return [row for row in rows if (row.name, row.version) in doomed]


def _useless_forms(store: Store, going: Iterable[tuple[str, str]], images: Iterable[StemcellRow]) -> list[CompiledPackageRow]:
    """Compiled packages of stemcells that are gone or `going`, but not those that could never be made again, since there is no source;
    and those made with dependencies that no release has any more. What goes with a release that is `going` is not listed."""
    gone = {row.id for row in images}
    there = {(row.os, row.version) for row in store.stemcells.all() if row.id not in gone}
    staying = store.releases.load(sorted({(row.name, row.version) for row in store.releases.all()} - set(going)))
    packages = {(item.name, item.fingerprint) for release in staying for item in release.packages}
    fitting = {form.blob_id for release in staying for form in release.compiled_packages}
    precious = {
        form.blob_id for release in staying for form in release.compiled_packages
        if (package := release.package(form.name)) is None or not package.blob_id
    }
    return [
        row for row in store.compiled_packages.all()
        if (row.name, row.fingerprint) in packages and row.blob_id not in precious
        and (row.blob_id not in fitting or (row.stemcell_os, row.stemcell_version) not in there)
    ]


def _oldest(texts: Iterable[str], kept: int) -> list[str]:
    ordered = sorted(texts, key=lambda text: versions.parse_stemcell(text).key)
    return ordered[:len(ordered) - kept] if kept else ordered
