"""`inspect-release`: its jobs and packages."""

from __future__ import annotations

from typing import Any

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import pair_of, verb


def _links(items: list[dict[str, Any]] | None) -> str:
    import json

    return "\n".join(json.dumps(item, sort_keys=True) for item in items or [])


@verb(examples=("caisson inspect-release nats/1.0.0",))
@click.argument("slug", metavar="NAME/VERSION")
def command(session: Session, slug: str) -> None:
    """List the jobs and packages of a release."""
    found = session.client.release(*pair_of(slug))
    jobs = tuple(
        (
            f"{job['name']}/{job['fingerprint']}",
            job.get("blobstore_id"),
            job.get("sha1"),
            _links(job.get("consumes")),
            _links(job.get("provides")),
        )
        for job in found["jobs"]
    )
    session.ui.table(Table("jobs", ("Job", "Blobstore ID", "Digest", "Links Consumed", "Links Provided"), jobs))
    packages: list[tuple[Any, ...]] = []
    for package in found["packages"]:
        name = f"{package['name']}/{package['fingerprint']}"
        packages.append(
            (name, "(source)" if package.get("blobstore_id") else "(no source)", package.get("blobstore_id"), package.get("sha1"))
        )
        packages.extend(
            (name, item["stemcell"], item.get("blobstore_id"), item.get("sha1")) for item in package.get("compiled_packages") or []
        )
    session.ui.table(Table("packages", ("Package", "Compiled for", "Blobstore ID", "Digest"), tuple(packages), fill_first=False))
