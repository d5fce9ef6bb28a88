"""What end-to-end tests share. Each module has a director of its own, with its own state directory, port and range of addresses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worksite import Site, free_range

MakeSite = Callable[[], Site]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "openstack" not in (config.option.markexpr or ""):
        minutes = [item for item in items if item.get_closest_marker("openstack")]
        items[:] = [item for item in items if item not in minutes]
        config.hook.pytest_deselected(items=minutes)
    for item in items:
        if item.get_closest_marker("e2e") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="machines on this computer need root"))


@pytest.fixture(scope="module")
def make_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSite]:
    """Makes directors that are removed, with all they made, at the module's end."""
    made: list[Site] = []

    def make(net: str = "") -> Site:
        folder: Path = tmp_path_factory.mktemp("site", numbered=True)
        made.append(Site(folder, net or free_range()))
        return made[-1]

    yield make
    for site in made:
        site.close()
