"""Machines on the simulator: what the requests carry, how many they are, and what happens when one fails."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest
from pyVmomi import vim

from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.contract import CpiError, Invalid, NotFound, NotSupported, VmRequest
from cpis.vsphere import VsphereCpi, hardware, iso
from cpis.vsphere.inventory import read
from tests.cpis.vsphere.test_vsphere_config import unpacked
from tests.cpis.vsphere.tools import HUSH, another, clone_spec, facts, intercepted, options, passed, with_properties

pytestmark = pytest.mark.walk

# The look for the token, what is free, the addresses in use; then the clone, its hardware, its options, power on, a look at each task.
LEAST = ["FindByUuid", "RetrievePropertiesEx", "RetrievePropertiesEx", "CloneVM_Task", "RetrievePropertiesEx", "RetrievePropertiesEx",
         "ReconfigVM_Task", "RetrievePropertiesEx", "PowerOnVM_Task", "RetrievePropertiesEx"]


# What is asked


def test_requests_of_a_machine(vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest, made: list[str]) -> None:
    cpi.create_vm(request_)
    cpi.create_vm(another(request_, made, vcenter.site()))  # the first look at machines learns whether options are read by key
    vcenter.forget_requests()
    cpi.create_vm(another(request_, made, vcenter.site(), 2))
    assert [action for _, action in vcenter.requests()] == LEAST


def test_requests_do_not_grow_with_machines(vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest, made: list[str]) -> None:
    for number in range(4):
        cpi.create_vm(another(request_, made, vcenter.site(), number))
    vcenter.forget_requests()
    cpi.create_vm(another(request_, made, vcenter.site(), 5))
    assert len(vcenter.requests()) == len(LEAST)
    vcenter.forget_requests()
    assert len(cpi.owned()) >= 5
    actions = [action for _, action in vcenter.requests()]
    assert actions.count("RetrievePropertiesEx") <= 4, "one for machines, one for stemcells, the end of the searches"


def test_the_clone_is_linked_marked_and_complete(cpi: VsphereCpi, request_: VmRequest) -> None:
    """Section 4.1: identity and mark are in the creating request itself."""
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(request_)
    _, name, spec = calls[0]
    assert name == request_.token
    assert (spec.location.diskMoveType, spec.powerOn) == ("createNewChildDiskBacking", False)
    assert isinstance(spec.snapshot, vim.vm.Snapshot)
    assert (spec.config.numCPUs, spec.config.memoryMB) == (1, 512)
    assert spec.config.instanceUuid
    extra = {option.key: option.value for option in spec.config.extraConfig}
    assert (extra["caisson.token"], extra["caisson.director"], extra["disk.enableUUID"]) == (request_.token, "conformance", "TRUE")
    assert json.loads(extra["caisson.metadata"])["deployment"] == "dep"
    assert not any(key.startswith("guestinfo") for key in extra), "keys come later, with the addresses"
    devices = [change.device for change in spec.config.deviceChange]
    disk, nic = devices
    assert (disk.capacityInKB, disk.backing.diskMode, disk.backing.thinProvisioned) == (64 * 1024, "persistent", False)
    assert isinstance(nic, vim.vm.device.VirtualVmxnet3)


def test_the_guest_finds_its_address_by_the_mac_that_vcenter_gave(cpi: VsphereCpi, request_: VmRequest) -> None:
    cpi.create_vm(request_)
    found = options(cpi, request_.token)
    devices = facts(cpi, request_.token, "config.hardware.device")["config.hardware.device"]
    (mac,) = [device.macAddress for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    network = json.loads(unpacked(found, "metadata"))["network"]["ethernets"]["nic0"]
    assert network["match"] == {"macaddress": mac.lower()}
    assert HUSH in unpacked(found, "userdata")
    assert facts(cpi, request_.token, "runtime.powerState")["runtime.powerState"] == "poweredOn"


@pytest.mark.parametrize(("properties", "path", "value"), [
    ({"cpu_hot_add_enabled": True}, "config.cpuHotAddEnabled", True),
    ({"memory_hot_add_enabled": True}, "config.memoryHotAddEnabled", True),
    ({"nested_hardware_virtualization": True}, "config.nestedHVEnabled", True),
    ({"memory_reservation_locked_to_max": True}, "config.memoryReservationLockedToMax", True),
    ({"cpu_reserve_full_mhz": True}, "config.cpuAllocation.reservation", 2294),
    ({}, "config.cpuAllocation", None), ({}, "config.memoryReservationLockedToMax", None), ({}, "config.cpuHotAddEnabled", None),
])
def test_cloud_properties_reach_the_clone(
    cpi: VsphereCpi, request_: VmRequest, properties: dict[str, Any], path: str, value: Any,
) -> None:
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(with_properties(request_, **properties))
    found = clone_spec(calls)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_advanced_options_and_devices_of_the_host(cpi: VsphereCpi, request_: VmRequest) -> None:
    wanted = with_properties(
        request_, vmx_options={"sched.cpu.latencySensitivity": "high"}, vgpus=["grid_t4-16q"],
        pci_passthroughs=[{"vendor_id": "0x10de", "device_id": 7864}])
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(wanted)
    spec = clone_spec(calls).config
    assert {option.key: option.value for option in spec.extraConfig}["sched.cpu.latencySensitivity"] == "high"
    backings = [change.device.backing for change in spec.deviceChange if isinstance(change.device, vim.vm.device.VirtualPCIPassthrough)]
    assert (backings[0].allowedDevice[0].vendorId, backings[0].allowedDevice[0].deviceId) == (0x10DE, 7864)
    assert backings[1].vgpu == "grid_t4-16q"
    assert spec.memoryReservationLockedToMax, "devices of the host need all memory reserved"


def test_the_root_disk_grows_and_does_not_shrink(cpi: VsphereCpi, request_: VmRequest) -> None:
    with pytest.raises(Invalid, match="the stemcell's disk has 3 GiB"):
        cpi.create_vm(with_properties(request_, root_disk_size_gb=2))
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(with_properties(request_, root_disk_size_gb=5))
    first = clone_spec(calls).config.deviceChange[0]
    assert (first.operation, first.device.capacityInKB) == ("edit", 5 * 1024 * 1024)


def test_the_hardware_version_is_raised_before_the_start(cpi: VsphereCpi, request_: VmRequest) -> None:
    with intercepted(cpi, "UpgradeVM_Task", passed) as calls:
        cpi.create_vm(with_properties(request_, upgrade_hw_version=True))
    assert [list(call) for call in calls] == [["vmx-17"]]


def test_names_for_people(cpi: VsphereCpi, request_: VmRequest) -> None:
    vm = cpi.create_vm(with_properties(request_, enable_human_readable_name=True))
    assert vm.cid == request_.token
    assert facts(cpi, vm.cid, "name")["name"] == f"web_dep_{vm.cid[-12:]}"
    assert cpi.has_vm(vm.cid)


def test_storage_policies(cpi: VsphereCpi, request_: VmRequest) -> None:
    with pytest.raises(Invalid, match="no storage policy 'gold'") as caught:
        cpi.create_vm(with_properties(request_, storage_policy={"name": "gold"}))
    assert "vSAN Default Storage Policy" in caught.value.suggestion
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(with_properties(request_, storage_policy={"name": "vSAN Default Storage Policy"}))
    spec = clone_spec(calls)
    (policy,) = spec.location.profile
    assert policy.profileId
    assert [item.profileId for item in spec.config.vmProfile] == [policy.profileId]
    assert [item.profileId for item in spec.config.deviceChange[0].profile] == [policy.profileId]


def test_vsphere_tags(vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest) -> None:
    tagging = cpi._creation._tagging
    with pytest.raises(Invalid, match="no tag category called 'tier'"):
        cpi.create_vm(with_properties(request_, tags=[{"category": "tier", "tag": "web"}]))
    assert not cpi.find(request_.token)
    category = tagging._ask("POST", "/tagging/category", {"create_spec": {
        "name": "tier", "description": "", "cardinality": "MULTIPLE", "associable_types": ["VirtualMachine"]}})
    with pytest.raises(Invalid, match="no tag in the category 'tier' called 'web'"):
        cpi.create_vm(with_properties(request_, tags=[{"category": "tier", "tag": "web"}]))
    tag = tagging._ask("POST", "/tagging/tag", {"create_spec": {"name": "web", "description": "", "category_id": category}})
    cpi.create_vm(with_properties(request_, tags=[{"category": "tier", "tag": "web"}]))
    attached = tagging._ask("POST", f"/tagging/tag-association/id:{tag}?~action=list-attached-objects", {})
    assert [item["id"] for item in attached] == [cpi._machines.ref(request_.token)._moId]


# DRS


def rules(cpi: VsphereCpi, cluster: str = "DC0_C0") -> tuple[dict[str, Any], dict[str, Any]]:
    ref = cpi._inventory.cluster(cluster).ref
    found = read(cpi.session, ref, "configurationEx.rule", "configurationEx.group")
    return ({rule.name: rule for rule in found.get("configurationEx.rule") or []},
            {group.name: group for group in found.get("configurationEx.group") or []})


def az(**options: Any) -> dict[str, Any]:
    return {"datacenters": [{"name": "DC0", "clusters": [{"DC0_C0": options}]}]}


def test_machines_are_kept_apart_and_the_rule_goes_with_the_last(
    vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest, made: list[str],
) -> None:
    place = az(drs_rules=[{"name": "apart", "type": "separate_vms"}])
    first = cpi.create_vm(with_properties(request_, **place))
    second = cpi.create_vm(with_properties(another(request_, made, vcenter.site()), **place))
    rule = rules(cpi)[0]["apart"]
    assert isinstance(rule, vim.cluster.AntiAffinityRuleSpec)
    assert {ref._moId for ref in rule.vm} == {cpi._machines.ref(vm.cid)._moId for vm in (first, second)}
    cpi.delete_vm(first.cid)
    assert "apart" in rules(cpi)[0]
    cpi.delete_vm(second.cid)
    assert "apart" not in rules(cpi)[0]


def test_automatic_rules_by_instance_group(vcenter: VsphereStandIn, request_: VmRequest) -> None:
    cpi = VsphereCpi({**vcenter.config, "enable_auto_anti_affinity_drs_rules": True})
    request = dataclasses.replace(with_properties(request_, **az()), env={"bosh": {"group": "director-dep-web"}})
    cpi.create_vm(request)
    assert "director-dep-web" in rules(cpi)[0]
    cpi.delete_vm(request.token)
    assert "director-dep-web" not in rules(cpi)[0]
    cpi.close()


def test_machines_are_bound_to_hosts(cpi: VsphereCpi, request_: VmRequest) -> None:
    with pytest.raises(Invalid, match="no host group 'rack-1'"):
        cpi.create_vm(with_properties(request_, **az(host_group="rack-1")))
    assert not cpi.find(request_.token)
    cluster = cpi._inventory.cluster("DC0_C0")
    group = vim.cluster.HostGroup(name="rack-1", host=list(cluster.hosts[:1]))
    spec = vim.cluster.ConfigSpecEx(groupSpec=[vim.cluster.GroupSpec(operation="add", info=group)])
    cluster.ref.ReconfigureComputeResource_Task(spec, True)
    cpi.create_vm(with_properties(request_, vm_group="mine", disable_drs=True, **az(host_group={"name": "rack-1", "drs_rule": "MUST"})))
    found, groups = rules(cpi)
    rule = found["mine_on_rack-1"]
    assert (rule.vmGroupName, rule.affineHostGroupName, rule.mandatory) == ("mine", "rack-1", True)
    assert [ref._moId for ref in groups["mine"].vm] == [cpi._machines.ref(request_.token)._moId]
    cpi.delete_vm(request_.token)
    found, groups = rules(cpi)
    assert ("mine_on_rack-1" in found, "mine" in groups, "rack-1" in groups) == (False, False, True)


# Where


def test_a_stemcell_is_copied_to_where_it_is_needed_once_and_goes_whole(
    vcenter: VsphereStandIn, cpi: VsphereCpi, stemcell: str, request_: VmRequest, made: list[str],
) -> None:
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        for number in range(2):
            cpi.create_vm(with_properties(another(request_, made, vcenter.site(), number), datastores=["LocalDS_1"]))
    copies = [name for _, name, _ in calls if name.startswith(f"{stemcell}.")]
    assert len(copies) == 1
    assert len(calls) == 3
    other = cpi.create_stemcell(vcenter.site().image_path, {}, f"stemcell-{uuid.uuid4()}")
    third = dataclasses.replace(another(request_, made, vcenter.site(), 3), stemcell_cid=other)
    cpi.create_vm(with_properties(third, datastores=["LocalDS_1"]))
    for cid in list(made):
        cpi.delete_vm(cid)
    cpi.delete_stemcell(other)
    assert not [name for kind, name in vcenter.resources() if kind == "vm" and name.startswith(other)]


@pytest.mark.parametrize(("properties", "said"), [
    ({"datastores": ["nope"]}, "matches datastores nope"), (az(resource_pool="nope"), "no resource pool of DC0_C0 is called 'nope'"),
    ({"datacenters": [{"name": "DC0", "clusters": ["nope"]}]}, "there is no cluster 'nope'"),
])
def test_names_that_are_not_there(cpi: VsphereCpi, request_: VmRequest, properties: dict[str, Any], said: str) -> None:
    """Row 30: the error lists what exists."""
    with pytest.raises(Invalid, match=said) as caught:
        cpi.create_vm(with_properties(request_, **properties))
    assert "there are: " in caught.value.suggestion
    assert not cpi.find(request_.token)


def test_networks_by_path_and_of_every_kind(cpi: VsphereCpi, request_: VmRequest) -> None:
    names = ["VM Network", "/DC0_DVPG0", "DC0_NSX0"]
    networks = tuple(
        dataclasses.replace(request_.networks[0], name=f"n{number}", ip=f"10.20.9.{number + 1}", cloud_properties={"name": name})
        for number, name in enumerate(names))
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(dataclasses.replace(request_, networks=networks))
    card = vim.vm.device.VirtualEthernetCard
    backings = [change.device.backing for change in clone_spec(calls).config.deviceChange if isinstance(change.device, card)]
    assert [type(backing) for backing in backings] == [
        card.NetworkBackingInfo, card.DistributedVirtualPortBackingInfo, card.OpaqueNetworkBackingInfo]
    with pytest.raises(Invalid, match="there is no network 'nope'"):
        cpi.create_vm(dataclasses.replace(request_, token="vm-other", networks=(
            dataclasses.replace(networks[0], cloud_properties={"name": "nope"}),)))


def test_no_room_is_told_with_figures(cpi: VsphereCpi, request_: VmRequest) -> None:
    with pytest.raises(CpiError) as caught:
        cpi.create_vm(with_properties(request_, disk=900_000_000))
    assert "MiB left" in str(caught.value)
    assert not cpi.find(request_.token)


def test_reboots(cpi: VsphereCpi, request_: VmRequest) -> None:
    vm = cpi.create_vm(request_)
    with intercepted(cpi, "ResetVM_Task", passed) as resets:
        cpi.reboot_vm(vm.cid)
    assert len(resets) == 1, "without tools it is reset"
    cpi._machines.power_off(vm.cid, cpi._machines.ref(vm.cid))
    cpi.reboot_vm(vm.cid)
    assert facts(cpi, vm.cid, "runtime.powerState")["runtime.powerState"] == "poweredOn"
    cpi._machines.power_on(vm.cid, cpi._machines.ref(vm.cid))


def test_metadata_for_people(cpi: VsphereCpi, request_: VmRequest) -> None:
    vm = cpi.create_vm(request_)
    with intercepted(cpi, "SetField", passed) as fields:
        cpi.set_vm_metadata(vm.cid, {"deployment": "dep", "index": "0", "tag-of-ours": "x"})
        assert len(fields) == 2, "only BOSH's own keys become custom fields of the whole vCenter"
        cpi.set_vm_metadata(vm.cid, {"deployment": "dep"})
        assert len(fields) == 3, "what did not change is not set again"
    values = {item.key: item.value for item in facts(cpi, vm.cid, "customValue")["customValue"]}
    keys = cpi._machines._fields
    assert (values[keys["deployment"]], values[keys["index"]]) == ("dep", "")
    (found,) = cpi.find(vm.cid)
    assert dict(found.metadata) == {"deployment": "dep"}


def test_light_stemcells_are_templates_that_are_there(
    vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest, made: list[str],
) -> None:
    cid = cpi.create_stemcell("", {"template": "/DC0_C0_RP0_VM0"}, "stemcell-light")
    assert cid == "DC0_C0_RP0_VM0 light"
    with intercepted(cpi, "CloneVM_Task", passed) as calls:
        cpi.create_vm(dataclasses.replace(request_, stemcell_cid=cid))
    spec = clone_spec(calls)
    assert (spec.snapshot, spec.location.diskMoveType) == (None, "moveAllDiskBackingsAndDisallowSharing"), "no snapshot: a full copy"
    removed = [change.device for change in spec.config.deviceChange if change.operation == "remove"]
    assert removed, "the template's own NIC stays away"
    assert all(isinstance(device, vim.vm.device.VirtualEthernetCard) for device in removed)
    cpi.delete_stemcell(cid)
    assert _there(cpi, cid.removesuffix(" light"))
    with pytest.raises(Invalid, match="no template 'nope'"):
        cpi.create_stemcell("", {"template": "nope"}, "stemcell-2")
    with pytest.raises(NotFound):
        cpi.create_vm(dataclasses.replace(another(request_, made, vcenter.site()), stemcell_cid="gone light"))


def test_networks_that_vsphere_has_not(cpi: VsphereCpi, request_: VmRequest) -> None:
    with pytest.raises(NotSupported, match="dynamic"):
        cpi.create_vm(dataclasses.replace(request_, networks=(dataclasses.replace(request_.networks[0], type="dynamic", ip=""),)))


def _there(cpi: VsphereCpi, path: str) -> bool:
    return cpi._inventory.find(f"vm/{path}") is not None


def test_a_bosh_agent_finds_its_settings_on_the_cd_rom(vcenter: VsphereStandIn, cpi: VsphereCpi, request_: VmRequest) -> None:
    """Section 10.1, "Agent env". The image goes with the machine."""
    settings = json.dumps({"agent_id": "a", "networks": {"default": {"ip": request_.networks[0].ip}}, "mbus": HUSH})
    login = dataclasses.replace(request_.login, agent_settings=settings)
    vm = cpi.create_vm(dataclasses.replace(request_, login=login))
    devices = facts(cpi, vm.cid, "config.hardware.device")["config.hardware.device"]
    (path,) = hardware.images(devices)
    store, _, file = path.removeprefix("[").partition("] ")
    image = cpi.session.get_file("DC0", store, file)
    assert image[0x8001:0x8006] == b"CD001"
    (mac,) = [device.macAddress for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    assert f'"mac": "{mac.lower()}"'.encode() in image
    assert unpacked(options(cpi, vm.cid), "userdata").encode() in image
    with intercepted(cpi, "DeleteDatastoreFile_Task", passed) as deleted:
        cpi.delete_vm(vm.cid)
    assert [call[0] for call in deleted] == [path]
    with pytest.raises(NotFound):
        cpi.session.get_file("DC0", store, file)


@pytest.mark.parametrize(("devices", "changed"), [
    ([], ["add VirtualAHCIController", "add VirtualCdrom"]),
    ([vim.vm.device.VirtualIDEController(key=200, busNumber=0)], ["add VirtualCdrom"]),
    ([vim.vm.device.VirtualCdrom(key=3000, controllerKey=200, unitNumber=0)], ["edit VirtualCdrom"]),
])
def test_a_cd_rom_drive_is_taken_or_added(devices: list[Any], changed: list[str]) -> None:
    changes = hardware.disc(devices, "[ds] vm/env.iso")
    assert [f"{change.operation} {type(change.device).__name__.rpartition('.')[2]}" for change in changes] == changed
    assert changes[-1].device.backing.fileName == "[ds] vm/env.iso"


def test_a_cd_image_is_one_by_the_standard() -> None:
    """ECMA-119: sizes and places are written in both orders; the file is where its record says."""
    content = b'{"a": 1}' * 600
    made = iso.image("env", content)
    descriptor = made[16 * 2048:17 * 2048]
    assert descriptor[:6] == b"\x01CD001"
    sectors = int.from_bytes(descriptor[80:84], "little")
    assert sectors == int.from_bytes(descriptor[84:88], "big") == len(made) // 2048
    root = int.from_bytes(descriptor[158:162], "little")
    folder = made[root * 2048:(root + 1) * 2048]
    record = folder[folder[0] + folder[folder[0]]:]
    place, size = int.from_bytes(record[2:6], "little"), int.from_bytes(record[10:14], "little")
    assert record[33:33 + record[32]] == b"ENV.;1"
    assert made[place * 2048:place * 2048 + size] == content
