"""Types of columns that hold more than one value."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


class Strings(sa.types.TypeDecorator[tuple[str, ...]]):
    """A tuple of texts, kept as a JSON array."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: sa.Dialect) -> list[str]:
        return list(value or ())

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> tuple[str, ...]:
        return tuple(value or ())


class Numbers(sa.types.TypeDecorator[tuple[int, ...]]):
    """A tuple of integers, kept as a JSON array."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: sa.Dialect) -> list[int]:
        return list(value or ())

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> tuple[int, ...]:
        return tuple(value or ())
