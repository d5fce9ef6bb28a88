"""`interpolate`: what a deploy would send, or a part of it, without a director."""

from __future__ import annotations

import click

from director.cli import templates
from director.cli.session import Session
from director.cli.verb import verb


@verb(examples=("caisson int app.yml -o scale.yml -v instances=3", "caisson int creds.yml --path /admin_password"))
@click.argument("path")
@templates.options
@click.option("--path", "inside", default="", help="Show only this part; a text is shown bare")
@click.option("--var-errs", is_flag=True, help="Fail when a variable was not found")
@click.option("--var-errs-unused", is_flag=True, help="Fail when a given variable was not used")
def command(session: Session, path: str, inside: str, var_errs: bool, var_errs_unused: bool, sources: templates.Sources) -> None:
    """Fill in variables and apply ops files; PATH may be - for the standard input."""
    found = templates.evaluate(path, sources, inside=inside, all_found=var_errs, all_used=var_errs_unused, verbatim=False)
    bare = inside and isinstance(found.tree, str)
    session.ui.block(f"{found.tree}\n" if bare else found.text, kind="text")
