"""`export-release`: a compiled release of what a deployment uses."""

from __future__ import annotations

import json
import pathlib

import click

from director.cli import downloads
from director.cli.session import Session
from director.cli.verb import pair_of, verb
from director.diagnostics import Diagnostic, did_you_mean
from director.errors import UsageError


@verb(examples=(
    "caisson -d app export-release nats/1.0.0 debian-bookworm/1.0",
    "caisson -d app export-release nats/1.0.0 debian-bookworm/1.0 --job nats --dir exports",
))
@click.argument("slug", metavar="NAME/VERSION")
@click.argument("stemcell", metavar="OS/VERSION")
@click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=pathlib.Path), default=".", help="Where the archive goes [.]"
)
@click.option("--job", "jobs", multiple=True, help="Only this job with its packages; may be given again")
def command(session: Session, slug: str, stemcell: str, directory: pathlib.Path, jobs: tuple[str, ...]) -> None:
    """Compile a release of a deployment for a stemcell, and download it."""
    (name, version), (os, stemcell_version) = pair_of(slug), pair_of(stemcell, "OS/VERSION")
    deployment = session.deployment()
    known = [str(job["name"]) for job in session.client.release(name, version)["jobs"]]
    unknown = [
        Diagnostic(f"Release '{slug}' has no job '{job}'", suggestion=did_you_mean(job, known)) for job in jobs if job not in known
    ]
    if unknown:
        raise UsageError(*unknown)
    body = {
        "deployment_name": deployment, "release_name": name, "release_version": version, "stemcell_os": os,
        "stemcell_version": stemcell_version, "sha2": session.flags.sha2, "jobs": [{"name": job} for job in jobs],
    }
    made = json.loads(session.follow(session.client.export_release(body)))
    prefix = f"{name}-{version}-{os}-{stemcell_version}"
    downloads.fetch(session, str(made["blobstore_id"]), str(made.get("sha1") or ""), directory, prefix)
