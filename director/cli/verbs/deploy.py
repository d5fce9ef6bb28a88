"""`deploy`: interpolate, upload what it names, show the difference, ask, deploy."""

from __future__ import annotations

import json
from typing import Any

import click

from director.cli import diffs, manifest_releases, templates
from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError

FLAGS = ("fix", "fix-releases", "recreate", "recreate-persistent-disks", "skip-upload-releases")


@verb(
    examples=(
        "caisson -d app deploy app.yml",
        "caisson -d app deploy app.yml -o scale.yml -v instances=3",
        "caisson -d app deploy app.yml --dry-run",
    ),
    optional={"--skip-drain": "*"},
)
@click.argument("path")
@templates.options
@click.option("--no-redact", is_flag=True, help="Show the values of properties in the difference")
@click.option("--recreate", is_flag=True, help="Replace all machines")
@click.option("--recreate-persistent-disks", is_flag=True, help="Replace all persistent disks; what is on them is copied")
@click.option("--recreate-vms-created-before", help="With --recreate: only machines older than this RFC 3339 time")
@click.option("--fix", is_flag=True, help="Replace machines that do not answer")
@click.option("--fix-releases", is_flag=True, help="Upload releases again even when they are there")
@click.option("--skip-drain", multiple=True, metavar="[INSTANCE-GROUP[/INSTANCE-ID]]", help="Do not run drain scripts, of all or of these")
@click.option("--skip-upload-releases", is_flag=True, help="Do not upload releases that the manifest names by address")
@click.option("--canaries", help="Override the manifest: a number or N%")
@click.option("--max-in-flight", help="Override the manifest: a number or N%")
@click.option("--dry-run", is_flag=True, help="Only show what would be done to which machine, and why; nothing is written")
@click.option("--force-latest-variables", is_flag=True, help="Take the latest values of all variables")
def command(session: Session, path: str, sources: templates.Sources, **given: Any) -> None:
    """Create or update a deployment."""
    document = templates.evaluate(path, sources)
    name = session.deployment()
    _check_name(document, name)
    given.update(_config_flags(session, name))
    if not given["skip_upload_releases"] and not given["dry_run"]:
        document = manifest_releases.upload(session, document, fix=given["fix_releases"])
    options = _options(given)
    if given["dry_run"]:
        _preview(session, name, document.text, options)
        return
    found = session.client.diff_deployment(name, document.text, redact=not given["no_redact"])
    if found.get("error"):
        session.ui.line(f"The difference cannot be shown: {found['error']}", "warn")
    diffs.show(session.ui, found["diff"])
    session.ui.confirm()
    context = json.dumps(found["context"], separators=(",", ":")) if found.get("context") else None
    session.follow(session.client.deploy(document.text, {**options, "context": context}))


def _check_name(document: templates.Evaluated, name: str) -> None:
    tree = document.tree
    told = tree.get("name") if isinstance(tree, dict) else None
    if told is not None and str(told) != name:
        where = Where(document.file, document.line(("name",)), "name")
        raise ManifestError(
            Diagnostic(
                f"Expected manifest to specify deployment name '{name}' but was '{told}'",
                where=where,
                suggestion=f"Deploy it with -d {told}, or change the manifest's name.",
            )
        )


def _config_flags(session: Session, name: str) -> dict[str, bool]:
    """What configs of type `deploy` switch on for this deployment. Source: manifest contract, section 17."""
    from director.cli.client import DirectorError
    from director.manifest.load import load_yaml

    try:
        found = session.client.configs({"latest": "true", "limit": 1, "type": "deploy"})
    except DirectorError as error:
        if error.status in (0, 401):
            raise
        return {}
    switched: dict[str, bool] = {}
    for config in found:
        tree = load_yaml(str(config["content"]), f"deploy config '{config['name']}'").tree
        if not isinstance(tree, dict):
            continue
        include, exclude = tree.get("include"), tree.get("exclude")
        if include and exclude:
            session.ui.line(f"Ignoring config of type 'deploy' (name: '{config['name']}'): it has both 'include' and 'exclude'")
            continue
        if (include and name not in include) or (exclude and name in exclude):
            continue
        session.ui.line(f"Using deployment flags from config of type 'deploy' (name: '{config['name']}')")
        switched.update({str(flag).replace("-", "_"): True for flag in tree.get("flags") or [] if flag in FLAGS})
    return switched


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The query of the request. Source: director API contract, section 6.1."""
    same = (
        "recreate",
        "recreate_persistent_disks",
        "recreate_vms_created_before",
        "fix",
        "canaries",
        "max_in_flight",
        "force_latest_variables",
    )
    return {**{key: given[key] for key in same}, "skip_drain": ",".join(given["skip_drain"]) or None}


def _preview(session: Session, name: str, text: str, options: dict[str, Any]) -> None:
    found = session.client.plan_deployment(name, text, options)
    if session.flags.json:
        session.ui.block(json.dumps(found.get("plan"), indent=2, sort_keys=True))
        return
    session.ui.block(str(found.get("text") or "").rstrip("\n") + "\n", kind="text")
    session.ui.line("Nothing was changed.")
