"""What a machine is asked for with: every key of cloud_properties, and wishes that cannot be. Rows 12, 17 to 20, 26, 30 and 32."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from gcp_bench import Bench, network

from cpis.conformance.keys import login
from cpis.contract import CpiError, Invalid, Login, Network, NotFound, VmResources
from cpis.gcp.machines import calculate, machine_type

ZONE = "projects/fake-project/zones/us-central1-a"


def at(body: Mapping[str, Any], path: str) -> Any:
    """A value of the body: `disks.0.type`; None when it is not there."""
    found: Any = body
    for step in path.split("."):
        if isinstance(found, list):
            found = found[int(step)] if int(step) < len(found) else None
        else:
            found = (found or {}).get(step)
    return found


@pytest.mark.parametrize(("properties", "expected"), [
    ({}, {"machineType": f"{ZONE}/machineTypes/e2-small", "scheduling": {"automaticRestart": False, "onHostMaintenance": "MIGRATE"},
          "networkInterfaces.0.accessConfigs": None, "serviceAccounts": None, "canIpForward": False, "guestAccelerators": None,
          "disks.0.initializeParams.diskType": f"{ZONE}/diskTypes/pd-standard", "disks.0.initializeParams.diskSizeGb": "10",
          "disks.0.autoDelete": True, "disks.0.boot": True, "disks.1": None}),
    ({"machine_type": None, "cpu": 2, "ram": 4096}, {"machineType": f"{ZONE}/machineTypes/custom-2-4096"}),
    ({"machine_type": None, "cpu": 2, "ram": 4096, "machine_series": "e2"}, {"machineType": f"{ZONE}/machineTypes/e2-custom-2-4096"}),
    ({"zone": "us-central1-b"}, {"machineType": "projects/fake-project/zones/us-central1-b/machineTypes/e2-small"}),
    ({"name": "the-router"}, {"name": "the-router"}),
    ({"root_disk_size_gb": 33, "root_disk_type": "pd-ssd"},
     {"disks.0.initializeParams.diskSizeGb": "33", "disks.0.initializeParams.diskType": f"{ZONE}/diskTypes/pd-ssd"}),
    ({"ephemeral_disk_type": "local-ssd"},
     {"disks.1.type": "SCRATCH", "disks.1.autoDelete": True, "disks.1.initializeParams.diskType": f"{ZONE}/diskTypes/local-ssd"}),
    ({"automatic_restart": True}, {"scheduling.automaticRestart": True}),
    ({"on_host_maintenance": "TERMINATE"}, {"scheduling.onHostMaintenance": "TERMINATE"}),
    ({"preemptible": True}, {"scheduling": {"automaticRestart": False, "onHostMaintenance": "TERMINATE", "preemptible": True}}),
    ({"provisioning_model": "SPOT"},
     {"scheduling": {"automaticRestart": False, "onHostMaintenance": "TERMINATE", "provisioningModel": "SPOT"}}),
    ({"provisioning_model": "STANDARD"}, {"scheduling.provisioningModel": "STANDARD", "scheduling.onHostMaintenance": "MIGRATE"}),
    ({"service_account": "a@b"},
     {"serviceAccounts": [{"email": "a@b", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}]}),
    ({"service_scopes": ["compute.readonly", "https://www.googleapis.com/auth/logging.write"]},
     {"serviceAccounts": [{"email": "default", "scopes": [
         "https://www.googleapis.com/auth/compute.readonly", "https://www.googleapis.com/auth/logging.write"]}]}),
    ({"accelerators": [{"type": "nvidia-tesla-t4", "count": 2}]},
     {"guestAccelerators": [{"acceleratorType": f"{ZONE}/acceleratorTypes/nvidia-tesla-t4", "acceleratorCount": 2}],
      "scheduling.onHostMaintenance": "TERMINATE"}),
    ({"ephemeral_external_ip": True},
     {"networkInterfaces.0.accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]}),
    ({"ip_forwarding": True}, {"canIpForward": True}),
    ({"tags": ["Web", "a b"]}, {"tags.items": ["web", "a-b"]}),
    ({"labels": {"team": "Platform", "bad/key": "x"}}, {"labels.team": "platform", "labels.bad-key": "x", "labels.deployment": "d"}),
    ({"node_group": "nodes"}, {"scheduling.nodeAffinities": [
        {"key": "compute.googleapis.com/node-group-name", "operator": "IN", "values": ["nodes"]}]}),
])
def test_keys_of_machine_types(bench: Bench, properties: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    vm = bench.vm(properties)
    body = bench.inserted()
    assert {path: at(body, path) for path in expected} == expected
    assert bench.cpi.has_vm(vm.cid)


@pytest.mark.parametrize(("properties", "expected"), [
    ({}, {"network": "projects/fake-project/global/networks/caisson", "subnetwork":
          "projects/fake-project/regions/us-central1/subnetworks/caisson", "accessConfigs": None}),
    ({"network_name": None, "subnetwork_name": None}, {"network": "projects/fake-project/global/networks/default", "subnetwork": None}),
    ({"xpn_host_project_id": "network-host", "network_name": "shared", "subnetwork_name": "shared"}, {
        "network": "projects/network-host/global/networks/shared",
        "subnetwork": "projects/network-host/regions/us-central1/subnetworks/shared"}),
    ({"ephemeral_external_ip": True}, {"accessConfigs": [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]}),
])
def test_keys_of_networks(bench: Bench, properties: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    bench.vm(networks=(network(kind="dynamic", **properties),))
    nic = bench.inserted()["networkInterfaces"][0]
    assert {key: nic.get(key) for key in expected} == expected


@pytest.mark.parametrize(("of_network", "of_machine", "expected"), [
    (True, None, True), (True, False, False), (False, True, True), (False, None, False)])
def test_what_the_machine_type_says_wins(bench: Bench, of_network: bool, of_machine: bool | None, expected: bool) -> None:
    """Row 20: no external address unless asked for."""
    said = {} if of_machine is None else {"ephemeral_external_ip": of_machine, "ip_forwarding": of_machine}
    bench.vm(said, networks=(network(kind="dynamic", ephemeral_external_ip=of_network, ip_forwarding=of_network),))
    body = bench.inserted()
    assert bool(body["networkInterfaces"][0].get("accessConfigs")) is expected
    assert body["canIpForward"] is expected


def test_tags_of_network_machine_type_and_instance_group_are_joined(bench: Bench) -> None:
    request = bench.request({"tags": ["a", "b"]}, networks=(network(kind="dynamic", tags=["b", "c"]),))
    bench.cpi.create_vm(dataclasses.replace(request, env={"bosh": {"groups": ["d", "dir-dep-web_1"]}}))
    assert sorted(bench.inserted()["tags"]["items"]) == ["a", "b", "c", "d", "dir-dep-web-1"]


def test_the_gateway_network_comes_first(bench: Bench) -> None:
    """Row 17: Google gives the default route to the first interface."""
    networks = (
        Network("second", ip="10.1.0.50", cloud_properties={"network_name": "second", "subnetwork_name": "second"}),
        dataclasses.replace(network(ip="10.0.0.50"), default=("gateway",)),
    )
    vm = bench.vm(networks=networks)
    assert [nic["networkIP"] for nic in bench.inserted()["networkInterfaces"]] == ["10.0.0.50", "10.1.0.50"]
    assert [item.ip for item in vm.networks] == ["10.1.0.50", "10.0.0.50"]
    assert vm.ssh_address == "10.0.0.50"


def test_a_vip_is_the_external_address(bench: Bench) -> None:
    vm = bench.vm(networks=(network(ip="10.0.0.60"), Network("vip", "vip", ip="203.0.113.10")))
    assert bench.inserted()["networkInterfaces"][0]["accessConfigs"] == [
        {"name": "External NAT", "type": "ONE_TO_ONE_NAT", "natIP": "203.0.113.10"}]
    assert [item.ip for item in vm.networks] == ["10.0.0.60", "203.0.113.10"]
    assert vm.ssh_address == "10.0.0.60"


def test_a_director_outside_dials_the_external_address(bench: Bench) -> None:
    cpi = bench.again(ssh_over_public=True)
    vip = cpi.create_vm(bench.request(networks=(network(ip="10.0.0.60"), Network("vip", "vip", ip="203.0.113.10"))))
    assert vip.ssh_address == "203.0.113.10"
    ephemeral = cpi.create_vm(bench.request({"ephemeral_external_ip": True}))
    assert ephemeral.ssh_address.startswith("198.51.100.")
    assert cpi.create_vm(bench.request()).ssh_address.startswith("10.0.0.")


def test_a_dynamic_network_tells_what_the_subnet_is(bench: Bench) -> None:
    (made,) = bench.vm(networks=(network(kind="dynamic"),)).networks
    assert (made.ip.rsplit(".", 1)[0], made.prefix_length, made.gateway) == ("10.0.0", 24, "10.0.0.1")


def test_the_ephemeral_disk_is_told(bench: Bench) -> None:
    hint = bench.vm({"ephemeral_disk_type": "local-ssd"}).ephemeral_disk
    assert hint
    assert hint.path == "/dev/disk/by-id/google-local-nvme-ssd-0"
    assert bench.vm().ephemeral_disk is None


def _metadata(bench: Bench) -> dict[str, str]:
    return {item["key"]: item["value"] for item in bench.inserted()["metadata"]["items"]}


def test_how_the_first_connection_is_made(bench: Bench) -> None:
    ours = login()[0]
    vm = bench.vm(login=ours)
    items = _metadata(bench)
    assert items["ssh-keys"] == f"caisson:{ours.public_key} caisson"
    assert (items["block-project-ssh-keys"], items["enable-oslogin"]) == ("TRUE", "FALSE")
    told = json.loads(items["user-data"].removeprefix("#cloud-config\n"))
    assert told["users"][0]["ssh_authorized_keys"] == [ours.public_key]
    assert told["ssh_keys"]["ed25519_private"].strip() == ours.host_private_key.strip()
    assert told["hostname"] == vm.cid
    assert ours.host_private_key.strip() in items["startup-script"]
    assert "/etc/ssh/ssh_host_ed25519_key" in items["startup-script"].replace("{kind}", "")


def test_a_bosh_agent_finds_its_settings_where_boshs_cpi_puts_them(bench: Bench) -> None:
    bench.vm(login=Login("vcap", "", "", "", agent_settings='{"agent_id": "a"}'))
    items = _metadata(bench)
    assert items["bosh_settings"] == '{"agent_id": "a"}'
    assert not {"user-data", "startup-script", "ssh-keys"} & set(items)


def test_marks_are_on_the_machine_and_its_root_disk_from_the_first_request(bench: Bench) -> None:
    request = bench.request()
    bench.cpi.create_vm(request)
    body = bench.inserted()
    for labels in (body["labels"], body["disks"][0]["initializeParams"]["labels"]):
        assert labels["caisson-token"] == request.token
        assert labels["director"] == "conformance"


@pytest.mark.parametrize(("properties", "words"), [
    ({"machine_type": "e2-small", "cpu": 1, "ram": 1024}, "not both"),
    ({"machine_type": None}, "needs 'machine_type'"),
    ({"machine_type": None, "cpu": 2}, "needs 'machine_type'"),
    ({"machine_type": None, "cpu": 3, "ram": 4096}, "an even number, not 3"),
    ({"machine_type": None, "cpu": 2, "ram": 4000}, "multiple of 256"),
    ({"machine_type": None, "cpu": 4, "ram": 2048}, "3840 to 26624"),
    ({"machine_type": None, "cpu": 2, "ram": 20480}, "2048 to 13312"),
    ({"preemptible": True, "automatic_restart": True}, "not started again"),
    ({"provisioning_model": "SPOT", "on_host_maintenance": "MIGRATE"}, "cannot be moved"),
    ({"preemptible": True, "provisioning_model": "STANDARD"}, "no provisioning_model STANDARD"),
    ({"accelerators": [{"type": "nvidia-tesla-t4"}], "on_host_maintenance": "MIGRATE"}, "cannot be moved"),
    ({"root_disk_size_gb": -1}, "more than 0"),
    ({"machine_typ": "e2-small"}, "machine_typ"),
    ({"provisioning_model": "spot"}, "SPOT"),
    ({"ephemeral_disk_type": "pd-ssd"}, "local-ssd"),
    ({"root_disk_size_gb": "20"}, "must be an integer"),
    ({"tags": "web"}, "must be a list"),
    ({"accelerators": [{"count": 1}]}, "accelerators[0].type"),
    ({"backend_service": {"scheme": "INTERNAL"}}, "backend_service.name"),
])
def test_what_cannot_be_is_refused_before_any_request(bench: Bench, properties: Mapping[str, Any], words: str) -> None:
    request = bench.request(properties)

    def refused() -> None:
        with pytest.raises(Invalid) as caught:
            bench.cpi.create_vm(request)
        assert words in f"{caught.value.message} {caught.value.suggestion}"

    assert bench.count(refused) == []


@pytest.mark.parametrize(("properties", "kind", "words"), [
    ({"machine_type": "e9-huge"}, Invalid, "e9-huge"),
    ({"zone": "mars-north1-a"}, NotFound, "mars-north1-a"),
    ({"root_disk_type": "pd-golden"}, Invalid, "pd-golden"),
    ({"root_disk_size_gb": 5}, Invalid, "smaller than the image"),
    ({"accelerators": [{"type": "abacus"}]}, Invalid, "abacus"),
    ({"node_group": "nobody"}, Invalid, "nobody"),
    ({"name": "Not_A_Name"}, Invalid, "Not_A_Name"),
    ({"name": "x" * 64}, Invalid, "x" * 60),
])
def test_what_the_cloud_refuses_leaves_nothing(bench: Bench, properties: Mapping[str, Any], kind: type[CpiError], words: str) -> None:
    with pytest.raises(kind) as caught:
        bench.vm(properties)
    assert words in caught.value.message
    assert not bench.there.resources()


@pytest.mark.parametrize(("networks", "words"), [
    ((), "manual or dynamic network"),
    ((Network("vip", "vip", ip="203.0.113.10"),), "manual or dynamic network"),
    ((network(ip="10.0.0.9"), Network("vip", "vip")), "with an address"),
    ((network(ip="10.0.0.9"), Network("v", "vip", ip="203.0.113.10"), Network("w", "vip", ip="203.0.113.11")), "one vip network"),
    (tuple(network(f"n{number}", f"10.0.0.{number + 20}") for number in range(9)), "at most 8"),
    ((network(ip="192.168.7.7"),), "192.168.7.7"),
    ((network(ip="not-an-address"),), "not-an-address"),
    ((network(ip="10.0.0.9", subnetwork_name="nowhere"),), "nowhere"),
    ((network(ip="10.0.0.9", network_name="nowhere", subnetwork_name=None),), "nowhere"),
    ((network(ip="10.0.0.9", subnetwork_name=None),), "custom subnetmode"),
    ((network(ip="10.0.0.9", subnet_name="x"),), "subnet_name"),
    ((network(ip="10.0.0.9"), Network("vip", "vip", ip="203.0.113.99")), "203.0.113.99"),
    ((network(ip="10.0.0.9"), network("other", ip="10.0.0.10")), "distinct"),
])
def test_networks_that_cannot_be(bench: Bench, networks: tuple[Network, ...], words: str) -> None:
    """Row 18 and others."""
    with pytest.raises(Invalid) as caught:
        bench.vm(networks=networks)
    assert words in f"{caught.value.message} {caught.value.suggestion}"
    assert not bench.there.resources()


def test_too_much_user_data_is_refused_before_any_request(bench: Bench) -> None:
    """Row 26: 256 KiB for each value."""
    request = bench.request(login=Login("u", "", "", "", agent_settings="x" * 262_145))

    def refused() -> None:
        with pytest.raises(Invalid, match="262145"):
            bench.cpi.create_vm(request)

    assert bench.count(refused) == []


def test_a_machine_without_a_zone(bench: Bench) -> None:
    request = bench.request({"zone": None})
    with pytest.raises(Invalid, match="needs a zone"):
        bench.again(zone=None).create_vm(request)
    assert bench.cpi.create_vm(request).cid == request.token, "the default zone of the CPI config"


@pytest.mark.parametrize(("asked", "expected"), [
    ((1, 512, 1024), (1, 1024, 11)), ((1, 1024, 2048), (1, 1024, 12)), ((2, 1000, 1), (2, 2048, 11)), ((3, 1, 1), (4, 3840, 11)),
    ((1, 7000, 10240), (2, 7168, 20)), ((96, 638976, 1), (96, 638976, 11)), ((1, 6656, 1), (1, 6656, 11)), ((1, 6657, 1), (2, 6912, 11)),
])
def test_the_smallest_machine(asked: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    found = calculate(VmResources(*asked), 10)
    assert (found["cpu"], found["ram"], found["root_disk_size_gb"]) == expected
    assert machine_type(found) == f"custom-{expected[0]}-{expected[1]}"


@pytest.mark.parametrize(("asked", "words"), [
    ((1024, 1, 1), "custom-96"), ((1, 10**9, 1), "custom-96"), ((0, 1, 1), "cpu"), ((1, -5, 1), "ram_mib"), ((1, 1, 0), "ephemeral"),
])
def test_no_machine_is_large_enough(asked: tuple[int, int, int], words: str) -> None:
    """Row 32: names the largest, or the key."""
    with pytest.raises(Invalid) as caught:
        calculate(VmResources(*asked), 10)
    assert words in f"{caught.value.message} {caught.value.suggestion}"
