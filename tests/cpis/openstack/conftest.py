"""For tests of OpenStack: the fake services with a CPI for them, and the real ones for tests marked `openstack`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from cpis.contract import VmRequest
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.fake_services import FakeServices
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


def made(services: FakeServices, times: Time, **config: Any) -> OpenStackCpi:
    return OpenStackCpi({**services.config(**config), "director": "tests"}, clock=times.clock, sleep=times.sleep)


def request(token: str = "vm-11111111-2222-4333-8444-555555555555", **changes: Any) -> VmRequest:
    fields: dict[str, Any] = {
        "agent_id": "a", "stemcell_cid": "image-1 light", "cloud_properties": {"instance_type": "small"}, "networks": (network(),),
        "login": LOGIN, "metadata": {"director": "my director", "name": "router/0"}}
    return VmRequest(token, **{**fields, **changes})


__all__ = ["LOGIN", "Time", "made", "network", "request"]
