from __future__ import annotations

import pathlib
from collections.abc import Iterator

import api_world
import pytest


@pytest.fixture(scope="session")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_world.Listening]:
    made = api_world.listen(tmp_path_factory.mktemp("listening"))
    yield made
    made.close()


@pytest.fixture
def world(tmp_path: pathlib.Path, listening: api_world.Listening) -> Iterator[api_world.World]:
    made = api_world.World(tmp_path, listening)
    yield made
    made.close()
