"""`run-errand`: run it, show what it wrote, end with 1 when it ended badly."""

from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import slug_of, verb
from director.errors import TaskError


@verb(examples=("caisson -d foundation run-errand smoke-tests", "caisson -d app run-errand migrate --instance web/first --keep-alive"))
@click.argument("name")
@click.option(
    "--instance", "instances", multiple=True, metavar="INSTANCE-GROUP[/INSTANCE-ID]", help="Run it there only; may be given again"
)
@click.option("--keep-alive", is_flag=True, help="Keep the errand's machine afterwards")
@click.option("--when-changed", is_flag=True, help="Run only when something changed since it last succeeded")
@click.option("--with-heartbeat", help="Accepted for compatibility; progress is always shown", expose_value=False)
@click.option("--download-logs", is_flag=True, help="Fetch the instances' logs afterwards")
@click.option("--logs-dir", type=click.Path(file_okay=False, path_type=pathlib.Path), default=".", help="Where the logs go [.]")
def command(
    session: Session,
    name: str,
    instances: tuple[str, ...],
    keep_alive: bool,
    when_changed: bool,
    download_logs: bool,
    logs_dir: pathlib.Path,
) -> None:
    """Run an errand."""
    filters = [{"group": group, **({"id": instance} if instance else {})} for group, instance in map(slug_of, instances)]
    body = {"keep-alive": keep_alive, "when-changed": when_changed, "instances": filters}
    deployment = session.deployment()
    results = results_of(session.follow(session.client.run_errand(deployment, name, body)))
    if not results:
        return
    header = ("Instance", "Exit Code", "Stdout", "Stderr")
    rows = sorted((_slug(row), row["exit_code"], row.get("stdout"), row.get("stderr")) for row in results)
    session.ui.table(Table("errand(s)", header, tuple(rows), transpose=True))
    if download_logs:
        for row in results:
            _download(session, name, row, logs_dir)
    failed = [row for row in results if row["exit_code"] != 0]
    if failed:
        words = [
            f"was canceled (exit code {row['exit_code']})"
            if row["exit_code"] > 128
            else f"completed with error (exit code {row['exit_code']})"
            for row in failed
        ]
        raise TaskError(*[f"Errand '{name}' {text}" for text in dict.fromkeys(words)])


def results_of(data: bytes) -> list[dict[str, Any]]:
    """JSON objects one after the other, with or without newlines between them."""
    decoder, text, found = json.JSONDecoder(), data.decode("utf-8").strip(), []
    while text:
        item, end = decoder.raw_decode(text)
        found.append(item)
        text = text[end:].lstrip()
    return found


def _slug(row: dict[str, Any]) -> str:
    instance = row.get("instance") or {}
    return f"{instance.get('group', '?')}/{instance.get('id', '?')}"


def _download(session: Session, name: str, row: dict[str, Any], folder: pathlib.Path) -> None:
    blob = (row.get("logs") or {}).get("blobstore_id")
    if not blob:
        return
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    path = folder / f"{name}-{_slug(row).replace('/', '-')}-{stamp}.tgz"
    session.client.download(str(blob), path)
    session.ui.line(f"Logs of {_slug(row)}: {path}")
