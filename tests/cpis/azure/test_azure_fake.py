"""The fake of Resource Manager, looked at by somebody else: Libcloud's own driver, and the answers that it was recorded with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libcloud
import pytest
from libcloud.common.azure_arm import AzureResourceManagementConnection
from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.base import NodeAuthSSHKey, NodeLocation, NodeSize
from libcloud.compute.drivers.azure_arm import AzureImage, AzureNodeDriver, AzureSubnet
from libcloud.compute.types import NodeState, StorageVolumeState

from cpis.conformance.clouds.azure import CLIENT, GROUP, LOCATION, SECRET, SUBSCRIPTION, TENANT, AzureStandIn, Fault

pytestmark = pytest.mark.walk

FIXTURES = Path(libcloud.__file__).parent / "test/compute/fixtures/azure_arm"
SUBNET = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/virtualNetworks/caisson-net/subnets/machines"


@pytest.fixture
def world() -> Iterator[AzureStandIn]:
    with AzureStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def driver(world: AzureStandIn) -> Iterator[Any]:
    """Libcloud's driver as it is, but for the address (`cloud-emulators.md`, section 6)."""
    port = int(world.endpoint.rpartition(":")[2])

    class Local(AzureResourceManagementConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.host, self.port, self.secure = "127.0.0.1", port, 0

        def get_token_from_credentials(self) -> None:
            self.access_token = world.arm.issue()["access_token"]
            self.expires_on = 4102444800

    class LocalDriver(AzureNodeDriver):
        connectionCls = Local

    made = LocalDriver(TENANT, SUBSCRIPTION, CLIENT, SECRET, region=LOCATION)
    yield made
    made.connection.connection.session.close()


def until(ask: Any) -> Any:
    """The first true answer within two seconds."""
    ends = time.monotonic() + 2
    while not (found := ask()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found


def test_libclouds_driver_lives_a_whole_life_in_it(world: AzureStandIn, driver: Any) -> None:
    place = NodeLocation(LOCATION, LOCATION, "", driver)
    nic = driver.ex_create_network_interface("nic", AzureSubnet(SUBNET, "machines", {}), GROUP, place)
    node = driver.create_node(
        "node", NodeSize("Standard_B2s", "", 0, 0, 0, 0, driver), AzureImage("latest", "12-gen2", "debian-12", "Debian", LOCATION, driver),
        NodeAuthSSHKey("ssh-rsa AAAA"), ex_resource_group=GROUP, location=place, ex_nic=nic, ex_user_name="azureuser", ex_tags={"a": "b"},
        ex_use_managed_disks=True, ex_os_disk_delete=True)
    until(lambda: driver.ex_get_node(node.id).state == NodeState.RUNNING)
    (found,) = driver.list_nodes()
    assert found.private_ips == ["10.86.16.4"]
    volume = driver.create_volume(4, "data", place, ex_resource_group=GROUP, ex_tags={"a": "b"})
    until(lambda: driver.ex_get_volume(volume.id).state == StorageVolumeState.AVAILABLE)
    driver.attach_volume(driver.ex_get_node(node.id), volume)
    until(lambda: driver.ex_get_volume(volume.id).state == StorageVolumeState.INUSE)
    with pytest.raises(BaseHTTPError, match="OperationNotAllowed"):
        driver.destroy_volume(volume)
    snapshot = driver.create_volume_snapshot  # `sourceUri`, which newer interfaces refuse
    with pytest.raises(BaseHTTPError):
        snapshot(volume, "snap", place, ex_resource_group=GROUP)
    driver.detach_volume(volume, driver.ex_get_node(node.id))
    until(lambda: driver.ex_get_volume(volume.id).state == StorageVolumeState.AVAILABLE)
    driver.ex_create_tags(node, {"c": "d"})
    # Its attachments were PUTs without tags, which takes them away: one reason not to use them.
    assert driver.ex_get_node(node.id).extra["tags"] == {"c": "d"}
    assert driver.reboot_node(node)
    driver.destroy_node(node, ex_poll_wait=0.01)
    until(lambda: [kind for kind, _ in world.resources()] == ["disks"])


def _keys(tree: Any) -> set[str]:
    return set(tree) if isinstance(tree, dict) else set()


@pytest.mark.parametrize(("fixture", "kind", "inner"), [
    ("_subscriptions_99999999_resourceGroups_000000_providers_Microsoft_Compute_virtualMachines_test_node_1.json", "virtualMachines",
     {"hardwareProfile", "storageProfile", "networkProfile", "provisioningState", "vmId"}),
    ("_subscriptions_99999999_resourceGroups_REVIZOR_providers_Microsoft_Network_networkInterfaces_test_nic.json", "networkInterfaces",
     {"provisioningState", "ipConfigurations"}),
    ("_subscriptions_99999999_resourceGroups_000000_providers_Microsoft_Compute_disks_test_disk_1.json", "disks",
     {"provisioningState", "diskSizeGB", "creationData"}),
])
def test_answers_have_the_keys_of_recorded_ones(world: AzureStandIn, driver: Any, fixture: str, kind: str, inner: set[str]) -> None:
    recorded = json.loads((FIXTURES / fixture).read_text())
    assert inner <= _keys(recorded["properties"])
    place = NodeLocation(LOCATION, LOCATION, "", driver)
    nic = driver.ex_create_network_interface("nic", AzureSubnet(SUBNET, "machines", {}), GROUP, place)
    driver.create_node(
        "node", NodeSize("Standard_B2s", "", 0, 0, 0, 0, driver), AzureImage("latest", "12-gen2", "debian-12", "Debian", LOCATION, driver),
        NodeAuthSSHKey("ssh-rsa AAAA"), ex_resource_group=GROUP, location=place, ex_nic=nic, ex_use_managed_disks=True)
    identity = next(identity for found, identity in world.resources() if found == kind)
    answer = driver.connection.request(identity, params={"api-version": "2024-07-01"}).object
    assert {"id", "name", "type", "location", "properties"} <= _keys(answer) & (_keys(recorded) | {"type"})
    assert inner <= _keys(answer["properties"])
    assert "customData" not in json.dumps(answer)
    assert "adminPassword" not in json.dumps(answer)


@pytest.mark.parametrize(("method", "path", "code"), [
    ("GET", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/absent/providers/Microsoft.Compute/disks/d", "ResourceGroupNotFound"),
    ("GET", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/disks/d", "ResourceNotFound"),
    ("GET", "/subscriptions/another/resources", "SubscriptionNotFound"),
    ("GET", f"/subscriptions/{SUBSCRIPTION}/resources", "InvalidFilterInQueryString"),
])
def test_it_refuses_as_the_service_does(driver: Any, method: str, path: str, code: str) -> None:
    with pytest.raises(BaseHTTPError, match=code):
        driver.connection.request(path, params={"api-version": "2021-04-01"}, method=method)


def test_put_without_tags_takes_them_away(world: AzureStandIn, driver: Any) -> None:
    """Section 7.4."""
    place = NodeLocation(LOCATION, LOCATION, "", driver)
    volume = driver.create_volume(4, "data", place, ex_resource_group=GROUP, ex_tags={"a": "b"})
    driver.ex_resize_volume(until(lambda: driver.ex_get_volume(volume.id)), 8, GROUP)
    assert driver.ex_get_volume(volume.id).extra["tags"] == {}


def test_fault_comes_as_often_as_it_was_asked_for(world: AzureStandIn, driver: Any) -> None:
    path = f"/subscriptions/{SUBSCRIPTION}"
    world.store.faults.append(Fault("GET", path, status=503, code="ServiceUnavailable", times=2, skip=1))
    outcomes = []
    for _ in range(4):
        try:
            driver.connection.request(path, params={"api-version": "2021-04-01"})
            outcomes.append(200)
        except BaseHTTPError as error:
            outcomes.append(error.code)
    assert outcomes == [200, 503, 503, 200]
