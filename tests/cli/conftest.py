from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

# The API's world is the director these tests talk to.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "api"))

import api_world
import cli_world


@pytest.fixture(scope="session")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_world.Listening]:
    made = api_world.listen(tmp_path_factory.mktemp("listening"))
    yield made
    made.close()


@pytest.fixture
def cli(tmp_path: pathlib.Path, listening: api_world.Listening) -> Iterator[cli_world.Cli]:
    world = api_world.World(tmp_path, listening)
    yield cli_world.Cli(world, tmp_path)
    world.close()


@pytest.fixture
def offline(tmp_path: pathlib.Path) -> cli_world.Cli:
    return cli_world.Cli(None, tmp_path)
