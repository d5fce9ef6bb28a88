"""What machines on AWS may leave behind is listed with their marks, and goes when it is told to."""

from __future__ import annotations

import pytest

from cpis.aws import AwsCpi, metadata
from cpis.cloud.tags import TOKEN
from cpis.conformance.clouds.aws import AwsStandIn
from cpis.contract import Conflict, DiskRequest, Found, NotSupported, Remover, VmRequest

pytestmark = pytest.mark.walk


def tags(kind: str) -> dict[str, str]:
    pairs = {"director": "conformance", TOKEN: "vm-lost", metadata.PART: "vm-lost"}
    return {"TagSpecification.1.ResourceType": kind, **{
        f"TagSpecification.1.Tag.{number}.{part}": text
        for number, pair in enumerate(pairs.items(), 1) for part, text in zip(("Key", "Value"), pair, strict=True)}}


def test_parts_that_outlived_their_machine_are_removed(aws: AwsStandIn, cpi: AwsCpi) -> None:
    assert isinstance(cpi, Remover)
    card = cpi._api.ask("CreateNetworkInterface", {"SubnetId": aws.seeds["subnets"]["a"], **tags("network-interface")})
    volume = cpi._api.ask("CreateVolume", {"AvailabilityZone": aws.site().place["availability_zone"], "Size": 1, **tags("volume")})
    left = {found.kind: found for found in cpi.owned()}
    assert {kind: found.cid for kind, found in left.items()} == {
        "network_interface": card["networkInterface"]["networkInterfaceId"], "volume": volume["volumeId"]}
    for found in (*left.values(), *left.values()):
        cpi.remove(found)
    assert not cpi.owned()
    assert not aws.resources()


def test_a_volume_in_use_stays(aws: AwsStandIn, cpi: AwsCpi) -> None:
    site = aws.site()
    stemcell = cpi.create_stemcell("", site.stemcell_properties, "stemcell-1")
    vm = cpi.create_vm(VmRequest("vm-1", "a", stemcell, site.vm_properties, site.networks(0), site.login))
    disk = cpi.create_disk(DiskRequest("disk-1", 1024, site.disk_properties, vm.cid))
    cpi.attach_disk(vm.cid, disk)
    try:
        with pytest.raises(Conflict):
            cpi.remove(Found("volume", disk, "disk-1"))
        with pytest.raises(NotSupported):
            cpi.remove(Found("load balancer", "x", "t"))
    finally:
        cpi.delete_vm(vm.cid)
        cpi.delete_disk(disk)
        cpi.delete_stemcell(stemcell)
