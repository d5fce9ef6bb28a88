"""For tests of OpenStack: the fake services with a CPI for them, and the real ones for tests marked `openstack`."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from cpis.conformance.clouds.openstack import Lab, seed, start
from cpis.conformance.standin import Skipped
from cpis.contract import CpiError, VmRequest
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.fake_services import FakeServices
from tests.cpis.openstack.real import ours
from tests.cpis.openstack.small import LOGIN, network


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests against the real services are run when they are asked for by their mark, and else not even counted."""
    if "openstack" in (config.option.markexpr or ""):
        return
    real = [item for item in items if item.get_closest_marker("openstack")]
    if real:
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if item not in real]


@dataclasses.dataclass
class Time:
    """A clock that sleeping moves on."""

    now: float = 1_900_000_000.0
    slept: list[float] = dataclasses.field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def times() -> Time:
    return Time()


@pytest.fixture
def services() -> Iterator[FakeServices]:
    fake = FakeServices()
    yield fake
    fake.close()


@pytest.fixture
def cpi(services: FakeServices, times: Time) -> Iterator[OpenStackCpi]:
    cpi = made(services, times)
    yield cpi
    cpi.close()


# The real services

@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    try:
        stand_in = start(tmp_path_factory.mktemp("openstack"))
    except Skipped as reason:
        pytest.skip(str(reason))
    with stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def real_cpi(lab: Lab) -> Iterator[OpenStackCpi]:
    with contextlib.closing(ours(lab)) as cpi:
        yield cpi


@pytest.fixture
def nothing_left(lab: Lab) -> Iterator[None]:
    """After the test, by the services' own lists."""
    yield
    left = lab.resources()
    if left:  # so that one failure does not become many
        with contextlib.closing(ours(lab)) as cpi:
            for delete, kind in ((cpi.delete_vm, "vm"), (cpi.delete_snapshot, "snapshot"), (cpi.delete_disk, "disk"),
                                 (cpi.delete_stemcell, "stemcell")):
                for found in cpi.owned():
                    if found.kind == kind:
                        with contextlib.suppress(CpiError):
                            delete(found.cid)
    assert not left


@pytest.fixture
def api(lab: Lab) -> Iterator[seed.Api]:
    with contextlib.closing(lab.demo()) as api:
        yield api


@pytest.fixture
def admin(lab: Lab) -> Iterator[seed.Api]:
    with contextlib.closing(lab.admin()) as api:
        yield api


def made(services: FakeServices, times: Time, **config: Any) -> OpenStackCpi:
    return OpenStackCpi({**services.config(**config), "director": "tests"}, clock=times.clock, sleep=times.sleep)


def request(token: str = "vm-11111111-2222-4333-8444-555555555555", **changes: Any) -> VmRequest:
    fields: dict[str, Any] = {
        "agent_id": "a", "stemcell_cid": "image-1 light", "cloud_properties": {"instance_type": "small"}, "networks": (network(),),
        "login": LOGIN, "metadata": {"director": "my director", "name": "router/0"}}
    return VmRequest(token, **{**fields, **changes})


__all__ = ["LOGIN", "Time", "made", "network", "request"]
