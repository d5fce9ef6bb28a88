"""One cloud config with the facts of its CPI: what it gives to a deployment, need by need. No cloud is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from cpis.cloud.schema import Schema
from cpis.cloud.sizes import MachineType
from cpis.contract import Invalid, VmResources
from cpis.portable import Facts
from director.diagnostics import Diagnostic, Diagnostics
from director.errors import ManifestError
from director.manifest import model as language
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import Document
from director.manifest.parse import parse_manifest
from director.plan.addresses import Pools, number_of
from director.plan.place import place
from director.plan.reserve import Holder, Reserver, vip_choices
from director.plan.settings import cloud_properties
from director.plan.static_place import has_static_ips, place_static


@dataclasses.dataclass(frozen=True)
class Address:
    """A reservation that a deploy of this manifest would make; `ip` is empty where the cloud chooses."""

    group: str
    network: str
    ip: str


@dataclasses.dataclass(frozen=True)
class Offer:
    """`manifest` is the deployment as this cloud config makes it, None when it cannot; `problems` say why not, or what else is wrong."""

    label: str
    facts: Facts
    schema: Schema | None
    cloud: language.CloudConfig | None
    manifest: language.Manifest | None
    addresses: tuple[Address, ...]
    problems: tuple[Diagnostic, ...]

    @classmethod
    def read(cls, label: str, facts: Facts, config: Document, deployment: Document) -> Offer:
        """Read a deployment against a cloud config as a deploy would; what is wrong becomes `problems`."""
        try:
            schema = Schema.of(facts.cpi)
        except Invalid:
            schema = None
        try:
            cloud = parse_cloud_config([config])
        except ManifestError as error:
            return cls(label, facts, schema, None, None, (), error.diagnostics)
        try:
            read = parse_manifest(deployment, cloud)
        except ManifestError as error:
            return cls(label, facts, schema, cloud, None, (), error.diagnostics)
        report = Diagnostics()
        addresses = tuple(_addresses(read, cloud, report))
        return cls(label, facts, schema, cloud, read, addresses, report.errors)

    def properties(self, group: language.InstanceGroup, az: str = "") -> dict[str, Any]:
        """The cloud properties of the group's machines in a zone (the first, unless named)."""
        assert self.cloud is not None
        return cloud_properties(self.cloud, group, az or next(iter(group.azs), ""))

    def size(self, group: language.InstanceGroup) -> MachineType | None:
        """What the group's machines are, as far as one can know without the cloud."""
        if group.vm_resources is not None:
            asked = VmResources(
                int(group.vm_resources["cpu"]), int(group.vm_resources["ram"]), int(group.vm_resources["ephemeral_disk_size"]))
            return MachineType(f"at least {asked.cpu} x {asked.ram_mib} MiB", asked.cpu, asked.ram_mib, asked.ephemeral_disk_size_mib)
        return self.facts.size(self.properties(group))

    def wrong(self, section: str, properties: Mapping[str, Any]) -> Invalid | None:
        """What the CPI's schema has against cloud properties."""
        if self.schema is None:
            return None
        try:
            self.schema.check(section, properties, templated=True)
        except Invalid as error:
            return error
        return None

    def kept_by_cloud(self, network: str, ip: str) -> bool:
        """Whether the cloud keeps this address of the subnet for itself."""
        assert self.cloud is not None
        definition = self.cloud.network(network)
        number = number_of(ip)
        for subnet in definition.subnets if definition else ():
            span = Pools(dataclasses.replace(self.cloud, networks=(language.NetworkDefinition("n", subnets=(subnet,)),))).network("n")
            if span is not None and subnet.range and number in span.subnets[0]:
                only, limits = span.subnets[0], self.facts.limits
                return number < only.first + limits.reserved_first or number > only.last - limits.reserved_last
        return False


def _addresses(read: language.Manifest, cloud: language.CloudConfig, report: Diagnostics) -> Iterator[Address]:
    """What a first deploy would reserve, errand groups too."""
    pools = Pools(cloud)
    for group in read.instance_groups:
        static = has_static_ips(group, pools)
        placement = place_static(group, (), pools, report) if static else place(group, (), report)
        reserver = Reserver(pools, group, read.name, report)
        vips = vip_choices(group, pools, [() for _ in placement.slots])
        for number, (slot, vip) in enumerate(zip(placement.slots, vips, strict=True)):
            holder = Holder(f"{group.name}-{number}", f"{group.name}/{number}", slot.az)
            reserved = reserver.reserve(holder, {**slot.static_ips, **vip})
            for network, item in reserved.by_network.items():
                yield Address(group.name, network, item.ip)
