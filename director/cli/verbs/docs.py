"""`docs`: the annotated sections of manifests and configs, from the files that the validator reads too."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import did_you_mean
from director.errors import NotFoundError


@verb(examples=(
    "caisson docs", "caisson docs instance_group", "caisson docs manifest.instance_groups.networks", "caisson docs cpi/aws",
    "caisson docs cpi/aws vm_types",
))
@click.argument("section", required=False)
@click.argument("part", required=False)
def command(session: Session, section: str | None, part: str | None) -> None:
    """Show an annotated example of a part of a manifest or config; without SECTION list them.

    SECTION is a name from the list, the key it stands below, or a path of keys. cpi/CLOUD shows what that cloud takes as cloud properties;
    PART is one of cpi_config, azs, networks, vm_types, disk_types and stemcells, without it all are shown.
    """
    from director.cli import tables
    from director.manifest import schema

    if section is None:
        rows = tuple((name, schema.section(name).about) for name in schema.sections())
        session.ui.table(tables.Table("sections", ("Section", "About"), rows))
        return
    cpi, slash, cloud = section.partition("/")
    if cpi == "cpi" and slash:
        _show_cloud(session, cloud, part)
        return
    if part is not None:
        raise NotFoundError(f"'{section}' has no parts", suggestion="Parts are those of a cloud: caisson docs cpi/aws vm_types.")
    found = schema.named(section)
    if not found:
        last = section.replace("-", "_").replace("/", ".").rpartition(".")[2]
        hint = did_you_mean(last, schema.words()) or f"There are: {', '.join(schema.sections())}."
        raise NotFoundError(f"There is no section '{section}'", suggestion=hint)
    session.ui.block("\n".join(schema.describe(name) for name in found), kind="text")


def _show_cloud(session: Session, cloud: str, part: str | None) -> None:
    """With --json a table of keys with their paths."""
    from cpis.cloud import docs
    from cpis.cloud.schema import Schema, clouds
    from director.cli import tables

    if cloud not in clouds():
        hint = did_you_mean(cloud, clouds()) or f"There are: {', '.join(f'cpi/{name}' for name in clouds())}."
        raise NotFoundError(f"There is no cloud '{cloud}' with documented cloud properties", suggestion=hint)
    chosen = list(docs.TITLES) if part is None else [name for name in (docs.section_of(part),) if name]
    if not chosen:
        known = f"There are: {', '.join(title for title, _, _ in docs.TITLES.values())}."
        raise NotFoundError(f"There is no part '{part}' of cloud properties", suggestion=did_you_mean(str(part), docs.words()) or known)
    schema = Schema.of(cloud)
    if session.ui.manner != "json":
        session.ui.block("\n".join(docs.describe(schema, name) for name in chosen), kind="text")
        return
    rows = tuple((docs.TITLES[name][0], *row) for name in chosen for row in docs.rows(schema, name))
    session.ui.table(tables.Table("cloud_properties", ("Part", *docs.HEADER), rows))
