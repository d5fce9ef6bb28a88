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


@pytest.fixture
def make_world(tmp_path: Path, renderer: Renderer) -> Iterator[Callable[[], World]]:
    """Makes worlds with stemcell, release and cloud config."""
    made: list[World] = []

    def make() -> World:
        world = World(tmp_path / f"world-{len(made)}", renderer=renderer)
        made.append(world)
        world.configure(CLOUD)
        world.stemcell()
        world.upload(RELEASE)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[[], World]) -> World:
    return make_world()
