"""Plans on their way to people and files: how they are shown, saved and read again."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

from director.cli.ui import Ui
from director.diagnostics import Diagnostic, Where
from director.errors import UsageError
from director.plan import planfile
from director.plan.model import Action

LOOKS = {
    Action.CREATE.glyph: "good", Action.DELETE.glyph: "bad", Action.UPDATE.glyph: "warn", Action.RECREATE.glyph: "warn",
    Action.STOP.glyph: "warn"}


def show(ui: Ui, text: str) -> None:
    """The plan for people; on terminals the lines of instances have the colour of what happens to them."""
    if ui.manner == "json":
        ui.block(text)
        return
    for line in text.rstrip("\n").split("\n"):
        head = line[2:3] if line.startswith("  ") and line[3:4] == " " and "/" in line else ""
        look = LOOKS.get(head, "warn" if line.startswith("Warning: ") else "")
        ui.block(line + "\n", look, kind="text")


def show_json(ui: Ui, plan: Any) -> None:
    ui.block(json.dumps(plan, indent=2, sort_keys=True))


def writable(path: pathlib.Path) -> pathlib.Path:
    """The path, when a plan may be written there. Raises UsageError for a file that is something else than a plan."""
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(Diagnostic(f"A plan cannot be written to '{path}'", suggestion="Name a file in a folder that is there."))
    if path.exists() and path.stat().st_size and not _is_plan(path):
        raise UsageError(Diagnostic(
            f"'{path}' is there and is no plan file, so it is not overwritten",
            suggestion="Choose another name. An ops file must not end in .json here: JSON is YAML, so name it .yml."))
    return path


def save(path: pathlib.Path, tree: Mapping[str, Any]) -> None:
    """Write a plan file whole or not at all, for its owner's eyes only. Raises UsageError."""
    text = json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as error:
        raise UsageError(Diagnostic(f"The plan cannot be written to '{path}': {error.strerror}")) from error


def load(path: pathlib.Path) -> tuple[planfile.PlanFile, dict[str, Any]]:
    """A plan file, and the data it was. Raises UsageError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(Diagnostic(
            f"The plan file cannot be read: {reason}", where=Where(str(path)),
            suggestion="Make one: caisson plan MANIFEST -o plan.json.")) from error
    kept = planfile.read(text, str(path))
    tree: dict[str, Any] = json.loads(text)
    return kept, tree


def _is_plan(path: pathlib.Path) -> bool:
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and "caisson_plan" in tree
