"""What `deploy` and `plan` share: their flags, the manifest as it is sent, the options of the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from director.cli import templates
from director.cli.session import Session
from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError

Function = Callable[..., Any]
FLAGS = ("fix", "fix-releases", "recreate", "recreate-persistent-disks", "skip-upload-releases")
OPTIONAL = {"--skip-drain": "*"}


def options(function: Function) -> Function:
    """The flags of a deploy that say what is planned."""
    for decorate in reversed(
        (
            templates.options,
            click.option("--recreate", is_flag=True, help="Replace all machines"),
            click.option("--recreate-persistent-disks", is_flag=True, help="Replace all persistent disks; what is on them is copied"),
            click.option("--recreate-vms-created-before", help="With --recreate: only machines older than this RFC 3339 time"),
            click.option("--fix", is_flag=True, help="Replace machines that do not answer"),
            click.option(
                "--skip-drain", multiple=True, metavar="[INSTANCE-GROUP[/INSTANCE-ID]]",
                help="Do not run drain scripts, of all or of these"),
            click.option("--canaries", help="Override the manifest: a number or N%"),
            click.option("--max-in-flight", help="Override the manifest: a number or N%"),
            click.option("--force-latest-variables", is_flag=True, help="Take the latest values of all variables"),
        )
    ):
        function = decorate(function)
    return function


def query(given: dict[str, Any], document: templates.Evaluated) -> dict[str, Any]:
    """The query of the request. Source: director API contract, section 6.1; `manifest_file` is ours: errors and plans name it."""
    same = (
        "recreate",
        "recreate_persistent_disks",
        "recreate_vms_created_before",
        "fix",
        "canaries",
        "max_in_flight",
        "force_latest_variables",
    )
    return {**{key: given[key] for key in same}, "skip_drain": ",".join(given["skip_drain"]) or None, "manifest_file": _file(document)}


def _file(document: templates.Evaluated) -> str:
    """The file whose lines are told: once ops or variables changed the text, lines are those of `caisson int` with the same flags."""
    return document.file if document.text == document.document.text else f"{document.file} (interpolated)"


def check_name(document: templates.Evaluated, name: str) -> None:
    """Raises ManifestError when the manifest is another deployment's."""
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


def config_flags(session: Session, name: str) -> dict[str, bool]:
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
