"""Whether all is there that this CPI will need: `caisson cloud check`.

Permissions are asked for with `DryRun`, which is answered as the request would be and does nothing. Actions on things that are there are
asked about one of this director's own, since the policy of docs/clouds/aws.md allows them on those only.
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from cpis.aws.api import Api
from cpis.aws.driver import S3, Quotas, filters, items
from cpis.aws.facts import Facts
from cpis.aws.launch import LIGHT, image_of
from cpis.aws.metadata import specifications
from cpis.aws.search import Search
from cpis.contract import Check, CheckKind, CpiError, Denied, Found, NotFound, Unavailable, Uses

_SKEW_SECONDS = 240.0
# Running On-Demand Standard instances, in vCPUs. Source: "Amazon EC2 service quotas" in the EC2 user guide.
_VCPUS = "L-1216C47A"
_NEEDED_FREE = 0.9
_READS = (
    "DescribeAvailabilityZones", "DescribeImages", "DescribeInstances", "DescribeNetworkInterfaces", "DescribeSecurityGroups",
    "DescribeSnapshots", "DescribeSubnets", "DescribeVolumes", "DescribeVolumesModifications",
)
_ON_OWN: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("TerminateInstances", "vm", {"InstanceId.1": "{vm}"}), ("StartInstances", "vm", {"InstanceId.1": "{vm}"}),
    ("RebootInstances", "vm", {"InstanceId.1": "{vm}"}),
    ("CreateTags", "vm", {"ResourceId.1": "{vm}", "Tag.1.Key": "deployment", "Tag.1.Value": "check"}),
    ("DeleteTags", "vm", {"ResourceId.1": "{vm}", "Tag.1.Key": "deployment"}),
    ("AttachVolume", "vm disk", {"InstanceId": "{vm}", "VolumeId": "{disk}", "Device": "/dev/sdp"}),
    ("DetachVolume", "vm disk", {"InstanceId": "{vm}", "VolumeId": "{disk}"}),
    ("ModifyVolume", "disk", {"VolumeId": "{disk}", "Size": "16384"}),
    ("DeleteVolume", "disk", {"VolumeId": "{disk}"}),
    ("CreateSnapshot", "disk", {"VolumeId": "{disk}"}),
    ("DeleteSnapshot", "snapshot", {"SnapshotId": "{snapshot}"}),
    ("DeregisterImage", "stemcell", {"ImageId": "{stemcell}"}),
)


class Checks:
    """One pass. Makes, changes and deletes nothing."""

    def __init__(
        self, api: Api, facts: Facts, search: Search, config: Mapping[str, Any], director: str, now: Callable[[], float],
    ) -> None:
        self._api = api
        self._facts = facts
        self._search = search
        self._config = config
        self._tags = {"director": director}
        self._now = now

    def run(self, uses: Uses) -> Iterator[Check]:
        """See `CloudChecker.checks`."""
        yield Check("region and endpoint", "configuration", True, f"{self._api.place.region} at {self._api.place.url('ec2')}")
        entered = list(self._enter())
        yield from entered
        if not all(check.ok for check in entered if check.kind in ("reach", "authenticate")):
            return
        yield from self._reads()
        yield from self._creations(uses)
        yield from self._on_own()
        yield from self._images(uses)
        yield from self._networks(uses)
        yield from self._types(uses)
        yield from self._storage()
        yield self._quota()

    def _enter(self) -> Iterator[Check]:
        try:
            self._api.call("credentials", self._api.source.get, family="read", patience=30.0)
        except CpiError as error:
            lost = isinstance(error, Unavailable) or error.code == "tls"
            yield Check.failed("credentials", "reach" if lost else "authenticate", error)
            return
        try:
            who, stamp = self._api.identity()
        except CpiError as error:
            yield from Check.not_entered(self._api.place.url("sts"), "credentials", error)
            return
        yield Check(self._api.place.url("sts"), "reach", True, "answers")
        yield Check("credentials", "authenticate", True, (
            f"{who.get('Arn', '')} in account {who.get('Account', '')}, by {self._api.source.origin}"))
        if stamp:
            skew = self._now() - email.utils.parsedate_to_datetime(stamp).timestamp()
            words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS"
            right = abs(skew) < _SKEW_SECONDS
            yield Check("clock of this computer", "clock", right, words, "" if right else "Set the clock: AWS takes five minutes at most.")

    # Permissions

    def _reads(self) -> Iterator[Check]:
        actions = [*_READS]
        if self._config.get("enable_describe_instance_types", True):
            actions.append("DescribeInstanceTypes")
        for action in actions:
            params = {"Owner.1": "self"} if action in ("DescribeImages", "DescribeSnapshots") else {}
            yield self._may(action, params)

    def _creations(self, uses: Uses) -> Iterator[Check]:
        tagged = specifications({"volume": self._tags})
        yield self._may("CreateVolume", {"AvailabilityZone": self._zone(uses), "Size": "1", **tagged})
        subnet = next((str(network["subnet"]) for network in uses.networks.values() if network.get("subnet")), "")
        image = next((image_of(cid) for cid in uses.stemcell_cids if cid.removesuffix(LIGHT).startswith("ami-")), "")
        kind = next((str(entry["instance_type"]) for entry in uses.vm_types.values() if entry.get("instance_type")), "t3.micro")
        if not (subnet and image):
            yield Check("ec2:RunInstances", "permission", None, "it can be asked about with a subnet and a stemcell only", (
                "Upload a cloud config and a stemcell, then check again."))
            return
        profile = next((str(entry["iam_instance_profile"]) for entry in uses.vm_types.values() if entry.get("iam_instance_profile")), "")
        named = {f"IamInstanceProfile.{'Arn' if profile.startswith('arn:') else 'Name'}": profile} if profile else {}
        yield self._may("RunInstances", {
            "ImageId": image, "InstanceType": kind, "MinCount": "1", "MaxCount": "1", "NetworkInterface.1.DeviceIndex": "0",
            "NetworkInterface.1.SubnetId": subnet, **named,
            **specifications({"instance": self._tags, "volume": self._tags, "network-interface": self._tags}),
        })

    def _on_own(self) -> Iterator[Check]:
        try:
            owned = self._search.owned()
        except CpiError as error:
            yield Check.failed("things of this director", "permission", error)
            return
        own = {kind: _first(owned, kind) for kind in ("vm", "disk", "snapshot", "stemcell")}
        for action, needs, params in _ON_OWN:
            missing = [kind for kind in needs.split() if not own[kind]]
            if missing:
                yield Check(f"ec2:{action}", "permission", None, f"this director has no {missing[0]} yet to ask about")
            else:
                yield self._may(action, {key: value.format(**own) for key, value in params.items()})

    def _may(self, action: str, params: Mapping[str, str]) -> Check:
        """Of the answer to a dry run: refused for another reason than permission, the permission is there."""
        error = self._api.dry_run(action, params)
        name = f"ec2:{action}"
        if error is None:
            return Check(name, "permission", True)
        if isinstance(error, Denied):
            return Check.failed(name, "permission", error)
        if isinstance(error, Unavailable):
            return Check(name, "permission", None, error.message, error.suggestion)
        return Check(name, "permission", True, f"allowed; the request itself would end with: {error.message}")

    # What the cloud config and the stemcells name

    def _images(self, uses: Uses) -> Iterator[Check]:
        for cid in uses.stemcell_cids:
            yield _looked(f"stemcell {cid}", "image", partial(self._image, cid))

    def _image(self, cid: str) -> str:
        found = self._facts.image(image_of(cid))
        if found.get("imageState") not in ("available", None):
            raise Unavailable(f"the image is {found['imageState']}")
        return str(found.get("name") or found["imageId"])

    def _zone(self, uses: Uses) -> str:
        named = [str(entry["availability_zone"]) for entry in uses.azs.values() if entry.get("availability_zone")]
        return named[0] if named else f"{self._api.place.region}a"

    def _networks(self, uses: Uses) -> Iterator[Check]:
        for name, properties in uses.networks.items():
            if properties.get("subnet"):
                yield _looked(f"network {name}", "network", partial(self._subnet, properties))
        for name, properties in uses.azs.items():
            zone = properties.get("availability_zone")
            if zone:
                yield _looked(f"az {name}", "network", partial(self._zone_there, str(zone)))

    def _subnet(self, properties: Mapping[str, Any]) -> str:
        found = items(self._api.ask("DescribeSubnets", {"SubnetId.1": properties["subnet"]}), "subnetSet")
        if not found:
            raise NotFound(f"there is no subnet {properties['subnet']}")
        groups = properties.get("security_groups") or self._config.get("default_security_groups") or []
        ids = self._facts.groups(groups, found[0]["vpcId"])
        if ids:
            answer = self._api.ask("DescribeSecurityGroups", filters(**{"group-id": ids, "vpc-id": found[0]["vpcId"]}))
            there = items(answer, "securityGroupInfo")
            missing = sorted(set(ids) - {item["groupId"] for item in there})
            if missing:
                raise NotFound(f"the VPC {found[0]['vpcId']} has no security group {missing[0]}")
        free = int(found[0].get("availableIpAddressCount") or 0)
        if not free:
            raise Unavailable(f"the subnet {properties['subnet']} has no free address", suggestion="Use a larger subnet.")
        return f"{found[0]['cidrBlock']} in {found[0]['availabilityZone']}, {free} addresses free"

    def _types(self, uses: Uses) -> Iterator[Check]:
        zones = [str(entry["availability_zone"]) for entry in uses.azs.values() if entry.get("availability_zone")]
        for name, properties in uses.vm_types.items():
            kind = properties.get("instance_type")
            if kind:
                yield _looked(f"vm_type {name}", "configuration", partial(self._offered, str(kind), zones))

    def _offered(self, kind: str, zones: list[str]) -> str:
        params = {"LocationType": "availability-zone", **filters(**{"instance-type": kind})}
        offered = {item["location"] for item in self._api.pages("DescribeInstanceTypeOfferings", "instanceTypeOfferingSet", params)}
        missing = [zone for zone in zones if zone not in offered]
        if not offered or missing:
            raise NotFound(
                f"{kind} is not to be had in {', '.join(missing) or self._api.place.region}",
                suggestion=f"It is in: {', '.join(sorted(offered)) or 'no zone of this region'}.")
        return f"{kind} in {', '.join(zones or sorted(offered))}"

    def _zone_there(self, zone: str) -> str:
        known = self._facts.zones()
        if zone not in known:
            raise NotFound(f"there is no availability zone {zone}", suggestion=f"known: {', '.join(known)}")
        return zone

    def _storage(self) -> Iterator[Check]:
        bucket = self._config.get("stemcell_bucket")
        if not bucket:
            yield Check("bucket for heavy stemcells", "storage", None, "the CPI config has no stemcell_bucket: light stemcells only")
            return
        driver = S3(self._api.source, self._api.place)

        def look() -> str:
            # Libcloud's get_container takes a refusal for an answer.
            def head() -> Any:
                return driver.connection.request(f"/{bucket}", method="HEAD")

            answer = self._api.call("HeadBucket", head, family="storage", patience=30.0)
            if answer.status == 404:
                raise NotFound(f"there is no bucket {bucket}", suggestion="Create it: `aws s3 mb`; see docs/clouds/aws.md.")
            return str(bucket)

        yield _looked(f"bucket {bucket}", "storage", look)

    def _quota(self) -> Check:
        name = "vCPUs of ordinary machines"
        quotas = Quotas(self._api.source, self._api.place)
        try:
            limit = self._api.call("GetServiceQuota", lambda: quotas.value("ec2", _VCPUS), family="read", patience=30.0)
            params = filters(**{"instance-state-name": ["pending", "running"]})
            reservations = self._api.pages("DescribeInstances", "reservationSet", params)
            used = sum(_cores(item) for reservation in reservations for item in items(reservation, "instancesSet"))
        except CpiError as error:
            return Check(name, "quota", None, error.message, error.suggestion)
        enough = used < limit * _NEEDED_FREE
        suggestion = "" if enough else "Ask for more under Service Quotas in the AWS console, or use less."
        return Check(name, "quota", enough, f"{used} of {limit:.0f} in use", suggestion)


def _cores(instance: Mapping[str, Any]) -> int:
    options = instance.get("cpuOptions") or {}
    return int(options.get("coreCount") or 1) * int(options.get("threadsPerCore") or 2)


def _first(owned: list[Found], kind: str) -> str:
    return next((found.cid for found in owned if found.kind == kind), "")


def _looked(name: str, kind: CheckKind, look: Callable[[], str]) -> Check:
    try:
        return Check(name, kind, True, look())
    except CpiError as error:
        return Check.failed(name, kind, error)
