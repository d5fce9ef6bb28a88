"""`cloud check`: whether a cloud is ready, asked by the director or from here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from director.cli import templates
from director.cli.cloud_checking import from_here
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=(
    "caisson cloud check", "caisson cloud check aws-eu", "caisson cloud check aws-eu --json",
    "caisson cloud check --cpi aws --config aws.yml -l secrets.yml --cloud-config manifests/cloud-configs/aws.yml",
))
@click.argument("action", type=click.Choice(["check"]))
@click.argument("name", default="")
@click.option("--cpi", "cpi_type", default="", metavar="TYPE", help="Ask from here, without a director: aws, azure, gcp, ...")
@click.option("--config", "config_path", default="", metavar="FILE", help="With --cpi: its properties, or a CPI config with an entry NAME")
@click.option("--cloud-config", "cloud_configs", multiple=True, metavar="FILE", help="With --cpi: look at what this cloud config uses, too")
@click.option("--stemcell", "images", multiple=True, metavar="CID", help="With --cpi: look for this image, too; may be given again")
@templates.options
def command(
    session: Session, action: str, name: str, cpi_type: str, config_path: str, cloud_configs: tuple[str, ...], images: tuple[str, ...],
    sources: templates.Sources,
) -> int:
    """Check a cloud: does it answer, are the credentials good, may they do each thing, is quota left, do images and networks exist.

    NAME is a CPI of the CPI config; without one the director's own cloud is checked. Makes nothing. Exit code 1 when a check fails.
    """
    if not cpi_type:
        if config_path or cloud_configs or images:
            raise UsageError(
                "--config, --cloud-config and --stemcell go with --cpi",
                suggestion="Without --cpi the director checks, with its own configs and stemcells.")
        return _show(session, _by_director(session, name))
    if not config_path:
        raise UsageError("--cpi needs --config", suggestion="A file with the CPI's properties, as in an entry of the CPI config.")
    return _show(session, from_here(cpi_type, name, config_path, cloud_configs, sources, images))


def _by_director(session: Session, name: str) -> Iterator[Mapping[str, Any]]:
    from director.cli.follow import SilentReporter

    told = session.follow(session.client.check_cloud(name), SilentReporter())
    return (json.loads(line) for line in told.splitlines() if line.strip())


def _show(session: Session, rows: Iterator[Mapping[str, Any]]) -> int:
    from director.cli.tables import Cell, Table

    looks = {True: ("ok", "good"), False: ("failed", "bad"), None: ("unknown", "warn")}
    found = list(rows)
    session.ui.table(Table(
        "checks", ("Check", "Kind", "Result", "Detail", "What to do"),
        tuple((row["name"], row["kind"], Cell(*looks[row["ok"]]), row["detail"], row["suggestion"]) for row in found), fill_first=False))
    failed = sum(row["ok"] is False for row in found)
    unknown = sum(row["ok"] is None for row in found)
    counts = f"{len(found) - failed - unknown} ok, {failed} failed, {unknown} cannot be told without making something"
    session.ui.line(counts, "bad" if failed else "good")
    return 1 if failed else 0
