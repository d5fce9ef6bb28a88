"""Networks that the cloud makes: before the deploy is planned, once, and gone when nobody uses them any more."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from fakes import World
from small_world import CLOUD, MANIFEST

from cpis import contract
from cpis.fake import FakeCpi, Fault
from director.errors import CloudError, ConflictError, NotFoundError, PlanError
from director.execute import cleanup, delete, networks, prepare
from director.execute.clouds import Clouds

MANAGED = CLOUD.replace(
    "compilation:",
    """- name: made
  managed: true
  subnets:
  - {name: left, netmask_bits: 28, az: z1, cloud_properties: {zone: a}}
  - {name: right, range: 10.77.0.0/24, gateway: 10.77.0.9, az: z2, reserved: [10.77.0.3]}
compilation:""")
USER = MANIFEST.replace("networks: [{name: default}]", "networks: [{name: made}]")


@pytest.fixture
def world(world: World) -> World:
    world.configure(MANAGED)
    return world


def made(world: World) -> list[dict[str, str]]:
    return [dict(resource) for resource in world.cloud._of("network")]


def addresses(world: World) -> list[str]:
    return [world.store.vms.get(world.machine("web", index).cid).ips[0] for index in (0, 1)]


def test_networks_are_made_before_machines_and_give_their_addresses(world: World) -> None:
    world.deploy(USER)
    methods = [method for method, _ in world.cloud.log]
    assert max(place for place, name in enumerate(methods) if name == "create_network") < methods.index("create_vm")
    left, right = made(world)
    assert [left["range"], right["range"]] == ["10.128.0.0/28", "10.77.0.0/24"]
    first, second = addresses(world)
    assert ip_address(first) in ip_network("10.128.0.0/28")
    assert first == "10.128.0.3", "the gateway is .1, and .2 is what the cloud keeps for itself"
    assert second == "10.77.0.1", "the gateway is .9, .2 the cloud's, .3 reserved"
    vm = world.cloud._get("vm", world.machine("web").cid)
    assert vm["networks"][0]["cloud_properties"] == {"zone": "a", "network": left["cid"]}
    assert vm["networks"][0]["gateway"] == "10.128.0.1"
    world.task += 1
    seen = len(world.fleet.calls)
    world.deploy(USER)
    assert len(made(world)) == 2, "they are made once"
    assert {call.action for call in world.fleet.calls[seen:]} == {"get_state"}


def test_only_networks_that_are_used_are_made(world: World) -> None:
    world.deploy(MANIFEST)
    assert made(world) == []


def test_a_preview_makes_nothing_and_says_that_addresses_are_made_up(world: World) -> None:
    prepared = prepare.prepare(world.context, prepare.Wanted(USER), write=False)
    assert made(world) == []
    assert any("'left' are made up" in warning for warning in prepared.warnings)
    shown = [item.ip for change in prepared.plan.changes if change.group == "web" for item in change.reservations]
    assert [ip_address(ip) in ip_network(where) for ip, where in zip(shown, ("198.18.0.0/15", "10.77.0.0/24"), strict=True)] == [True, True]


def test_two_deployments_share_a_network_and_the_last_one_orphans_it(world: World) -> None:
    other = USER.replace("name: app", "name: other", 1).replace("10.0.0.10]", "10.0.0.11]")
    world.deploy(USER)
    world.task += 1
    world.deploy(other)
    assert len(made(world)) == 2
    delete.delete_deployment(world.context, "app")
    assert world.store.networks.orphans() == []
    with pytest.raises(ConflictError) as caught:
        networks.delete_network(world.context, "made")
    assert caught.value.diagnostics[0].code == 160011
    world.task += 1
    world.deploy(other.replace("networks: [{name: made}]", "networks: [{name: default}]"))
    assert [row.name for row in world.store.networks.orphans()] == ["made"]
    assert len(made(world)) == 2, "for a day"
    world.task += 1
    world.deploy(other)
    assert world.store.networks.orphans() == [], "it is taken up again"
    delete.delete_deployment(world.context, "other")
    assert networks.delete_network(world.context, "made") == "orphaned network(s) made deleted"
    assert made(world) == []
    with pytest.raises(NotFoundError) as missing:
        networks.delete_network(world.context, "made")
    assert missing.value.diagnostics[0].code == 16012


def test_orphaned_networks_go_after_a_day_or_with_the_clean_up(world: World) -> None:
    world.deploy(USER)
    delete.delete_deployment(world.context, "app")

    def old() -> int:
        return len(world.store.networks.orphans(older_than_seconds=networks.KEPT_SECONDS))

    assert old() == 0
    world.clock.now += 86401
    assert old() == 1
    cleanup.clean_up(world.context)
    assert made(world) == []
    assert world.store.networks.orphans() == []


def test_a_network_with_an_orphaned_machine_on_it_waits(world: World) -> None:
    swap = USER.replace("max_in_flight: 2", "max_in_flight: 2, vm_strategy: create-swap-delete")
    world.deploy(swap)
    delete.delete_deployment(world.context, "app")
    assert networks.delete_orphaned(world.context, world.store.networks.orphans()) == 0
    assert any("is in use by vm-" in warning for warning in world.log.warnings)
    cleanup.clean_up(world.context)
    assert made(world) == [], "machines go first"


def test_a_subnet_that_is_there_cannot_become_another(world: World) -> None:
    world.deploy(USER)
    world.configure(MANAGED.replace("netmask_bits: 28", "netmask_bits: 27"))
    with pytest.raises(PlanError, match="'left' of managed network 'made' is there already, made from other settings"):
        world.deploy(USER)


def test_a_cloud_that_cannot_make_networks_says_so(world: World) -> None:
    class Poor:
        """The fake cloud without the methods for networks."""

        def __init__(self, cloud: FakeCpi) -> None:
            self._cloud = cloud

        def __getattr__(self, name: str) -> object:
            if name in ("create_network", "delete_network"):
                raise AttributeError(name)
            return getattr(self._cloud, name)

    poor = Poor(world.cloud)
    assert not isinstance(poor, contract.NetworkMaker)
    clouds = Clouds(poor, lambda name, entry: world.cloud, dict)  # type: ignore[arg-type]
    ctx = dataclasses.replace(world.context, clouds=clouds)
    with pytest.raises(PlanError, match="Network 'made' is managed, but the cloud 'fake' cannot make networks"):
        prepare.prepare(ctx, prepare.Wanted(USER), write=False)


def test_an_answer_that_was_lost_is_found_again(world: World, tmp_path: Path) -> None:
    world.cloud.faults = [Fault("create_network", "Unavailable", nth=1, times=9, when="after")]
    with pytest.raises(CloudError):
        world.deploy(USER)
    assert len(made(world)) == 1
    world.cloud.faults = []
    world.deploy(USER)
    assert len(made(world)) == 2
    assert len({resource["token"] for resource in made(world)}) == 2
    assert [row.state for row in world.store.journal.all() if row.effect == "create_network"] == ["done", "done"]


def test_a_first_deploy_that_fails_orphans_what_it_made(world: World) -> None:
    with pytest.raises(PlanError):
        world.deploy(USER.replace("instances: 2", "instances: 2000"))
    assert world.store.deployments.all() == []
    assert [row.name for row in world.store.networks.orphans()] == ["made"]
