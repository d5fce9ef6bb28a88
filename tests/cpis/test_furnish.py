"""Stand-ins that make what a cloud config names: machines of the shipped cloud configs, in every zone and with every extension."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cpis import registry
from cpis.conformance.__main__ import standing_in
from cpis.conformance.furnish import Furnished, Room, Wanted, covering, names
from cpis.conformance.standin import Skipped, StandIn
from cpis.contract import Invalid, Network, VmRequest

pytestmark = pytest.mark.walk  # it starts stand-ins

CONFIGS = Path(__file__).parents[2] / "manifests/cloud-configs"
PUBLIC = "203.0.113.77"
Tree = dict[str, Any]


@pytest.fixture(params=["aws", "azure", "gcp", "vsphere"])
def stand_in(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    try:
        with standing_in(request.param, tmp_path) as found:
            yield found
    except Skipped as reason:
        pytest.skip(str(reason))


def shipped(cloud: str) -> Tree:
    """With ranges that no stand-in is born with."""
    tree: Tree = yaml.safe_load((CONFIGS / f"{cloud}.yml").read_text().replace("10.244.", "172.20."))
    return tree


def requests(stand_in: StandIn, made: Furnished, stemcell: str) -> Iterator[VmRequest]:
    """The smallest type with each extension, and the other types, in each zone."""
    types, extensions = ({item["name"]: item.get("cloud_properties") or {} for item in made.cloud_config[key]} for key in (
        "vm_types", "vm_extensions"))
    small, *others = types.values()
    number = 10
    for zone in made.cloud_config["azs"]:
        subnet = next(item for item in made.cloud_config["networks"][0]["subnets"] if zone["name"] in item["azs"])
        base = subnet["range"].rpartition(".")[0]
        for own in [small, *others, *({**small, **more} for more in extensions.values())]:
            number += 1
            network = Network(
                "default", "manual", f"{base}.{number}", 24, f"{base}.1", (), ("dns", "gateway"), subnet["cloud_properties"])
            yield VmRequest(
                f"vm-00000000-0000-0000-0000-{number:012d}", f"agent-{number}", stemcell, {**zone["cloud_properties"], **own}, (network,),
                stand_in.site().login)


def test_machines_of_a_cloud_config(stand_in: StandIn) -> None:
    made = stand_in.furnish(Wanted(shipped(stand_in.cpi_type)))
    born = set(stand_in.resources())
    with contextlib.closing(registry.load(stand_in.cpi_type, made.config)) as cpi:
        stemcell = cpi.create_stemcell(stand_in.site().image_path, made.stemcell, "stemcell-1")
        vms = [cpi.create_vm(request) for request in requests(stand_in, made, stemcell)]
        assert len({vm.networks[0].ip for vm in vms}) == len(vms) >= 9
        for vm in vms:
            cpi.delete_vm(vm.cid)
        cpi.delete_stemcell(stemcell)
    assert set(stand_in.resources()) <= born
    told = " ".join(made.told)
    assert told == ("storage_policy of vm_extension gold left out: the simulator has no policies and tags of yours"
                    if stand_in.cpi_type == "vsphere" else "")


@pytest.mark.parametrize("stand_in", ["aws", "azure", "gcp"], indirect=True)
def test_public_addresses_of_a_deployment(stand_in: StandIn) -> None:
    made = stand_in.furnish(Wanted(shipped(stand_in.cpi_type), (PUBLIC,)))
    with contextlib.closing(registry.load(stand_in.cpi_type, made.config)) as cpi:
        stemcell = cpi.create_stemcell(stand_in.site().image_path, made.stemcell, "stemcell-1")
        request = next(requests(stand_in, made, stemcell))
        vm = cpi.create_vm(VmRequest(**{**request.__dict__, "networks": (*request.networks, Network("vip", "vip", PUBLIC))}))
        assert [network.ip for network in vm.networks] == [request.networks[0].ip, PUBLIC]


def test_a_size_that_only_the_cloud_knows_is_told(tmp_path: Path) -> None:
    tree = shipped("azure")
    tree["vm_types"][0]["cloud_properties"]["instance_type"] = "Standard_Z9_v77"
    with standing_in("azure", tmp_path) as azure:
        made = azure.furnish(Wanted(tree))
    assert made.told == (
        "the size of instance_type Standard_Z9_v77 of vm_type small is known to the cloud only: here it has 2 cores and 4096 MiB",)


@pytest.mark.parametrize("cloud", ["aws"])
def test_what_moto_does_not_take_names_the_place(cloud: str, tmp_path: Path) -> None:
    regions, ranges = shipped(cloud), shipped(cloud)
    regions["azs"][0]["cloud_properties"]["availability_zone"] = "us-east-1a"
    ranges["networks"][0]["subnets"][1]["range"] = "172.20.16.0/25"
    with standing_in(cloud, tmp_path) as aws:
        with pytest.raises(Invalid, match="eu-central-1, us-east-1"):
            aws.furnish(Wanted(regions))
        with pytest.raises(Invalid, match=r"172\.20\.16\.0/25"):
            aws.furnish(Wanted(ranges))


def test_ranges_that_bodies_cannot_have_are_told(tmp_path: Path) -> None:
    tree = shipped("gcp")
    tree["networks"].append({"name": "six", "subnets": [{"range": "fd00::/64", "azs": ["z1"]}]})
    with standing_in("gcp", tmp_path) as gcp, pytest.raises(Invalid, match="'six' has the range fd00::/64"):
        gcp.furnish(Wanted(tree))


def test_names_and_ranges() -> None:
    assert names("a") == ["a"]
    assert names([{"name": "a"}, "b", {"pool": "c"}]) == ["a", "b"]
    assert names({"name": "a", "type": "t"}, "type") == ["t"]
    assert names(None) == []
    assert covering(["10.0.0.0/25", "10.0.0.128/25"]) == "10.0.0.0/24"
    assert covering(["10.0.4.0/24", "10.0.0.0/16"]) == "10.0.0.0/16"


def test_what_is_left_out_is_told_by_name() -> None:
    room = Room(Wanted({"vm_types": [{"name": "small", "cloud_properties": {"size": 1, "gpu": 2}}], "vm_extensions": [{"name": "none"}]}))
    room.leave_out(["gpu", "fpga"], "there is none")
    assert room.tree["vm_types"] == [{"name": "small", "cloud_properties": {"size": 1}}]
    assert room.told == ("gpu of vm_type small left out: there is none",)
