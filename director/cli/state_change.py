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
            click.option("--dry-run", is_flag=True, help="Only show what would be done to which machine, and why"),
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
    if query.get("dry_run"):
        _preview(session, deployment, group, instance, state, query)
        return
    session.ui.confirm()
    if converge:
        session.follow(session.client.change_state(deployment, group, instance, state, _converging(query)))
    else:
        session.follow(session.client.instance_action(deployment, group, instance, action, single))


def _converging(query: Mapping[str, Any]) -> dict[str, Any]:
    return {**query, "skip_drain": "true" if query.get("skip_drain") else None}


def _preview(session: Session, deployment: str, group: str, instance: str, state: str, query: Mapping[str, Any]) -> None:
    """A task that plans and does nothing; its result is the plan."""
    from director.cli import plans
    from director.cli.follow import SilentReporter

    task = session.client.change_state(deployment, group, instance, state, _converging(query))
    plans.show(session.ui, session.follow(task, SilentReporter()).decode("utf-8", "replace"))
    session.ui.line("Nothing was changed.")
