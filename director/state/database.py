"""Engine, transactions and errors; the base class of the repositories.

SQLite: write-ahead log, so readers never wait for a writer; foreign keys; one writer at a time. A write transaction begins with
BEGIN IMMEDIATE, since one that starts by reading and then writes fails at once when another wrote in between. Writers of this
process queue on a lock (SQLite's own waiting is polling and unfair), those of other processes on the busy timeout.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from director import errors
from director.diagnostics import Diagnostic

BUSY_TIMEOUT_SECONDS = 30.0
CHUNK = 500  # values in one IN (...); SQLite takes 32766, older ones 999
POOL_SIZE = 16
POOL_OVERFLOW = 112


class RowClass(Protocol):
    """A dataclass whose fields are named as columns."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Row = TypeVar("Row", bound=RowClass)


class Database:
    """Connections to one database. A thread has at most one transaction; inner ones are savepoints of the outer."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        """`url` is an SQLAlchemy URL or a file path. Raises CaissonError when it cannot be opened."""
        if "://" not in url:
            _create_private(Path(url))
            url = f"sqlite:///{url}"
        self.clock = clock
        self._local = threading.local()
        self._is_sqlite = url.startswith("sqlite")
        self._writing = threading.Lock() if self._is_sqlite else contextlib.nullcontext()
        options: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": POOL_OVERFLOW}
        if self._is_sqlite:
            options["connect_args"] = {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        self.engine = sa.create_engine(url, **options)
        if self._is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def close(self) -> None:
        """Close all connections. The database can be used again afterwards: it connects anew."""
        self.engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """The thread's transaction, or a short one that only reads."""
        current = self._current()
        if current is not None:
            yield current
            return
        with _translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """A transaction that ends with this block: committed, or rolled back when the block raises.

        Inside another one it is a savepoint of it. `durable` waits until the disk has it, so that it survives the loss of power;
        without it only the loss of the process is survived.
        """
        current = self._current()
        if current is not None:
            with _translated(), current.begin_nested():
                yield current
            return
        with _translated(), self._writing, self.engine.connect() as connection:
            connection.execution_options(caisson_write=True, caisson_durable=durable)
            with connection.begin():
                self._local.connection = connection
                try:
                    yield connection
                finally:
                    self._local.connection = None

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside `write`."""
        return self._current() is not None

    def _current(self) -> sa.Connection | None:
        connection: sa.Connection | None = getattr(self._local, "connection", None)
        return connection


class Repository:
    """Queries about one kind of thing. Every method is a transaction, or part of the thread's current one."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def _one(self, kind: type[Row], statement: sa.Select[Any]) -> Row | None:
        with self._db.read() as connection:
            row = connection.execute(statement.limit(1)).mappings().first()
        return None if row is None else fill(kind, row)

    def _many(self, kind: type[Row], statement: sa.Select[Any]) -> list[Row]:
        with self._db.read() as connection:
            return [fill(kind, row) for row in connection.execute(statement).mappings()]

    def _many_in(self, kind: type[Row], statement: sa.Select[Any], column: sa.Column[Any], values: Sequence[Any]) -> list[Row]:
        """Rows whose `column` is one of `values`, however many these are."""
        found: list[Row] = []
        with self._db.read():
            for start in range(0, len(values), CHUNK):
                found.extend(self._many(kind, statement.where(column.in_(values[start:start + CHUNK]))))
        return found

    def _value(self, statement: sa.Select[Any]) -> Any:
        with self._db.read() as connection:
            return connection.execute(statement).scalar()

    def _insert(self, table: sa.Table, values: Mapping[str, Any]) -> int:
        """Insert and answer the number given to the row, 0 for tables without one."""
        with self._db.write() as connection:
            key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
        return key[0] if key is not None and isinstance(key[0], int) else 0

    def _change(self, table: sa.Table, where: sa.ColumnElement[bool], changes: Mapping[str, Any]) -> int:
        if not changes:
            return 0
        with self._db.write() as connection:
            return connection.execute(sa.update(table).where(where).values(**changes)).rowcount

    def _delete(self, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
        with self._db.write() as connection:
            return connection.execute(sa.delete(table).where(where)).rowcount


def fill(kind: type[Row], row: sa.RowMapping) -> Row:
    """Make a row class from the columns that are named as its fields."""
    return kind(**{name: row[name] for name in kind.__dataclass_fields__})


def values_of(row: RowClass, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The columns of a row class, shallow."""
    return {name: getattr(row, name) for name in row.__dataclass_fields__ if name not in without}


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """No SQL library's error leaves this layer. Statements may hold secrets, so only the database's own sentence is told."""
    try:
        yield
    except exc.IntegrityError as error:
        raise errors.ConflictError(
            Diagnostic("The record contradicts others in the state database", detail=str(error.orig))
        ) from error
    except exc.DBAPIError as error:
        raise errors.CaissonError(Diagnostic(
            "The state database cannot be used", detail=str(error.orig),
            suggestion="Look at free space, permissions and other processes that use the state directory, then try again.",
        )) from error


def _create_private(path: Path) -> None:
    """SQLite gives its log files the mode of the database file; manifests may hold secrets, so nobody else reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions by rules of its own; `_begin_sqlite` does it
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("caisson_write"):
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get('caisson_durable') else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
