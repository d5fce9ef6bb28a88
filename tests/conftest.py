"""For all tests: which tier they belong to, and what they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that try many examples are walks: each takes as long as dozens of others."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.walk)


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """A director compiles each SQL statement once in its life. Tests make thousands of databases, each of which would do it again: a third
    of their time. Compiled statements are kept by dialect, so the databases of one kind get one dialect as well.
    """
    dialects: dict[str, sa.Dialect] = {}
    compiled: dict[Any, Any] = {}

    def share(connection: sa.Connection) -> None:
        connection.dialect = dialects.setdefault(f"{connection.dialect.name} {connection.dialect.driver}", connection.dialect)
        connection.execution_options(compiled_cache=compiled)

    sa.event.listen(sa.Engine, "engine_connect", share)
    yield
    sa.event.remove(sa.Engine, "engine_connect", share)
