"""Brings a database to the newest schema when it is opened. One file per step in `versions/`, run by Alembic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa

from director import errors
from director.diagnostics import Diagnostic

HEAD = "0004"  # the newest revision; a test compares it with the files


def upgrade(engine: sa.Engine, write: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
    """Run what is missing, in one transaction. Costs one query when nothing is. Raises CaissonError for a newer database."""
    if _current(engine) == HEAD:
        return
    # Imported only here: it takes longer than all the rest of opening a database.
    from alembic import command, config
    from alembic.util import CommandError

    settings = config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    with write() as connection:
        settings.attributes["connection"] = connection
        try:
            command.upgrade(settings, "head")
        except CommandError as error:
            raise errors.CaissonError(Diagnostic(
                "The state database was made by a newer version of Caisson", detail=str(error),
                suggestion="Start the newer version, or restore the state directory from a backup.")) from error


def _current(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        value: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return value
