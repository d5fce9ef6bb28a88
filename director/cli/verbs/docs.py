"""`docs`: the annotated examples that the validator reads too."""

from __future__ import annotations

import importlib.resources

import click

from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import did_you_mean
from director.errors import NotFoundError


@verb(examples=("caisson docs", "caisson docs instance_group"))
@click.argument("section", required=False)
def command(session: Session, section: str | None) -> None:
    """Show an annotated example of a part of a manifest or config; without SECTION list them."""
    folder = importlib.resources.files("director.manifest") / "schema"
    known = sorted(item.name.removesuffix(".yml") for item in folder.iterdir() if item.name.endswith(".yml"))
    if section is None:
        session.ui.block("\n".join(known) + "\n", kind="text")
        return
    name = section.replace("-", "_")
    if name not in known:
        raise NotFoundError(f"There is no section '{section}'", suggestion=did_you_mean(name, known) or f"There are: {', '.join(known)}.")
    session.ui.block((folder / f"{name}.yml").read_text("utf-8"), kind="text")
