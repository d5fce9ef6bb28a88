"""Load balancer pools, against Octavia's REAL API with a provider that does nothing (`make test-openstack`); the rest is the fake's."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpis.conformance.clouds.openstack.lab import PACKAGES
from cpis.conformance.clouds.openstack.octavia import Octavia
from cpis.conformance.standin import Skipped
from cpis.contract import Invalid
from cpis.openstack import OpenStackCpi
from tests.cpis.openstack.conftest import network, request
from tests.cpis.openstack.fake_services import SUBNET, FakeServices

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def octavia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Octavia]:
    try:
        octavia = Octavia(Path(os.environ.get(PACKAGES) or ".state/openstack").absolute(), tmp_path_factory.mktemp("octavia"))
    except Skipped as reason:
        pytest.skip(str(reason))
    with contextlib.closing(octavia):
        yield octavia


@pytest.fixture
def cpi(services: FakeServices, octavia: Octavia) -> Iterator[OpenStackCpi]:
    config = services.config(director="tests", wait_resource_poll_interval=0.1)
    with contextlib.closing(OpenStackCpi({**config, "endpoints": {**config["endpoints"], "load_balancer": octavia.url}})) as cpi:
        yield cpi


def test_machines_join_pools_and_leave(octavia: Octavia, services: FakeServices, cpi: OpenStackCpi) -> None:
    """Two machines one after the other, faster than the load balancer takes changes: its refusals (`immutable`) are waited out."""
    names = [f"pool-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    pools = [octavia.pool(name) for name in names]
    properties = {"instance_type": "small", "loadbalancer_pools": [
        {"name": names[0], "port": 80}, {"name": names[0], "port": 8080}, {"name": names[1], "port": 8443}]}
    requests = [request(f"vm-{uuid.uuid4()}", cloud_properties=properties, networks=(network(number),)) for number in (10, 11)]
    vms = [cpi.create_vm(wanted) for wanted in requests]
    assert cpi.create_vm(requests[0]) == vms[0]
    for pool, ports in zip(pools, ((80, 8080), (8443,)), strict=True):
        told = [(member["name"], member["address"], member["protocol_port"], member["subnet_id"]) for member in octavia.members(pool)]
        assert sorted(told) == sorted(
            (wanted.token, vm.networks[0].ip, port, SUBNET) for wanted, vm in zip(requests, vms, strict=True) for port in ports)
    cpi.delete_vm(vms[0].cid)
    assert {member["name"] for pool in pools for member in octavia.members(pool)} == {requests[1].token}
    cpi.delete_vm(vms[1].cid)
    assert [octavia.members(pool) for pool in pools] == [[], []]
    assert not services.left()


def test_names_of_pools(octavia: Octavia, services: FakeServices, cpi: OpenStackCpi) -> None:
    twice = f"pool-{uuid.uuid4().hex[:8]}"
    for _ in range(2):
        octavia.pool(twice)
    for name, words in ((twice, f"2 load balancer pools are named '{twice}'"), ("nobodys", "no load balancer pool 'nobodys'")):
        with pytest.raises(Invalid, match=words):
            cpi.create_vm(request(cloud_properties={"instance_type": "small", "loadbalancer_pools": [{"name": name, "port": 80}]}))
    assert not services.left()


def test_an_address_that_octavia_refuses_leaves_nothing(octavia: Octavia, services: FakeServices, cpi: OpenStackCpi) -> None:
    """A port of no number that it takes; in its own words."""
    name = f"pool-{uuid.uuid4().hex[:8]}"
    pool = octavia.pool(name)
    with pytest.raises(Invalid, match="protocol_port"):
        cpi.create_vm(request(cloud_properties={"instance_type": "small", "loadbalancer_pools": [{"name": name, "port": 70000}]}))
    assert octavia.members(pool) == []
    assert not services.left()
