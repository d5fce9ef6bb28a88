"""`template`: fill in one template with a context document, as the reference's template tool does, without a director."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import click

from director.cli import templates
from director.cli.session import Session
from director.cli.verb import verb
from director.diagnostics import Diagnostic
from director.errors import RenderError, UsageError
from director.manifest.load import MAX_DEPTH, load_yaml

STANDARD_INPUT = "standard input"


@verb(examples=(
    "caisson template jobs/web/templates/web.conf.erb --context context.json",
    "caisson template web.conf.j2 --context '{\"properties\": {\"port\": 80}}' -o web.conf",
))  # fmt: skip
@click.argument("path", metavar="FILE")
@click.option("--context", required=True, metavar="PATH", help="The context, a JSON or YAML file, - or the JSON text itself")
@click.option("-o", "--output", default="", metavar="PATH", help="Write to this file instead of the standard output")
@click.option("--engine", type=click.Choice(("erb", "jinja2")), help="Instead of what FILE's name says: *.j2 is Jinja2, all else ERB")
def command(session: Session, path: str, context: str, output: str, engine: str | None) -> None:
    """Fill in one ERB or Jinja2 template with a context: properties, links, index, id, az, address, networks, job and so on.

    FILE or the context may be - for the standard input.
    """
    from director.render import standalone

    if path == context == "-":
        raise UsageError("FILE and --context cannot both be the standard input", suggestion="Write one of them into a file.")
    document = _context(context)
    file = STANDARD_INPUT if path == "-" else path
    text = standalone.fill_in(file, templates.read(path), document, engine=engine or "")
    if not output:
        session.ui.block(text, kind="text")
        return
    _write(pathlib.Path(output).expanduser(), text)
    session.ui.line(f"Wrote {output}")


def _context(given: str) -> dict[str, Any]:
    """The document. Raises UsageError or ManifestError with the line where it is none."""
    inline = given.lstrip().startswith("{")
    text = given if inline else templates.read(given)
    file = "--context" if inline else STANDARD_INPUT if given == "-" else given
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        # JSON is nearly YAML, whose reader tells the line of a mistake.
        document = load_yaml(text, file).tree
    if not isinstance(document, dict):
        kind = {list: "Array", str: "String", type(None): "NilClass"}.get(type(document), type(document).__name__)
        raise RenderError(Diagnostic(
            f"Invalid spec provided for template evaluation context, Hash expected, {kind} given ({file})",
            suggestion='For example: {"properties": {"port": 80}, "index": 0}',
        ))
    if _is_deeper(document, MAX_DEPTH):
        raise RenderError(f"The context is nested deeper than {MAX_DEPTH} levels ({file})")
    return document


def _is_deeper(tree: Any, levels: int) -> bool:
    level = [tree]
    for _ in range(levels):
        level = [item for node in level if isinstance(node, dict | list) for item in (node.values() if isinstance(node, dict) else node)]
    return bool(level)


def _write(path: pathlib.Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.part")
    try:
        # For the owner only until it is whole: rendered templates hold secrets.
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o7777)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"'{path}' cannot be written: {error.strerror}", suggestion="Check the folder and its rights.") from error
