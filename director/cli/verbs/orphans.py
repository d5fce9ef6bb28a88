"""`orphans`: what is left over, as the director's records know it, or as the clouds do."""

from __future__ import annotations

import json
from typing import Any

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError

_ABOUT = ("name", "instance_group", "job", "deployment")


@verb(examples=(
    "caisson orphans", "caisson orphans --cloud", "caisson orphans --cloud --cpi aws-eu --json", "caisson orphans --cloud --remove",
))
@click.option("--cloud", is_flag=True, help="Ask the clouds for what carries this director's mark and stands in no record")
@click.option("--cpi", default="", metavar="NAME", help="With --cloud: only this CPI's [all]")
@click.option("--remove", is_flag=True, help="With --cloud: delete what was listed, after a yes")
def command(session: Session, cloud: bool, cpi: str, remove: bool) -> None:
    """List disks, machines and networks that nothing uses any more.

    With --cloud list what is in the clouds and stands in no record of the director: left by a creation whose answer was lost, for
    example. Things younger than 15 minutes are left alone. Nothing is deleted without --remove and a yes.
    """
    if not cloud:
        if cpi or remove:
            raise UsageError("--cpi and --remove go with --cloud", suggestion="'caisson clean-up --all' deletes orphans of the records.")
        _recorded(session)
        return
    orphans = _of_clouds(session, cpi)
    if remove and orphans:
        one, lost = len(orphans) == 1, sum(not row["cid"] for row in orphans)
        if lost:
            session.ui.line(f"{lost} without a CID can only be forgotten. Look in the cloud for the tag caisson-token before.", "warn")
        session.ui.confirm(f"Delete {'this' if one else f'these {len(orphans)}'} for ever, with all data on {'it' if one else 'them'}?")
        chosen = [{key: row[key] for key in ("cpi", "kind", "cid", "token")} for row in orphans]
        session.follow(session.client.remove_cloud_orphans(chosen))


def _of_clouds(session: Session, cpi: str) -> list[dict[str, Any]]:
    from director.cli.follow import SilentReporter, duration
    from director.cli.tables import Cell, Table

    told = session.follow(session.client.cloud_orphans(cpi or None), SilentReporter())
    rows = [json.loads(line) for line in told.splitlines() if line.strip()]
    orphans = [row for row in rows if "young" not in row]
    young = sum(row["young"] for row in rows if "young" in row)

    def age(row: dict[str, Any]) -> str:
        return "unknown" if row["age_seconds"] is None else duration(row["age_seconds"])

    session.ui.table(Table(
        "cloud_orphans", ("CPI", "Kind", "CID", "Age", "Was", "Token"), tuple(
            (row["cpi"], row["kind"], row["cid"] or Cell("unknown", "warn"), age(row), _was(row["metadata"]), row["token"])
            for row in orphans
        ), fill_first=False))
    if young:
        session.ui.line(f"{young} more {'is' if young == 1 else 'are'} younger than 15 minutes, or may be, and left alone")
    return orphans


def _was(metadata: dict[str, str]) -> str:
    """What the thing was for, as far as its tags tell."""
    found = next((metadata[key] for key in _ABOUT if metadata.get(key)), "")
    deployment = metadata.get("deployment", "")
    return f"{deployment} {found}" if deployment not in ("", found) else found


def _recorded(session: Session) -> None:
    from director.cli.tables import Table

    rows = [
        *(("disk", row["disk_cid"], row.get("deployment_name"), row.get("instance_name"), row.get("orphaned_at"))
          for row in session.client.orphaned_disks()),
        *(("vm", row["cid"], row.get("deployment_name"), row.get("instance_name"), row.get("orphaned_at"))
          for row in session.client.orphaned_vms()),
        *(("network", row["name"], None, None, row.get("orphaned_at")) for row in session.client.orphaned_networks()),
    ]
    session.ui.table(Table("orphans", ("Kind", "CID", "Deployment", "Instance", "Orphaned At"), tuple(rows), fill_first=False))
