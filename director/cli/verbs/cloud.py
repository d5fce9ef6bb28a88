"""`cloud check`: whether a cloud is ready, asked by the director or from here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from director.cli import templates
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import CloudError, NotFoundError, UsageError

if TYPE_CHECKING:
    from director.manifest.load import Document

_MARK = "caisson-check"


@verb(examples=(
    "caisson cloud check", "caisson cloud check aws-eu", "caisson cloud check aws-eu --json",
    "caisson cloud check --cpi aws --config aws.yml -l secrets.yml --cloud-config manifests/cloud-configs/aws.yml",
))
@click.argument("action", type=click.Choice(["check"]))
@click.argument("name", default="")
@click.option("--cpi", "cpi_type", default="", metavar="TYPE", help="Ask from here, without a director: aws, azure, gcp, ...")
@click.option("--config", "config_path", default="", metavar="FILE", help="With --cpi: its properties, or a CPI config with an entry NAME")
@click.option("--cloud-config", "cloud_configs", multiple=True, metavar="FILE", help="With --cpi: look at what this cloud config uses, too")
@templates.options
def command(
    session: Session, action: str, name: str, cpi_type: str, config_path: str, cloud_configs: tuple[str, ...], sources: templates.Sources,
) -> int:
    """Check a cloud: does it answer, are the credentials good, may they do each thing, is quota left, do images and networks exist.

    NAME is a CPI of the CPI config; without one the director's own cloud is checked. Makes nothing. Exit code 1 when a check fails.
    """
    if not cpi_type:
        if config_path or cloud_configs:
            raise UsageError(
                "--config and --cloud-config go with --cpi", suggestion="Without --cpi the director checks, with its own configs.")
        return _show(session, _by_director(session, name))
    if not config_path:
        raise UsageError("--cpi needs --config", suggestion="A file with the CPI's properties, as in an entry of the CPI config.")
    return _show(session, _from_here(cpi_type, name, config_path, cloud_configs, sources))


def _by_director(session: Session, name: str) -> Iterator[Mapping[str, Any]]:
    from director.cli.follow import SilentReporter

    told = session.follow(session.client.check_cloud(name), SilentReporter())
    return (json.loads(line) for line in told.splitlines() if line.strip())


def _from_here(
    cpi_type: str, name: str, config_path: str, cloud_configs: tuple[str, ...], sources: templates.Sources,
) -> Iterator[Mapping[str, Any]]:
    """The same checks in this process. Every zone of the cloud configs is taken for one of this cloud."""
    from cpis import registry
    from cpis.contract import CpiError
    from director.execute.cloud_checks import checks

    properties = _properties(templates.evaluate(config_path, sources).tree, cpi_type, name)
    documents = [templates.evaluate(path, sources).document for path in cloud_configs]
    types = dict.fromkeys([name, *_cpis_of(documents)], cpi_type)
    try:
        with contextlib.closing(registry.load(cpi_type, {"director": _MARK, **properties})) as cpi:
            for check in checks(cpi, name, types, documents, ()):
                yield {"cpi": name or cpi_type, **dataclasses.asdict(check)}
    except CpiError as error:
        raise CloudError(f"{cpi_type}: {error.message}", suggestion=error.suggestion) from error


def _properties(tree: Any, cpi_type: str, name: str) -> dict[str, Any]:
    """Of a CPI config's entry, or of a file that has the properties alone (below `properties`, or not). Raises UsageError,
    NotFoundError."""
    if not isinstance(tree, dict):
        raise UsageError("The file of --config must be a hash")
    entries = tree.get("cpis")
    if not isinstance(entries, list):
        inner = tree.get("properties", tree)
        return dict(inner) if isinstance(inner, dict) else {}
    fitting = [
        item for item in entries if isinstance(item, dict) and item.get("type") == cpi_type and name in ("", item.get("name"))]
    if len(fitting) != 1:
        names = ", ".join(str(item.get("name")) for item in entries if isinstance(item, dict))
        raise NotFoundError(
            f"The CPI config has {len(fitting) or 'no'} entries of type '{cpi_type}'{f' and name {name!r}' if name else ''}",
            suggestion=f"Name one of: {names}.")
    return dict(fitting[0].get("properties") or {})


def _cpis_of(documents: list[Document]) -> list[str]:
    return [
        str(az.get("cpi")) for document in documents if isinstance(document.tree, dict)
        for az in document.tree.get("azs") or () if isinstance(az, dict) and az.get("cpi")
    ]


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
