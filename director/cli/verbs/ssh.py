"""`ssh`: a terminal on one instance, or a command on many."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from director.cli import remote
from director.cli.session import Session
from director.cli.tables import Table
from director.cli.verb import slug_of, verb
from director.errors import TaskError


@verb(examples=("caisson -d app ssh web/0", "caisson -d app ssh web -c 'uptime'", "caisson -d app ssh -c 'sudo monit summary' -r"))
@click.argument("slug", metavar="[INSTANCE-GROUP[/INSTANCE-ID]]", default="")
@click.option("-c", "--command", "run", help="Run this instead of opening a terminal")
@click.option("--opts", multiple=True, help="Hand this to ssh as it is; may be given again")
@click.option("-r", "--results", is_flag=True, help="Show what was written in a table, at the end")
@click.option("-i", "--private-key", default="", help="Use this key; no user is made")
@click.option("-l", "--username", default="vcap", help="With -i: the user there [vcap]")
@remote.gateway_options
def command(
    session: Session, slug: str, run: str | None, opts: tuple[str, ...], results: bool, private_key: str, username: str, **given: Any
) -> None:
    """Open a terminal or run a command on instances."""
    group, instance = slug_of(slug)
    deployment, gateway = session.deployment(), remote.gateway_of(given)
    way: contextlib.AbstractContextManager[remote.Access]
    if private_key:
        way = remote.with_own_key(session, deployment, group, instance, private_key, username, gateway)
    else:
        way = remote.opened(session, deployment, group, instance, gateway)
    with way as access:
        if run is None and not results:
            remote.terminal(access, opts)
            return
        outcomes = (
            remote.collect(access, run or "true", opts, session.flags.parallel)
            if results
            else remote.stream(session, access, run or "", opts)
        )
    if results:
        rows = tuple((item.slug, item.stdout, item.stderr, item.exit_code, None) for item in sorted(outcomes, key=lambda item: item.slug))
        session.ui.table(Table("results", ("Instance", "Stdout", "Stderr", "Exit Code", "Error"), rows))
    bad = [item for item in outcomes if item.exit_code]
    if bad:
        raise TaskError(*[f"{item.slug}: exit code {item.exit_code}" for item in bad])
