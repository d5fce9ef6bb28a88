"""`inspect-local-release`: what an archive holds."""

from __future__ import annotations

import json
import pathlib

import click

from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import verb


@verb(examples=("caisson inspect-local-release nats.tgz",))
@click.argument("path", metavar="PATH-TO-RELEASE", type=click.Path(path_type=pathlib.Path))
def command(session: Session, path: pathlib.Path) -> None:
    """Verify a release archive, and list its jobs and packages."""
    from director.release import archive
    from director.release.model import CompiledPackageSpec, LinkSpec, PackageSpec

    def links(items: tuple[LinkSpec, ...]) -> str:
        return "\n".join(
            json.dumps({"name": item.name, "type": item.type, **({"optional": True} if item.optional else {})}) for item in items
        )

    found = archive.read_release(path)
    mark = "+" if found.uncommitted_changes else ""
    head = (found.name, found.version, f"{found.commit_hash}{mark}", str(path))
    session.ui.table(Table("", ("Name", "Version", "Commit Hash", "Archive"), (head,), transpose=True))
    jobs = tuple((f"{job.name}/{job.fingerprint}", job.digest, links(job.consumes), links(job.provides)) for job in found.jobs)
    session.ui.table(Table("jobs", ("Job", "Digest", "Links Consumed", "Links Provided"), jobs))
    items: list[PackageSpec | CompiledPackageSpec] = [*found.packages, *found.compiled_packages]
    packages = tuple(
        (
            f"{item.name}/{item.fingerprint}",
            item.stemcell if isinstance(item, CompiledPackageSpec) else "(source)",
            item.digest,
            "\n".join(item.dependencies),
        )
        for item in items
    )
    session.ui.table(Table("packages", ("Package", "Compiled for", "Digest", "Dependencies"), packages))
