"""`cloud check`: whether a cloud is ready, asked by the director or from here."""

from __future__ import annotations

import json

import click

from director.cli import templates
from director.cli.cloud_checking import Shown, from_here, timeout_option
from director.cli.follow import SilentReporter, follow
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=(
    "caisson cloud check", "caisson cloud check aws-eu", "caisson cloud check aws-eu --json", "caisson cloud check aws-eu --timeout 120",
    "caisson cloud check --cpi aws --config aws.yml -l secrets.yml --cloud-config manifests/cloud-configs/aws.yml",
))
@click.argument("action", type=click.Choice(["check"]))
@click.argument("name", default="")
@click.option("--cpi", "cpi_type", default="", metavar="TYPE", help="Ask from here, without a director: aws, azure, gcp, ...")
@click.option("--config", "config_path", default="", metavar="FILE", help="With --cpi: its properties, or a CPI config with an entry NAME")
@click.option("--cloud-config", "cloud_configs", multiple=True, metavar="FILE", help="With --cpi: look at what this cloud config uses, too")
@click.option("--stemcell", "images", multiple=True, metavar="CID", help="With --cpi: look for this image, too; may be given again")
@timeout_option("For all checks together; 30 by default. What is not told by then is `not asked`")
@templates.options
def command(
    session: Session, action: str, name: str, cpi_type: str, config_path: str, cloud_configs: tuple[str, ...], images: tuple[str, ...],
    timeout: int | None, sources: templates.Sources,
) -> int:
    """Check a cloud: does it answer, are the credentials good, may they do each thing, is quota left, do images and networks exist.

    NAME is a CPI of the CPI config; without one the director's own cloud is checked. Makes nothing. Each check is told as soon as it is
    known; after one that the cloud does not answer, or that it does not let us in, nothing more is asked. Exit code 1 when a check fails.
    """
    shown = Shown(session.ui)
    if not cpi_type:
        if config_path or cloud_configs or images:
            raise UsageError(
                "--config, --cloud-config and --stemcell go with --cpi",
                suggestion="Without --cpi the director checks, with its own configs and stemcells.")
        follow(session.client, session.client.check_cloud(name, timeout), _Rows(session, shown), kind="result")
        return shown.end()
    if not config_path:
        raise UsageError("--cpi needs --config", suggestion="A file with the CPI's properties, as in an entry of the CPI config.")
    for row in from_here(cpi_type, name, config_path, cloud_configs, sources, images, timeout):
        shown.row(row)
    return shown.end()


class _Rows(SilentReporter):
    """Passes the rows of a growing result on. Why a task failed stands in its events, which are asked for then."""

    def __init__(self, session: Session, shown: Shown) -> None:
        super().__init__()
        self._session, self._shown = session, shown
        self._rest = b""

    def chunk(self, task_id: int, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._shown.row(json.loads(line))

    def finished(self, task_id: int, state: str) -> None:
        if state != "done":
            super().chunk(task_id, self._session.client.task_output(task_id, "event"))
