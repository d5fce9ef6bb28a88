"""Worlds of this folder's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# What a TLS library would trust is decided where variables are tested.
sys.path.insert(0, str(Path(__file__).parent.parent / "variables"))

from fakes import World
from small_world import CLOUD, RELEASE

from director.render.renderer import Renderer


@pytest.fixture(scope="session")
def renderer() -> Iterator[Renderer]:
    with Renderer() as renderer:
        yield renderer


@pytest.fixture(scope="session")
def first_world(tmp_path_factory: pytest.TempPathFactory, renderer: Renderer) -> Iterator[World]:
    """With stemcell, release and cloud config: made once, since every test begins there."""
    world = World(tmp_path_factory.mktemp("first") / "world", renderer=renderer)
    world.configure(CLOUD)
    world.stemcell()
    world.upload(RELEASE)
    yield world
    world.close()


@pytest.fixture
def make_world(tmp_path: Path, first_world: World) -> Iterator[Callable[[], World]]:
    """Makes worlds that nothing else feels, as the first one was left."""
    made: list[World] = []

    def make() -> World:
        made.append(first_world.copy(tmp_path / f"world-{len(made)}"))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()
