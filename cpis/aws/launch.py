"""The request that makes a machine. Source: CPI contract, section 6.2, "Raw create"; RunInstances in the EC2 API reference."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.aws import metadata
from cpis.aws.driver import Tree, items, numbered
from cpis.aws.facts import Facts, Subnet, is_nitro
from cpis.cloud.schema import Schema
from cpis.cloud.sizes import gib
from cpis.cloud.tags import SHAPE, TOKEN
from cpis.cloud.userdata import cloud_config, fit
from cpis.contract import Invalid, Network, NotFound, VmRequest, by_interface

USER_DATA_BYTES = 16 * 1024
ROOT_FALLBACK = "/dev/xvda"
EPHEMERAL_DEVICE = "/dev/sdb"
LIGHT = " light"
_TAGGED = ("instance", "volume", "network-interface")
_AMI = re.compile(r"ami-[0-9a-f]{8,17}")
_METADATA_OPTIONS = {
    "http_tokens": "HttpTokens", "http_endpoint": "HttpEndpoint", "http_put_response_hop_limit": "HttpPutResponseHopLimit",
    "http_protocol_ipv6": "HttpProtocolIpv6", "instance_metadata_tags": "InstanceMetadataTags",
}
# Disks of the host that are NVMe disks have no name that can be known beforehand. Theirs is given a file system and its place before sshd
# starts, and so before the director comes; it is empty after each stop.
_MOUNT_HOST_DISK = """\
if ! blkid -L caisson-data >/dev/null; then
  disk=$(lsblk -dno NAME,TYPE,MODEL | grep 'Instance Storage' | cut -d ' ' -f 1 | sort | head -n 1)
  [ -n "$disk" ] && mkfs.ext4 -q -L caisson-data "/dev/$disk"
fi
mkdir -p /var/vcap/data
mountpoint -q /var/vcap/data || mount -L caisson-data /var/vcap/data
"""
# Agents of BOSH expect a disk there, of this size unless another is named. Source: CPI contract, section 6.1; BOSH's AWS CPI.
_OF_AGENTS = {"size": 10 * 1024}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A machine to make: the parameters of RunInstances but for its token, and what comes after.

    `interfaces` are the networks of each, the one with the default gateway first.
    """

    params: Mapping[str, str]
    properties: Mapping[str, Any]
    interfaces: tuple[tuple[Network, ...], ...]
    vips: tuple[Network, ...]
    subnets: Mapping[str, Subnet]
    shape: str
    part_tags: Mapping[str, str]

    @property
    def is_spot(self) -> bool:
        return self.properties.get("spot_bid_price") is not None

    @property
    def may_fall_back(self) -> bool:
        """Whether an ordinary machine will do when there is no spot instance."""
        return self.is_spot and bool(self.properties.get("spot_ondemand_fallback"))

    @property
    def has_data_volume(self) -> bool:
        """Whether a disk of its own at EPHEMERAL_DEVICE is for /var/vcap/data."""
        return EPHEMERAL_DEVICE in self.params.values()

    def market(self) -> dict[str, str]:
        """The parameters that make it a spot instance. Tags on the spot request are refused where there is none."""
        return {
            **metadata.specifications({"spot-instances-request": self.part_tags}, len(_TAGGED) + 1),
            "InstanceMarketOptions.MarketType": "spot", "InstanceMarketOptions.SpotOptions.SpotInstanceType": "one-time",
            "InstanceMarketOptions.SpotOptions.MaxPrice": f"{self.properties['spot_bid_price']:.10f}".rstrip("0").rstrip("."),
        }


class Planner:
    """Makes plans: checks everything that can be checked before anything is made."""

    def __init__(self, facts: Facts, config: Mapping[str, Any], director: str) -> None:
        self._facts = facts
        self._config = config
        self._director = director
        self._schema = Schema.of("aws")

    def plan(self, request: VmRequest, disks: Sequence[Tree]) -> Plan:
        """`disks` are the machine's persistent disks as they are. Raises Invalid, NotFound."""
        properties = self._schema.check("vm_type", request.cloud_properties)
        if request.login.agent_settings:
            properties.setdefault("ephemeral_disk", _OF_AGENTS)
        order, vips = _networks(request.networks)
        interfaces = by_interface(order)
        placed = [self._schema.check("network", network.cloud_properties) for network in order]
        for network, own in zip(order, placed, strict=True):
            if not own.get("subnet"):
                raise Invalid(
                    f"the network '{network.name}' has no 'subnet' in its cloud_properties", resource=network.name, kind="network")
        image = image_of(request.stemcell_cid)
        text = request.login.agent_settings or cloud_config(request.login, extra=_host_disk_setup(properties))
        fit(text, USER_DATA_BYTES, "AWS")
        subnets = self._facts.subnets([own["subnet"] for own in placed])
        where = {own["subnet"]: subnet for own, subnet in zip(placed, subnets, strict=True)}
        zone = _zone(properties, subnets, disks)
        shape = metadata.shape(
            request.agent_id, request.stemcell_cid, request.cloud_properties, [dataclasses.asdict(network) for network in request.networks])
        params = {
            "ImageId": image, "MinCount": "1", "MaxCount": "1", "InstanceType": str(properties["instance_type"]),
            "UserData": base64.b64encode(text.encode()).decode(), "Placement.AvailabilityZone": zone,
            **self._interfaces(properties, interfaces, placed, where), **self._disks(properties, image), **self._options(properties),
        }
        whole, part = self._tags(request, properties, shape)
        params |= metadata.specifications(dict(zip(_TAGGED, (whole, part, part), strict=True)))
        return Plan(params, properties, interfaces, vips, where, shape, part)

    def forget_groups(self) -> None:
        """Ask for security groups by name anew."""
        self._facts.forget("group")

    def _interfaces(
        self, properties: Mapping[str, Any], interfaces: Sequence[Sequence[Network]], placed: Sequence[Mapping[str, Any]],
        subnets: Mapping[str, Subnet],
    ) -> dict[str, str]:
        of_networks = dict.fromkeys(name for own in placed for name in own.get("security_groups") or [])
        names = properties.get("security_groups") or list(of_networks) or self._config.get("default_security_groups") or []
        result: dict[str, str] = {}
        for number, networks in enumerate(interfaces, 1):
            base, subnet = f"NetworkInterface.{number}", subnets[_subnet_of(networks)]
            result |= {f"{base}.DeviceIndex": str(number - 1), f"{base}.SubnetId": subnet.cid, f"{base}.DeleteOnTermination": "true"}
            result |= numbered(f"{base}.SecurityGroupId", self._facts.groups(names, subnet.vpc))
            result |= _addresses(base, [network.ip for network in networks if network.ip and network.type == "manual"])
        public = properties.get("auto_assign_public_ip")
        if public is not None:
            if len(interfaces) > 1 and public:
                raise Invalid("'auto_assign_public_ip' goes with one network only", suggestion="Use a vip network for machines on several.")
            if len(interfaces) == 1:
                result["NetworkInterface.1.AssociatePublicIpAddress"] = "true" if public else "false"
        return result

    def _disks(self, properties: Mapping[str, Any], image: str) -> dict[str, str]:
        mappings: list[dict[str, str]] = []
        root, data = properties.get("root_disk") or {}, properties.get("ephemeral_disk") or {}
        encrypted = self._config.get("encrypted", False)
        if root or encrypted:
            device = self._facts.image(image).get("rootDeviceName") or ROOT_FALLBACK
            own = {"encrypted": encrypted, "kms_key_arn": self._config.get("kms_key_arn")} if encrypted else {}
            mappings.append(ebs(device, {"type": "gp3" if root else None, **own, **root}))
        if data and not data.get("use_root_disk"):
            mappings.append(self._data_disk(data, encrypted))
        if properties.get("raw_instance_storage"):
            mappings += self._host_disks(str(properties["instance_type"]), 1 if data.get("use_instance_storage") else 0)
        result: dict[str, str] = {}
        for number, mapping in enumerate(mappings, 1):
            result |= {f"BlockDeviceMapping.{number}.{key}": value for key, value in mapping.items()}
        return result

    def _data_disk(self, data: Mapping[str, Any], encrypted: bool) -> dict[str, str]:
        if data.get("use_instance_storage"):
            return {"DeviceName": EPHEMERAL_DEVICE, "VirtualName": "ephemeral0"}
        if not data.get("size"):
            raise Invalid("'ephemeral_disk' has no 'size'", suggestion="Give MiB, use_instance_storage: true or use_root_disk: true.")
        own = {"encrypted": encrypted, "kms_key_arn": self._config.get("kms_key_arn")} if encrypted else {}
        return ebs(EPHEMERAL_DEVICE, {"type": "gp3", **own, **data})

    def _host_disks(self, instance_type: str, first: int) -> list[dict[str, str]]:
        """Mappings of all disks of the host. Those that are NVMe disks are there without. Source: "Instance store volumes", EC2 guide."""
        storage = self._facts.type(instance_type).get("instanceStorageInfo") or {}
        if not storage:
            raise Invalid(f"machines of type {instance_type} have no disks of their own for 'raw_instance_storage'")
        if storage.get("nvmeSupport") == "required":
            return []
        count = sum(int(disk.get("count") or 1) for disk in items(storage, "disks"))
        return [{"DeviceName": f"/dev/xvdb{chr(ord('a') + n)}", "VirtualName": f"ephemeral{n}"} for n in range(first, count)]

    def _options(self, properties: Mapping[str, Any]) -> dict[str, str]:
        result: dict[str, str] = {}
        key = properties.get("key_name") or self._config.get("default_key_name")
        profile = properties.get("iam_instance_profile") or self._config.get("default_iam_instance_profile")
        if key:
            result["KeyName"] = str(key)
        if profile:
            result[f"IamInstanceProfile.{'Arn' if str(profile).startswith('arn:') else 'Name'}"] = str(profile)
        if properties.get("placement_group"):
            result["Placement.GroupName"] = str(properties["placement_group"])
        if properties.get("tenancy"):
            result["Placement.Tenancy"] = str(properties["tenancy"])
        options = {**(self._config.get("metadata_options") or {}), **(properties.get("metadata_options") or {})}
        result |= {f"MetadataOptions.{_METADATA_OPTIONS[name]}": str(value) for name, value in options.items()}
        return result

    def _tags(self, request: VmRequest, properties: Mapping[str, Any], shape: str) -> tuple[dict[str, str], dict[str, str]]:
        """Tags of the machine, and of its parts."""
        ours = {"director": self._director, TOKEN: request.token, SHAPE: shape}
        routes = properties.get("advertised_routes") or []
        routed = {metadata.ROUTES: " ".join(f"{route['table_id']}={route['destination']}" for route in routes)} if routes else {}
        found = metadata.tags(request.metadata, {**ours, **routed}, properties.get("tags"))
        part = metadata.tags(request.metadata, {**ours, metadata.PART: "vm"}, properties.get("tags"))
        return found, part


def image_of(stemcell_cid: str) -> str:
    """The AMI of a stemcell. Raises NotFound for what is none."""
    image = stemcell_cid.removesuffix(LIGHT).strip()
    if not _AMI.fullmatch(image):
        raise NotFound(f"there is no stemcell '{stemcell_cid}'", resource=stemcell_cid, kind="stemcell")
    return image


def ebs(device: str, disk: Mapping[str, Any]) -> dict[str, str]:
    """A mapping of a volume that goes with its machine."""
    result = {"DeviceName": device, "Ebs.DeleteOnTermination": "true", **{f"Ebs.{key}": value for key, value in volume(disk).items()}}
    if disk.get("size"):
        result["Ebs.VolumeSize"] = str(gib(int(disk["size"])))
    return result


def volume(disk: Mapping[str, Any]) -> dict[str, str]:
    """Kind and encryption of a volume, in EC2's words."""
    names = {"type": "VolumeType", "iops": "Iops", "throughput": "Throughput", "kms_key_arn": "KmsKeyId"}
    result = {name: str(disk[key]) for key, name in names.items() if disk.get(key)}
    if disk.get("encrypted"):
        result["Encrypted"] = "true"
    elif "KmsKeyId" in result:
        raise Invalid("'kms_key_arn' is given for a disk that is not encrypted", suggestion="Add encrypted: true.")
    return result


def _networks(networks: Sequence[Network]) -> tuple[tuple[Network, ...], tuple[Network, ...]]:
    """(those with an interface, the default gateway's first; floating addresses). Source: CPI contract, rows 17 and 18."""
    vips = tuple(network for network in networks if network.type == "vip")
    inside = [network for network in networks if network.type != "vip"]
    if not inside:
        raise Invalid("a machine needs a manual or dynamic network")
    if len(vips) > 1:
        raise Invalid("a machine of AWS has one floating address at most", suggestion="Leave one vip network.")
    if any(not vip.ip for vip in vips):
        raise Invalid(f"the vip network '{vips[0].name}' gives no address", suggestion="Name an elastic IP of the account as static_ips.")
    inside.sort(key=lambda network: "gateway" not in network.default)
    return tuple(inside), vips


def _subnet_of(networks: Sequence[Network]) -> str:
    """The subnet of the networks of one interface. Raises Invalid when they cannot share one."""
    subnets = {str(network.cloud_properties["subnet"]): network.name for network in networks}
    if len(subnets) > 1:
        told = " and ".join(f"'{name}' is in {subnet}" for subnet, name in subnets.items())
        raise Invalid(
            f"networks of one interface (nic_group {networks[0].nic_group}) are in one subnet: {told}", resource=networks[0].name,
            kind="network", suggestion="Give both networks the same subnet in cloud_properties, or leave nic_group out.")
    dynamic = next((network.name for network in networks if network.type == "dynamic"), "")
    if dynamic and len(networks) > 1:
        raise Invalid(
            f"the dynamic network '{dynamic}' cannot share an interface (nic_group {networks[0].nic_group}): which address is its own?",
            resource=dynamic, kind="network", suggestion="Make it a manual network, or leave nic_group out.")
    return next(iter(subnets))


def _addresses(base: str, ips: Sequence[str]) -> dict[str, str]:
    """The parameters for the addresses of an interface: the first of IPv4 is its primary one. Source: "RunInstances", EC2 API reference."""
    four, six = [ip for ip in ips if ":" not in ip], [ip for ip in ips if ":" in ip]
    result = {f"{base}.Ipv6Addresses.{number}.Ipv6Address": ip for number, ip in enumerate(six, 1)}
    if len(four) == 1:
        return {f"{base}.PrivateIpAddress": four[0], **result}
    for number, ip in enumerate(four, 1):
        one = f"{base}.PrivateIpAddresses.{number}"
        result |= {f"{one}.PrivateIpAddress": ip, f"{one}.Primary": "true" if number == 1 else "false"}
    return result


def _zone(properties: Mapping[str, Any], subnets: Sequence[Subnet], disks: Sequence[Tree]) -> str:
    """The zone of all. Raises Invalid naming the zones that differ. Source: CPI contract, row 31."""
    found = {f"subnet {subnet.cid}": subnet.zone for subnet in subnets}
    if properties.get("availability_zone"):
        found["availability_zone"] = str(properties["availability_zone"])
    found |= {f"disk {disk['volumeId']}": disk["availabilityZone"] for disk in disks}
    zones = set(found.values())
    if len(zones) > 1:
        raise Invalid(
            f"a machine is in one zone with its subnets and disks: {', '.join(f'{what} is in {zone}' for what, zone in found.items())}",
            code="ZoneMismatch", suggestion="Use the subnet of the disk's zone, or move the disk by a snapshot.")
    return zones.pop()


def _host_disk_setup(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What cloud-init does for a disk of the host at /var/vcap/data."""
    data = properties.get("ephemeral_disk") or {}
    if not data.get("use_instance_storage") or not is_nitro(str(properties["instance_type"])):
        return {}
    return {"bootcmd": [["sh", "-c", _MOUNT_HOST_DISK]]}
