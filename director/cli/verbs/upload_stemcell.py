"""`upload-stemcell`."""

from __future__ import annotations

import pathlib

import click

from director.cli import uploads
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(examples=("caisson upload-stemcell debian-12.tgz", "caisson upload-stemcell https://... --sha1 ..."))
@click.argument("url")
@click.option("--fix", is_flag=True, help="Replace what the director has")
@click.option("--name", default="", help="Do nothing when this stemcell ...")
@click.option("--version", default="", help="... in this version is there")
@click.option("--sha1", default="", help="Digest of the archive")
def command(session: Session, url: str, fix: bool, name: str, version: str, sha1: str) -> None:
    """Upload a stemcell."""
    query = {"fix": fix}
    remote = url.startswith(("http://", "https://"))
    path = pathlib.Path(url.removeprefix("file://"))
    if not remote:
        if not path.is_file():
            raise UsageError(f"There is no stemcell at '{path}'", suggestion="Give a file or an https:// address.")
        if sha1:
            uploads.check(path, sha1)
        if not (name and version):
            from director.release import stemcell

            with stemcell.read_stemcell(path) as found:
                name, version = found.name, found.version
    if not fix and name and version and not session.client.stemcell_needed(name, version):
        session.ui.line(f"Stemcell '{name}/{version}' already exists.")
    elif remote:
        session.follow(session.client.upload_url("stemcells", url, sha1, query))
    else:
        session.follow(uploads.send(session, "stemcells", path, query))
