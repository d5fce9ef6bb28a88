"""`docs`: the annotated sections of manifests and configs, from the files that the validator reads too."""

from __future__ import annotations

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import did_you_mean
from director.errors import NotFoundError


@verb(examples=("caisson docs", "caisson docs instance_group", "caisson docs manifest.instance_groups.networks"))
@click.argument("section", required=False)
def command(session: Session, section: str | None) -> None:
    """Show an annotated example of a part of a manifest or config; without SECTION list them.

    SECTION is a name from the list, the key it stands below, or a path of keys.
    """
    from director.cli import tables
    from director.manifest import schema

    if section is None:
        rows = tuple((name, schema.section(name).about) for name in schema.sections())
        session.ui.table(tables.Table("sections", ("Section", "About"), rows))
        return
    found = schema.named(section)
    if not found:
        last = section.replace("-", "_").replace("/", ".").rpartition(".")[2]
        hint = did_you_mean(last, schema.words()) or f"There are: {', '.join(schema.sections())}."
        raise NotFoundError(f"There is no section '{section}'", suggestion=hint)
    session.ui.block("\n".join(schema.describe(name) for name in found), kind="text")
