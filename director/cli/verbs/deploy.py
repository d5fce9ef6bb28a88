"""`deploy`: interpolate, upload what it names, show the difference, ask, deploy. With `--plan`: do exactly what a kept plan says."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import click

from director.cli import deploying, diffs, manifest_releases, templates
from director.cli.session import Session
from director.cli.verb import verb
from director.errors import UsageError


@verb(
    examples=(
        "caisson -d app deploy app.yml",
        "caisson -d app deploy app.yml -o scale.yml -v instances=3",
        "caisson -d app deploy app.yml --dry-run",
        "caisson deploy --plan plan.json",
    ),
    optional=deploying.OPTIONAL,
)
@click.argument("path", default="")
@deploying.options
@click.option("--no-redact", is_flag=True, help="Show the values of properties in the difference")
@click.option("--fix-releases", is_flag=True, help="Upload releases again even when they are there")
@click.option("--skip-upload-releases", is_flag=True, help="Do not upload releases that the manifest names by address")
@click.option("--dry-run", is_flag=True, help="Only show what would be done to which machine, and why; nothing is written")
@click.option("--plan", metavar="PATH", help="Do exactly what this file of `caisson plan` says, or nothing when the world has moved since")
def command(session: Session, path: str, sources: templates.Sources, plan: str | None, **given: Any) -> None:
    """Create or update a deployment."""
    if plan is not None:
        _check_alone(path, sources, given)
        _deploy_plan(session, pathlib.Path(plan).expanduser())
        return
    if not path:
        raise UsageError("Missing argument 'PATH', the manifest", suggestion="Or do what a plan says: caisson deploy --plan plan.json.")
    document = templates.evaluate(path, sources)
    name = session.deployment()
    deploying.check_name(document, name)
    given.update(deploying.config_flags(session, name))
    if not given["skip_upload_releases"] and not given["dry_run"]:
        document = manifest_releases.upload(session, document, fix=given["fix_releases"])
    options = deploying.query(given, document)
    if given["dry_run"]:
        preview(session, session.client.plan_deployment(name, document.text, options))
        return
    found = session.client.diff_deployment(name, document.text, redact=not given["no_redact"])
    if found.get("error"):
        session.ui.line(f"The difference cannot be shown: {found['error']}", "warn")
    diffs.show(session.ui, found["diff"])
    session.ui.confirm()
    context = json.dumps(found["context"], separators=(",", ":")) if found.get("context") else None
    session.follow(session.client.deploy(document.text, {**options, "context": context}))


def preview(session: Session, found: dict[str, Any]) -> None:
    """Show what a deploy would do."""
    from director.cli import plans  # brings the planner, which takes longer than all the rest of this command

    if session.flags.json:
        plans.show_json(session.ui, found.get("plan"))
        return
    plans.show(session.ui, str(found.get("text") or ""))
    session.ui.line("Nothing was changed.")


def _check_alone(path: str, sources: templates.Sources, given: dict[str, Any]) -> None:
    """A plan file says all there is to say."""
    beside = [f"--{name.replace('_', '-')}" for name, value in sorted(given.items()) if value]
    beside += [path] if path else []
    beside += ["variables and ops files"] if not sources.empty else []
    if beside:
        raise UsageError(
            f"--plan stands alone, without {', '.join(beside)}",
            suggestion="A plan file holds the manifest and all options. Give them to `caisson plan` instead.")


def _deploy_plan(session: Session, path: pathlib.Path) -> None:
    from director.cli import plans
    from director.plan import explain, outline, planfile

    kept, tree = plans.load(path)
    planfile.check(kept, str(session.client.info().get("uuid") or ""), session.flags.deployment)
    session.ui.line(f"Using deployment '{kept.deployment}'")
    if session.flags.json:
        plans.show_json(session.ui, outline.to_json(kept.plan))
    else:
        plans.show(session.ui, explain.explain(kept.plan))
    session.ui.confirm()
    session.follow(session.client.deploy_plan(tree))
