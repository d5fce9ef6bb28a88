"""Fixtures of the manifest's tests."""

from __future__ import annotations

import pytest
from manifest_cases import Base


@pytest.fixture
def base() -> Base:
    """A base manifest and cloud config to change by operations."""
    return Base()
