"""`plan`: what a deploy would do, shown and kept."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import click

from director.cli import deploying, plans, templates
from director.cli.session import Session
from director.cli.verb import verb
from director.cli.verbs.deploy import preview
from director.errors import UsageError

CHANGES = 2


@verb(
    examples=(
        "caisson -d app plan app.yml",
        "caisson -d app plan app.yml -o scale.yml -v instances=3 -o plan.json",
        "caisson -d app plan app.yml --detailed-exitcode; echo $?",
    ),
    optional=deploying.OPTIONAL,
)
@click.argument("path")
@deploying.options
@click.option("--fix-releases", is_flag=True, help="As in deploy; a plan uploads nothing")
@click.option("--skip-upload-releases", is_flag=True, help="As in deploy; a plan uploads nothing")
@click.option("--no-redact", is_flag=True, help="As in deploy; a plan shows no values that may be secret")
@click.option("--out", metavar="PATH", help="Keep the plan in this file, for `deploy --plan`. Short: -o with a path that ends in .json")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 0 when no machine would be touched, 2 when some would, 1 on errors")
def command(session: Session, path: str, sources: templates.Sources, out: str | None, detailed_exitcode: bool, **given: Any) -> int:
    """Show what a deploy would do, and keep it in a file; nothing is written in the director."""
    sources, target = _target(sources, out)
    document = templates.evaluate(path, sources)
    name = session.deployment()
    deploying.check_name(document, name)
    given.update(deploying.config_flags(session, name))
    found = session.client.plan_deployment(name, document.text, {**deploying.query(given, document), "keep": target is not None})
    preview(session, found)
    if target is not None:
        plans.save(target, found["file"])
        session.ui.line(f"The plan is in '{target}', which only you may read. Do it: caisson deploy --plan {target}")
    empty = bool(found["plan"]["summary"]["empty"])
    return CHANGES if detailed_exitcode and not empty else 0


def _target(sources: templates.Sources, out: str | None) -> tuple[templates.Sources, pathlib.Path | None]:
    """`-o` is for ops files in all commands, and for the plan here: the ending tells which."""
    paths = [*([out] if out else []), *(file for file in sources.ops if file.endswith(".json"))]
    if len(paths) > 1:
        raise UsageError(f"The plan can be kept in one file only, not in {' and '.join(paths)}", suggestion="Ops files end in .yml here.")
    left = dataclasses.replace(sources, ops=tuple(file for file in sources.ops if not file.endswith(".json")))
    return left, plans.writable(pathlib.Path(paths[0]).expanduser()) if paths else None
