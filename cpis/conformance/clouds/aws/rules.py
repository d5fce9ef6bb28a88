"""Rules of the real service by action: `BEFORE` moto sees a request, `AFTER` it has answered, and `OWN` for what moto has not at all."""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any
from xml.sax.saxutils import escape

_INSTANCE = re.compile(r"<instanceId>(i-[0-9a-f]+)<")
_LIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
_SETS = {
    "DescribeInstances": "reservationSet", "DescribeVolumes": "volumeSet", "DescribeSnapshots": "snapshotSet",
    "DescribeImages": "imagesSet", "DescribeNetworkInterfaces": "networkInterfaceSet", "DescribeInstanceTypes": "instanceTypeSet",
}
_IDS = {"DescribeInstances": "InstanceId.1", "DescribeVolumes": "VolumeId.1", "DescribeSnapshots": "SnapshotId.1"}
_USER_DATA_BYTES = 16 * 1024
_MOST_ENDED = 20
GIB = 2**30


class Refusal(Exception):
    """The service says no: error code, sentence and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class Params(dict[str, str]):
    """The parameters of a request, `Filter.1.Value.2` and so on."""

    def numbered(self, prefix: str) -> list[int]:
        """The numbers N of all `prefix.N...`."""
        found = {int(rest.split(".")[0]) for key in self if key.startswith(f"{prefix}.") and (rest := key[len(prefix) + 1:])[:1].isdigit()}
        return sorted(found)

    def values(self, prefix: str) -> list[str]:  # type: ignore[override]
        return [self[f"{prefix}.{number}"] for number in self.numbered(prefix) if f"{prefix}.{number}" in self]

    def tags(self, kind: str) -> dict[str, str]:
        """Tags that the creating request has for this type of resource."""
        for number in self.numbered("TagSpecification"):
            base = f"TagSpecification.{number}"
            if self.get(f"{base}.ResourceType") == kind:
                return {self[f"{base}.Tag.{n}.Key"]: self.get(f"{base}.Tag.{n}.Value", "") for n in self.numbered(f"{base}.Tag")}
        return {}


class World:
    """Moto's stores of one account and region.

    `settings`: `page` (largest page), `pending` and `invisible` (number of looks at new machines), `denied` (actions), `dies` (code,
    message and times: how the next machines end at boot), `vcpus` (the quota).
    """

    def __init__(self, ec2: Any, s3: Any, elb: Any) -> None:
        self.ec2 = ec2
        self.elb = elb
        self.s3 = s3
        self.settings: dict[str, Any] = {}
        self.pending: dict[str, int] = {}
        self.invisible: dict[str, int] = {}
        self.imports: dict[str, dict[str, str]] = {}

    def instance(self, cid: str) -> Any:
        return next((instance for instance in self.ec2.all_instances() if instance.id == cid), None)

    def must_live(self, cid: str) -> None:
        """A token whose instance was terminated makes no other one. Source: EC2 API reference, "Ensuring idempotency"."""
        instance = self.instance(cid)
        if instance is None or instance.state == "terminated":
            raise Refusal("IdempotentInstanceTerminated", f"The instance '{cid}' of this client token has been terminated.")

    def forget(self) -> None:
        """Terminated instances are listed for about an hour, then no more; here for as long as there are few of them.

        Moto keeps them and the tags of all that ever was, and goes through these at every look: thousands of faults took hours.
        """
        ended = [instance for instance in self.ec2.all_instances() if instance.state == "terminated"]
        for instance in ended[:-_MOST_ENDED]:
            for number in [number for number, made in self.ec2.reservations.items() if instance in made.instances]:
                del self.ec2.reservations[number]
        living = {instance.id for instance in self.ec2.all_instances()} | set(self.ec2.volumes) | set(self.ec2.enis)
        for cid in [cid for cid in self.ec2.tags if cid.startswith(("i-", "vol-", "eni-")) and cid not in living]:
            del self.ec2.tags[cid]

    def look(self, cid: str, code: str) -> None:
        """A look at something new, which may not be visible yet."""
        left = self.invisible.get(cid, 0)
        if left:
            self.invisible[cid] = left - 1
            raise Refusal(code, f"The ID '{cid}' does not exist")
        left = self.pending.get(cid, 0)
        instance = self.instance(cid)
        if instance is not None and instance.state in ("pending", "running"):
            instance._state.name, instance._state.code = ("pending", 0) if left else ("running", 16)
            self.pending[cid] = max(0, left - 1)

    def counts(self) -> dict[str, list[str]]:
        """What is there and costs: for tests of leaks."""
        return {
            "instances": [instance.id for instance in self.ec2.all_instances() if instance.state in _LIVE],
            "volumes": list(self.ec2.volumes), "interfaces": list(self.ec2.enis), "images": list(self.ec2.amis),
            "snapshots": list(self.ec2.snapshots), "objects": [
                f"{name}/{key}" for name, bucket in self.s3.buckets.items() for key in bucket.keys],
        }


def page_size(action: str, params: Params, settings: Mapping[str, Any]) -> int:
    """How many items the answer may have; 0 when the request asks for no pages."""
    if action not in _SETS or "MaxResults" not in params:
        return 0
    if _IDS.get(action, "-") in params:
        raise Refusal("InvalidParameterCombination", "The parameter maxResults cannot be used with a list of ids")
    return min(int(params.pop("MaxResults")), int(settings.get("page", 1000)))


def page(body: bytes, start: str, size: int) -> bytes:
    """One page of a list. The tokens of this service are numbers."""
    root = ET.fromstring(body)
    namespace = root.tag.partition("}")[0].lstrip("{")
    ET.register_namespace("", namespace)
    items = next((element for element in root if element.tag.endswith("Set")), None)
    first = int(start or 0)
    if items is not None:
        children = list(items)
        for child in children[:first] + children[first + size:]:
            items.remove(child)
        if len(children) > first + size:
            ET.SubElement(root, f"{{{namespace}}}nextToken").text = str(first + size)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root)


# Instances

def _run_instances(world: World, params: Params) -> None:
    data = params.get("UserData", "")
    if len(data) * 3 // 4 > _USER_DATA_BYTES + 2:
        raise Refusal("InvalidParameterValue", "User data is limited to 16384 bytes")
    _check_tags(params)
    if params.tags("spot-instances-request") and "InstanceMarketOptions.MarketType" not in params:
        raise Refusal("InvalidParameterValue", "'spot-instances-request' is not a valid taggable resource type for this operation.")
    zones = set()
    for number in params.numbered("NetworkInterface"):
        subnet = world.ec2.get_subnet(params.get(f"NetworkInterface.{number}.SubnetId", "")) if (
            f"NetworkInterface.{number}.SubnetId" in params) else None
        if subnet is None:
            continue
        zones.add(subnet.availability_zone)
        for group in params.values(f"NetworkInterface.{number}.SecurityGroupId"):
            if group not in world.ec2.groups[subnet.vpc_id]:
                raise Refusal("InvalidGroup.NotFound", f"The security group '{group}' does not exist in VPC '{subnet.vpc_id}'")
        for address in _all_addresses(params, number):
            _check_address(world, subnet, address)
    if len(zones) > 1:
        raise Refusal("InvalidParameterCombination", f"Network interfaces must be in the same Availability Zone, not in {sorted(zones)}")
    wanted = params.get("Placement.AvailabilityZone")
    if wanted and zones and wanted not in zones:
        raise Refusal(
            "InvalidParameterValue", f"The availability zone '{wanted}' does not match the availability zone '{zones.pop()}' of the subnet")
    for number in params.numbered("BlockDeviceMapping"):
        # Moto knows no instance storage.
        base = f"BlockDeviceMapping.{number}"
        if f"{base}.VirtualName" in params:
            for key in [key for key in params if key.startswith(f"{base}.")]:
                del params[key]
        elif f"{base}.Ebs.VolumeSize" not in params:
            # A root disk may have the image's size; moto wants to be told.
            image = world.ec2.amis.get(params["ImageId"])
            params[f"{base}.Ebs.SnapshotId"] = image.ebs_snapshot.id if image else ""


def _all_addresses(params: Params, number: int) -> list[str]:
    """Those of an interface: its own, its secondary ones, and of IPv6. Source: EC2 API reference, "RunInstances"."""
    base = f"NetworkInterface.{number}"
    own = params.get(f"{base}.PrivateIpAddress", "")
    more = [params[f"{base}.PrivateIpAddresses.{at}.PrivateIpAddress"] for at in params.numbered(f"{base}.PrivateIpAddresses")]
    primary = [at for at in params.numbered(f"{base}.PrivateIpAddresses")
               if params.get(f"{base}.PrivateIpAddresses.{at}.Primary") == "true"]
    if own and primary:
        raise Refusal("InvalidParameterCombination", "Only one primary private IP address can be specified.")
    if more and not own and len(primary) != 1:
        raise Refusal("InvalidParameterCombination", "One primary private IP address must be specified.")
    six = [params[f"{base}.Ipv6Addresses.{at}.Ipv6Address"] for at in params.numbered(f"{base}.Ipv6Addresses")]
    return [*filter(None, [own]), *more, *six]


def _check_address(world: World, subnet: Any, address: str) -> None:
    ip = ipaddress.ip_address(address)
    six = [item["ipv6CidrBlock"] for item in subnet.ipv6_cidr_block_associations.values()]
    network = next((found for found in map(ipaddress.ip_network, [subnet.cidr_block, *six]) if ip in found), None)
    if network is None:
        raise Refusal("InvalidParameterValue", f"Address {address} does not fall within the subnet's address range")
    if ip in (*(network[number] for number in range(4)), network[-1]):
        raise Refusal("InvalidParameterValue", f"Address {address} is in subnet's reserved address range")
    for eni in world.ec2.enis.values():
        if eni.subnet.id == subnet.id and address in _held(eni):
            raise Refusal("InvalidIPAddress.InUse", f"Address {address} is in use.")


def _describe_interfaces(world: World, params: Params) -> None:
    """Moto looks for an interface by its first address only."""
    for number in params.numbered("Filter"):
        if params.get(f"Filter.{number}.Name") in ("addresses.private-ip-address", "ipv6-addresses.ipv6-address"):
            wanted = {params.pop(f"Filter.{number}.Value.{at}") for at in params.numbered(f"Filter.{number}.Value")}
            found = [eni.id for eni in world.ec2.enis.values() if wanted & set(_held(eni))]
            params[f"Filter.{number}.Name"] = "network-interface-id"
            params.update({f"Filter.{number}.Value.{at}": cid for at, cid in enumerate(found or ["eni-none"], 1)})


def _held(eni: Any) -> list[str]:
    return [*(item["PrivateIpAddress"] for item in eni.private_ip_addresses), *eni.ipv6_addresses]


def _check_tags(params: Params) -> None:
    for number in params.numbered("TagSpecification"):
        tags = params.tags(params.get(f"TagSpecification.{number}.ResourceType", ""))
        if len(tags) > 50:
            raise Refusal("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
        for key, value in tags.items():
            _check_tag(key, value)


def _check_tag(key: str, value: str) -> None:
    if not 0 < len(key) <= 128 or key.startswith("aws:"):
        raise Refusal("InvalidParameterValue", f"Tag key '{key[:60]}' is reserved, empty or exceeds the maximum length of 128 characters")
    if len(value) > 256:
        raise Refusal("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters")


def _ran_instances(world: World, params: Params, body: str) -> None:
    for cid in _INSTANCE.findall(body):
        instance = world.instance(cid)
        for number in params.numbered("NetworkInterface"):
            # Moto gives an interface its first address only.
            eni = instance.nics[int(params[f"NetworkInterface.{number}.DeviceIndex"])]
            wanted = _all_addresses(params, number)
            world.ec2.assign_private_ip_addresses(eni.id, [address for address in wanted if ":" not in address])
            world.ec2.assign_ipv6_addresses(eni.id, [address for address in wanted if ":" in address])
        for eni in instance.nics.values():
            eni.add_tags(params.tags("network-interface"))
            # Moto remembers static addresses of the first interface only.
            world.ec2.get_subnet(eni.subnet.id)._unused_ips.discard(eni.private_ip_address)
        instance.placement.group_name = params.get("Placement.GroupName", "")
        instance.placement.tenancy = params.get("Placement.Tenancy", "default")
        dies = world.settings.get("dies") or {}
        if dies.get("times"):
            dies["times"] -= 1
            instance.terminate()
            instance.state_reason.code, instance.state_reason.message = dies["code"], dies["message"]
        world.invisible[cid] = int(world.settings.get("invisible", 0))
        world.pending[cid] = int(world.settings.get("pending", 0))


def _describe_instances(world: World, params: Params) -> None:
    for cid in params.values("InstanceId"):
        if not re.fullmatch(r"i-[0-9a-f]{8,17}", cid):
            raise Refusal("InvalidInstanceID.Malformed", f'Invalid id: "{cid}"')
        world.look(cid, "InvalidInstanceID.NotFound")
    for number in params.numbered("Filter"):
        if params.get(f"Filter.{number}.Name") == "client-token":
            # A filter that moto does not have, told by one that it has.
            tokens = params.values(f"Filter.{number}.Value")
            for key in [key for key in params if key.startswith(f"Filter.{number}.")]:
                del params[key]
            found = [instance.id for instance in world.ec2.all_instances() if instance.client_token in tokens] or ["i-00000000"]
            params[f"Filter.{number}.Name"] = "instance-id"
            params.update({f"Filter.{number}.Value.{n}": cid for n, cid in enumerate(found, 1)})
        elif params.get(f"Filter.{number}.Name") == "instance-id":
            for n in params.numbered(f"Filter.{number}.Value"):
                params[f"Filter.{number}.Value.{n}"] = _seen(world, params[f"Filter.{number}.Value.{n}"])


def _seen(world: World, cid: str) -> str:
    """The id in a list, another one while lists do not have it yet."""
    try:
        world.look(cid, "")
    except Refusal:
        return "i-00000000"
    return cid


def _instance_ids(world: World, params: Params) -> None:
    for cid in params.values("InstanceId"):
        if not re.fullmatch(r"i-[0-9a-f]{8,17}", cid):
            raise Refusal("InvalidInstanceID.Malformed", f'Invalid id: "{cid}"')
        if world.invisible.get(cid):
            world.look(cid, "InvalidInstanceID.NotFound")


def _reboot(world: World, params: Params) -> None:
    _instance_ids(world, params)
    for cid in params.values("InstanceId"):
        instance = world.instance(cid)
        if instance is not None and instance.state != "running":
            raise Refusal("IncorrectState", f"The instance '{cid}' is not in the 'running' state.")


def _associated(world: World, params: Params, body: str) -> None:
    """An address that is with an interface is with its machine, too."""
    for address in world.ec2.addresses:
        if address.allocation_id == params.get("AllocationId") and address.eni is not None:
            address.instance = address.eni.instance


def _terminated(world: World, params: Params, body: str) -> None:
    for address in world.ec2.addresses:
        if address.instance is not None and address.instance.state == "terminated":
            address.instance = address.eni = None
            address.association_id = None
    world.forget()


def classic_balancer(world: World, params: Params) -> None:
    """Moto fails at names that it does not know."""
    name = params.get("LoadBalancerName", "")
    if name and name not in world.elb.load_balancers:
        raise Refusal("LoadBalancerNotFound", f"There is no ACTIVE Load Balancer named '{name}'")


# Volumes and snapshots

def _volume(world: World, params: Params) -> Any:
    cid = params.get("VolumeId", "")
    _volume_id(cid)
    volume = world.ec2.volumes.get(cid)
    if volume is None:
        raise Refusal("InvalidVolume.NotFound", f"The volume '{cid}' does not exist.")
    return volume


def _volume_id(cid: str) -> None:
    if not re.fullmatch(r"vol-[0-9a-f]{8,17}", cid):
        raise Refusal("InvalidParameterValue", f"Value ({cid}) for parameter volumeId is invalid. Expected: 'vol-...'.")


def _create_volume(world: World, params: Params) -> None:
    _check_tags(params)
    size = int(params.get("Size", "1"))
    if not 1 <= size <= 65536:
        raise Refusal("InvalidParameterValue", f"Volume of {size}GiB is outside of the supported range (1-16384)")


def _attach_volume(world: World, params: Params) -> None:
    volume = _volume(world, params)
    instance = world.instance(params.get("InstanceId", ""))
    if instance is None:
        raise Refusal("InvalidInstanceID.NotFound", f"The instance ID '{params.get('InstanceId')}' does not exist")
    if volume.attachment is not None:
        raise Refusal("VolumeInUse", f"{volume.id} is already attached to an instance")
    if instance.state not in ("running", "stopped"):
        raise Refusal("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.zone.name != instance.availability_zone:
        raise Refusal(
            "InvalidVolume.ZoneMismatch", f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'")
    device = params.get("Device", "")
    if device in dict(instance.get_block_device_mapping):
        raise Refusal("InvalidParameterValue", f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use")


def _detach_volume(world: World, params: Params) -> None:
    volume = _volume(world, params)
    if volume.attachment is None:
        raise Refusal("IncorrectState", f"Volume '{volume.id}' is in the 'available' state.")
    holder = volume.attachment.instance.id
    if params.setdefault("InstanceId", holder) != holder:
        raise Refusal("InvalidAttachment.NotFound", f"Volume '{volume.id}' is not attached to instance '{params['InstanceId']}'.")


def _delete_volume(world: World, params: Params) -> None:
    volume = _volume(world, params)
    if volume.attachment is not None:
        raise Refusal("VolumeInUse", f"Volume {volume.id} is currently attached to {volume.attachment.instance.id}")


def _modify_volume(world: World, params: Params) -> None:
    volume = _volume(world, params)
    if int(params.get("Size", volume.size)) < volume.size:
        raise Refusal("InvalidParameterValue", f"New size cannot be smaller than existing size. Existing size: {volume.size} GiB")


def _describe_volumes(world: World, params: Params) -> None:
    for cid in params.values("VolumeId"):
        _volume_id(cid)


def _snapshot_id(world: World, params: Params) -> None:
    for cid in (*params.values("SnapshotId"), *([params["SnapshotId"]] if "SnapshotId" in params else [])):
        if not re.fullmatch(r"snap-[0-9a-f]{8,17}", cid):
            raise Refusal("InvalidParameterValue", f"Value ({cid}) for parameter snapshotId is invalid. Expected: 'snap-...'.")


def _create_tags(world: World, params: Params) -> None:
    for number in params.numbered("Tag"):
        _check_tag(params.get(f"Tag.{number}.Key", ""), params.get(f"Tag.{number}.Value", ""))
    for cid in params.values("ResourceId"):
        if world.invisible.get(cid):
            world.look(cid, "InvalidInstanceID.NotFound")


# Images

def _registered(world: World, params: Params, body: str) -> None:
    image = world.ec2.amis[re.findall(r"<imageId>(ami-[0-9a-f]+)<", body)[0]]
    image.add_tags(params.tags("image"))
    image.root_device_name = params.get("RootDeviceName", "/dev/sda1")
    image.architecture = params.get("Architecture", "i386")
    image.virtualization_type = params.get("VirtualizationType", "paravirtual")
    image.boot_mode = params.get("BootMode", "")
    image.root_device_type = "ebs"
    snapshot = world.ec2.snapshots.get(params.get("BlockDeviceMapping.1.Ebs.SnapshotId", ""))
    if snapshot is not None:
        world.ec2.snapshots.pop(image.ebs_snapshot.id, None)
        image.ebs_snapshot = snapshot
        snapshot.from_ami = image.id


def _register_image(world: World, params: Params) -> None:
    if any(image.name == params.get("Name") for image in world.ec2.amis.values()):
        raise Refusal("InvalidAMIName.Duplicate", f"AMI name {params.get('Name')} is already in use")
    snapshot = params.get("BlockDeviceMapping.1.Ebs.SnapshotId")
    if snapshot and snapshot not in world.ec2.snapshots:
        raise Refusal("InvalidSnapshot.NotFound", f"The snapshot '{snapshot}' does not exist.")


def _copied_image(world: World, params: Params, body: str) -> None:
    image = world.ec2.amis[re.findall(r"<imageId>(ami-[0-9a-f]+)<", body)[0]]
    image.add_tags(params.tags("image"))
    image.ebs_snapshot.encrypted = params.get("Encrypted") == "true"
    source = world.ec2.amis[params["SourceImageId"]]
    image.root_device_name = source.root_device_name
    image.ebs_snapshot.add_tags(params.tags("snapshot"))


def _import_snapshot(world: World, params: Params) -> str:
    """Moto has none. The snapshot is there at once; the task tells it after two looks."""
    bucket, key = params.get("DiskContainer.UserBucket.S3Bucket", ""), params.get("DiskContainer.UserBucket.S3Key", "")
    objects = world.s3.buckets[bucket].keys if bucket in world.s3.buckets else {}
    if key not in objects:
        raise Refusal("InvalidParameterValue", f"The given S3 object s3://{bucket}/{key} does not exist or is not accessible")
    if params.get("RoleName", "vmimport") != "vmimport":
        raise Refusal(
            "InvalidParameter", f"The service role {params['RoleName']} provided does not exist or does not have sufficient permissions")
    volume = world.ec2.create_volume(size=max(1, -(-int(objects[key].size) // GIB)), zone_name=f"{world.ec2.region_name}a")
    snapshot = world.ec2.create_snapshot(volume.id, "imported")
    world.ec2.delete_volume(volume.id)
    task = f"import-snap-{snapshot.id[5:]}"
    world.imports[task] = {"snapshot": snapshot.id, "looks": "2"}
    return f"<importTaskId>{task}</importTaskId>{_task(world, task)}"


def _describe_imports(world: World, params: Params) -> str:
    items = []
    for task in params.values("ImportTaskId"):
        if task not in world.imports:
            raise Refusal("InvalidConversionTaskId.Malformed", f"The import task '{task}' does not exist")
        world.imports[task]["looks"] = str(max(0, int(world.imports[task]["looks"]) - 1))
        items.append(f"<item><importTaskId>{task}</importTaskId>{_task(world, task)}</item>")
    return f"<importSnapshotTaskSet>{''.join(items)}</importSnapshotTaskSet>"


def _task(world: World, task: str) -> str:
    state = world.imports[task]
    if int(state["looks"]):
        active = "<status>active</status><progress>50</progress><statusMessage>converting</statusMessage>"
        return f"<snapshotTaskDetail>{active}</snapshotTaskDetail>"
    return f"<snapshotTaskDetail><status>completed</status><snapshotId>{escape(state['snapshot'])}</snapshotId></snapshotTaskDetail>"


Before = Callable[[World, Params], None]
BEFORE: Mapping[str, Before] = {
    "DescribeNetworkInterfaces": _describe_interfaces,
    "RunInstances": _run_instances, "DescribeInstances": _describe_instances, "TerminateInstances": _instance_ids,
    "StartInstances": _instance_ids, "RebootInstances": _reboot, "CreateVolume": _create_volume, "AttachVolume": _attach_volume,
    "DetachVolume": _detach_volume, "DeleteVolume": _delete_volume, "ModifyVolume": _modify_volume, "DescribeVolumes": _describe_volumes,
    "DescribeSnapshots": _snapshot_id, "DeleteSnapshot": _snapshot_id, "CreateTags": _create_tags, "RegisterImage": _register_image,
}
AFTER: Mapping[str, Callable[[World, Params, str], None]] = {
    "RunInstances": _ran_instances, "AssociateAddress": _associated, "TerminateInstances": _terminated,
    "RegisterImage": _registered, "CopyImage": _copied_image,
}
OWN: Mapping[str, Callable[[World, Params], str]] = {
    "ImportSnapshot": _import_snapshot, "DescribeImportSnapshotTasks": _describe_imports,
}
