"""`help`: of everything, or of one command."""

from __future__ import annotations

import click

from director.cli import commands
from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import did_you_mean
from director.errors import UsageError


@verb(examples=("caisson help", "caisson help deploy"))
@click.argument("name", metavar="COMMAND", default="")
def command(session: Session, name: str) -> None:
    """Show the commands, or how to use one."""
    root = click.get_current_context().find_root()
    group = root.command
    assert isinstance(group, click.Group)
    found = group.get_command(root, name) if name else group
    if found is None:
        hint = did_you_mean(name, commands.BY_NAME) or "See which there are: caisson help."
        raise UsageError(f"Unknown command '{name}'", suggestion=hint)
    context = click.Context(found, info_name=name, parent=root) if name else root
    session.ui.block(found.get_help(context) + "\n", kind="text")
