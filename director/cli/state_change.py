"""What start, stop, restart and recreate share. Source: director API contract, section 6.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from director.cli.session import Session
from director.cli.verb import slug_of
from director.errors import UsageError

Function = Callable[..., Any]


def options(function: Function) -> Function:
    """The target and the flags that all four take."""
    for decorate in reversed(
        (
            click.argument("slug", metavar="[INSTANCE-GROUP[/INSTANCE-ID]]", default=""),
            click.option("--canaries", help="Override the manifest: a number or N%"),
            click.option("--max-in-flight", help="Override the manifest: a number or N%"),
            click.option(
                "--converge/--no-converge", default=True, help="--no-converge: only the one instance, nothing else of the deployment"
            ),
        )
    ):
        function = decorate(function)
    return function


skip_drain = click.option("--skip-drain", is_flag=True, help="Do not run pre-stop and drain scripts")


def change(
    session: Session, slug: str, converge: bool, state: str, action: str, query: Mapping[str, Any], single: Mapping[str, Any]
) -> None:
    """Ask, send, follow. `query` goes with the converging form, `single` with the other."""
    group, instance = slug_of(slug)
    if not converge and not instance:
        raise UsageError(
            "--no-converge needs one instance", suggestion=f"Name it: caisson {action} INSTANCE-GROUP/INSTANCE-ID --no-converge."
        )
    refused = [f"--{name.replace('_', '-')}" for name in ("canaries", "max_in_flight", "dry_run") if query.get(name) and not converge]
    if refused:
        raise UsageError(f"{', '.join(refused)} cannot be used with --no-converge", suggestion="It is one instance, done at once.")
    deployment = session.deployment()
    session.ui.confirm()
    if converge:
        drain = {"skip_drain": "true"} if query.get("skip_drain") else {"skip_drain": None}
        session.follow(session.client.change_state(deployment, group, instance, state, {**query, **drain}))
    else:
        session.follow(session.client.instance_action(deployment, group, instance, action, single))
