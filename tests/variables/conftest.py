"""A vault in a fresh folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from trust import NOW

from director.state import Store
from director.variables import Vault


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "caisson.db"
    Store(path).close()
    return path


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Iterator[Store]:
    with Store(shutil.copy(empty_database, tmp_path / "caisson.db"), clock=lambda: NOW) as opened:
        opened.deployments.ensure("d")
        yield opened


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    return tmp_path / "vault.key"


@pytest.fixture
def vault(store: Store, key_path: Path) -> Vault:
    return Vault(store, key_path, clock=lambda: NOW)
