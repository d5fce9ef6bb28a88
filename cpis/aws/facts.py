"""What is true of an account for long: subnets, groups, images, machine types. Asked for once."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cpis.aws.api import Api
from cpis.aws.driver import Tree, filters, items, numbered
from cpis.cloud.keyed import OnePerToken
from cpis.contract import Denied, Invalid, NotFound

_GROUP_ID = re.compile(r"sg-[0-9a-f]{8,17}")
# Families of the Xen hypervisor, where guests see volumes under the name that they are attached by; AWS makes no new ones.
_XEN = frozenset({
    "t1", "t2", "m1", "m2", "m3", "m4", "c1", "c3", "c4", "cc2", "cr1", "d2", "f1", "g2", "g3", "g3s", "h1", "hi1", "hs1", "i2", "i3", "p2",
    "p3", "r3", "r4", "x1", "x1e",
})


@dataclasses.dataclass(frozen=True)
class Subnet:
    """`ranges` are its IPv4 and, when it has one, IPv6 range."""

    cid: str
    vpc: str
    zone: str
    ranges: tuple[str, ...]

    def prefix_and_gateway(self, ip: str) -> tuple[int, str]:
        """Of the range that the address lies in: the router is its first address. Source: "Subnet CIDR blocks" in the VPC user guide."""
        for text in self.ranges:
            network = ipaddress.ip_network(text)
            if ipaddress.ip_address(ip) in network:
                return network.prefixlen, str(network[1])
        return 32, ""


class Facts:
    """Safe to use from many threads; what was asked once is kept."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._once = OnePerToken()  # a hundred machines at once ask one time, too
        self._known: dict[tuple[str, str], Any] = {}

    def _keep(self, kind: str, key: str, ask: Callable[[], Any]) -> Any:
        with self._once(f"{kind} {key}"):
            with self._lock:
                if (kind, key) in self._known:
                    return self._known[kind, key]
            found = ask()
            with self._lock:
                self._known[kind, key] = found
            return found

    def forget(self, kind: str) -> None:
        """Ask anew for what is of this kind."""
        with self._lock:
            self._known = {key: value for key, value in self._known.items() if key[0] != kind}

    def subnet(self, cid: str) -> Subnet:
        """Raises NotFound."""
        return self.subnets([cid])[0]

    def subnets(self, cids: Sequence[str]) -> list[Subnet]:
        """All in one request. Raises NotFound."""
        with self._once("subnets"):
            with self._lock:
                unknown = [cid for cid in dict.fromkeys(cids) if ("subnet", cid) not in self._known]
            if unknown:
                for item in items(self._api.ask("DescribeSubnets", numbered("SubnetId", unknown)), "subnetSet"):
                    found = _subnet(item)
                    with self._lock:
                        self._known["subnet", found.cid] = found
        with self._lock:
            missing = [cid for cid in cids if ("subnet", cid) not in self._known]
            if missing:
                raise NotFound(f"there is no subnet {missing[0]}", resource=missing[0], kind="network", code="InvalidSubnetID.NotFound")
            return [self._known["subnet", cid] for cid in cids]

    def groups(self, names: Iterable[str], vpc: str) -> list[str]:
        """Ids of security groups by id or name. Raises Invalid for names that the VPC has not."""
        wanted = list(dict.fromkeys(names))
        with self._once("groups"):
            with self._lock:
                unknown = [name for name in wanted if not _GROUP_ID.fullmatch(name) and ("group", f"{vpc}/{name}") not in self._known]
            if unknown:
                found = self._groups(unknown, vpc)
                with self._lock:
                    self._known.update({("group", f"{vpc}/{name}"): cid for name, cid in found.items()})
            with self._lock:
                return [name if _GROUP_ID.fullmatch(name) else self._known["group", f"{vpc}/{name}"] for name in wanted]

    def _groups(self, names: Sequence[str], vpc: str) -> dict[str, str]:
        answer = self._api.ask("DescribeSecurityGroups", filters(**{"vpc-id": vpc, "group-name": names}))
        found = {item["groupName"]: item["groupId"] for item in items(answer, "securityGroupInfo")}
        missing = [name for name in names if name not in found]
        if missing:
            raise Invalid(
                f"the VPC {vpc} has no security group '{missing[0]}'", resource=missing[0], kind="network", code="InvalidGroup.NotFound",
                suggestion="Security groups are named by their id (sg-...) or group name, not by their tag Name.")
        return found

    def image(self, cid: str) -> Tree:
        """Raises NotFound."""
        found: Tree = self._keep("image", cid, lambda: self._image(cid))
        return found

    def _image(self, cid: str) -> Tree:
        found = items(self._api.ask("DescribeImages", numbered("ImageId", [cid])), "imagesSet")
        if not found:
            raise NotFound(
                f"there is no image {cid} in {self._api.place.region}", resource=cid, kind="stemcell", code="InvalidAMIID.NotFound")
        image: Tree = found[0]
        return image

    def type(self, name: str) -> Tree:
        """What EC2 says of a machine type; empty when it may not be asked. Raises Invalid for one that it does not know."""
        found: Tree = self._keep("type", name, lambda: self._type(name))
        return found

    def _type(self, name: str) -> Tree:
        try:
            found = items(self._api.ask("DescribeInstanceTypes", numbered("InstanceType", [name])), "instanceTypeSet")
        except Denied:
            return {}
        return found[0] if found else {}

    def zones(self) -> list[str]:
        """Names of the region's availability zones that take new things."""

        def ask() -> list[str]:
            answer = self._api.ask("DescribeAvailabilityZones", filters(state="available"))
            ordinary = [item for item in items(answer, "availabilityZoneInfo") if item.get("zoneType") in (None, "availability-zone")]
            return sorted(item["zoneName"] for item in ordinary)

        found: list[str] = self._keep("zones", "", ask)
        return found


def is_nitro(instance_type: str) -> bool:
    """Whether guests see volumes as NVMe disks. Source: "Amazon EBS volumes and NVMe" in the EBS user guide."""
    family, _, size = instance_type.partition(".")
    return family not in _XEN or "metal" in size


def _subnet(item: Mapping[str, Any]) -> Subnet:
    six = [entry.get("ipv6CidrBlock", "") for entry in items(item, "ipv6CidrBlockAssociationSet")]
    return Subnet(item["subnetId"], item.get("vpcId", ""), item["availabilityZone"], (item["cidrBlock"], *filter(None, six)))
