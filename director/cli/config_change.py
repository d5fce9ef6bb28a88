"""What the commands that update a config share: compare, ask, send."""

from __future__ import annotations

from typing import Any

from director.cli import diffs
from director.cli.session import Session
from director.cli.tables import Table
from director.errors import ConflictError

FORCE = "Also when running instances lose their zone, network or CPI by it"


def update(
    session: Session, type_: str, name: str, content: str, expected: str | None = None, *, force: bool = False, redact: bool = True,
) -> None:
    """Show what changes, and what the next deploy would refuse; ask, and store `content` unless somebody else was faster (`expected` is
    the id meant to be replaced)."""
    from director.cli.client import DirectorError

    found = session.client.diff_config({"type": type_, "name": name, "content": content}, redact=redact)
    diffs.show(session.ui, found["diff"])
    for problem in found.get("problems") or ():
        session.ui.error(f"The next deploy will {'refuse' if problem.get('severity') == 'error' else 'warn'}: {_told(problem)}", "warn")
    latest = str((found.get("from") or {}).get("id", "0"))
    session.ui.confirm()
    body = {"type": type_, "name": name, "content": content, "expected_latest_id": latest if expected is None else expected}
    try:
        made = session.client.update_config(body, force=force)
    except DirectorError as error:
        if error.status != 412:
            raise
        raise ConflictError(
            f"Config update rejected: the latest {type_} config '{name}' is not the expected one. {error.message}",
            suggestion="Somebody changed it meanwhile: look at the difference again.",
        ) from error
    session.ui.table(table_of([made]))


def _told(problem: dict[str, Any]) -> str:
    from director.cli.client import diagnostic_of

    item = diagnostic_of(problem)
    return f"{item.sentence}. {item.suggestion}".removesuffix(". ")


def table_of(rows: list[dict[str, object]]) -> Table:
    """Configs as rows, without their content."""
    cells = tuple(
        (f"{row['id']}{'*' if row.get('current') else ''}", row["type"], row["name"], row.get("team"), row.get("created_at"))
        for row in rows
    )
    return Table("configs", ("ID", "Type", "Name", "Team", "Created At"), cells, ("(*) Currently active",))


def show(session: Session, type_: str, name: str) -> None:
    """Print the content of the latest config; nothing there is an error."""
    from director.errors import NotFoundError

    found = session.client.configs({"type": type_, "name": name, "limit": 1, "latest": "true"})
    if not found:
        raise NotFoundError(
            f"No {type_} config '{name}'", suggestion=f"'caisson update-{type_}-config PATH' makes one; 'caisson configs' lists all."
        )
    session.ui.block(str(found[0]["content"]).rstrip("\n") + "\n", kind="text")
