"""Databases are made, kept private, brought up to date, and refused when they come from the future."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from director import errors
from director.state import Store, migrations, tables


def test_migrations_make_exactly_the_tables(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), tables.metadata) == []
    engine.dispose()


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    with Store(tmp_path / "deep" / "caisson.db") as store:
        store.settings.set("a", "b")
        for file in (tmp_path / "deep").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_opened_twice_keeps_what_is_there(path: Path) -> None:
    with Store(path) as first:
        first.settings.set("uuid", "1")
    with Store(path) as second:
        assert second.settings.get("uuid") == "1"


def test_database_of_a_newer_version_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(errors.CaissonError, match="newer version of Caisson"):
        Store(path)


def test_half_made_schema_is_made_anew(tmp_path: Path) -> None:
    """A crash while migrating leaves nothing: it is one transaction."""
    path = tmp_path / "caisson.db"
    connection = sqlite3.connect(path)
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE deployments (name TEXT)")
    connection.close()  # as a process that dies
    with Store(path) as store:
        assert store.deployments.all() == []
