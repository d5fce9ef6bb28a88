"""`create-release`: a release directory becomes a release version, here."""

from __future__ import annotations

import pathlib

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson create-release --dir releases/nats --tarball nats.tgz", "caisson create-release --final --version 1.2.0"))
@click.argument("path", required=False, type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=pathlib.Path), default=".", help="The release directory [.]")
@click.option("--name", default="", help="Another name than that of config/final.yml")
@click.option("--version", default="", help="Another version than the next one")
@click.option("--timestamp-version", is_flag=True, help="Make the version of the time")
@click.option("--final", is_flag=True, help="Make a final release")
@click.option("--tarball", type=click.Path(dir_okay=False, path_type=pathlib.Path), help="Write the archive there")
@click.option("--force", is_flag=True, help="Go on with uncommitted changes")
def command(
    session: Session, path: pathlib.Path | None, directory: pathlib.Path, name: str, version: str, timestamp_version: bool,
    final: bool, tarball: pathlib.Path | None, force: bool,
) -> None:
    """Make a release of a release directory; with PATH make the archive of a version made before."""
    from director.release import create, manifest

    if path is not None:
        from director.errors import UsageError

        if tarball is None:
            raise UsageError("PATH needs --tarball", suggestion="caisson create-release releases/NAME/NAME-1.yml --tarball NAME-1.tgz")
        listing = manifest.parse(path.read_text("utf-8"), str(path))
        create.write_tarball(directory, listing, tarball)
        row, jobs = (listing.name, listing.version, listing.commit_hash, str(tarball)), None
    else:
        made = create.create_release(
            directory, name=name, version=version, final=final, force=force, timestamp_version=timestamp_version, tarball=tarball
        )
        listing = manifest.parse(made.manifest_path.read_text("utf-8"), str(made.manifest_path))
        mark = "+" if listing.uncommitted_changes else ""
        row, jobs = (made.name, made.version, f"{listing.commit_hash}{mark}", str(made.path)), made
    session.ui.table(Table("", ("Name", "Version", "Commit Hash", "Archive" if tarball else "Manifest"), (row,), transpose=True))
    if jobs is not None:
        what = "Nothing changed" if jobs.reused else "Made"
        session.ui.line(f"{what}: {len(jobs.jobs)} job(s), {len(jobs.packages)} package(s)")
