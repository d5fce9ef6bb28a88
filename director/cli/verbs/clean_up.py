"""`clean-up`: what nothing uses any more."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb

# Key of the director's answer -> title, columns and the keys that fill them.
_KINDS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("releases", "releases", ("Name", "Version"), ("name", "version")),
    ("stemcells", "stemcells", ("Name", "Version", "OS", "CPI", "CID"), ("name", "version", "operating_system", "cpi", "cid")),
    ("compiled_packages", "compiled packages", ("Package", "OS", "Version"), ("package_name", "stemcell_os", "stemcell_version")),
    ("orphaned_disks", "orphaned disks", ("Disk CID", "Size", "Deployment", "Instance"),
     ("disk_cid", "size", "deployment_name", "instance_name")),
    ("orphaned_vms", "orphaned VMs", ("VM CID", "Deployment", "Instance"), ("cid", "deployment_name", "instance_name")),
    ("exported_releases", "exported releases", ("Blobstore ID",), ("id",)),
    ("dns_blobs", "DNS blobs", ("Blobstore ID",), ("id",)),
)


@verb(examples=("caisson clean-up", "caisson clean-up --all --keep-orphaned-disks", "caisson clean-up --all --dry-run"))
@click.option("--all", "everything", is_flag=True, help="Keep no unused release or stemcell, and no orphaned disk")
@click.option("--keep-orphaned-disks", is_flag=True, help="With --all: keep the disks")
@click.option("--dry-run", is_flag=True, help="Only list what would go")
def command(session: Session, everything: bool, keep_orphaned_disks: bool, dry_run: bool) -> None:
    """Delete unused releases, stemcells and leftovers."""
    if dry_run:
        query = [("remove_all", "true" if everything else "false"), ("keep_orphaned_disks", "true" if keep_orphaned_disks else "false")]
        _show(session, session.client.get("/cleanup/dryrun", *query))
        return
    session.client  # noqa: B018 - says which environment before it asks
    session.ui.confirm()
    session.follow(session.client.clean_up(remove_all=everything, keep_orphaned_disks=keep_orphaned_disks))


def _show(session: Session, found: dict[str, Any]) -> None:
    """A table of each kind of which there is something."""
    rows = {**found, "releases": [
        {"name": item["name"], "version": version} for item in found.get("releases") or [] for version in item["versions"]]}
    for kind in ("exported_releases", "dns_blobs"):
        rows[kind] = [{"id": item} for item in found.get(kind) or []]
    chosen = [(title, header, keys, rows[kind]) for kind, title, header, keys in _KINDS if rows.get(kind)]
    for title, header, keys, items in chosen:
        session.ui.table(Table(title, header, tuple(tuple(item.get(key) for key in keys) for item in items), fill_first=False))
    if not chosen:
        session.ui.line("There is nothing to delete")
