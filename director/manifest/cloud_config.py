"""Cloud configs -> CloudConfig: several named ones joined, all that is wrong told at once. Source: manifest contract, section 13."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from director.diagnostics import Diagnostics
from director.errors import ManifestError
from director.manifest import model
from director.manifest.load import Document
from director.manifest.names import canonical, canonical_problem
from director.manifest.networks import read_network
from director.manifest.reader import MISSING_FIELD, Fields, Reader

MERGE_ERROR = 570000

T = TypeVar("T")


def parse_cloud_config(documents: Sequence[Document]) -> model.CloudConfig:
    """Join named cloud configs in the given order (ascending config id) and check them.

    Warnings (unknown keys) are in `CloudConfig.warnings`. Raises ManifestError with every diagnostic.
    """
    report = Diagnostics()
    joined = _Join(documents, report)
    azs = joined.read("azs", "az", "az", 190017, _az)
    networks = _networks(joined, {az.name for az in azs})
    vm_types = joined.read("vm_types", "vm_type", "vm type", 190004, _named)
    vm_extensions = joined.read("vm_extensions", "vm_extension", "vm extension", 190005, _named)
    disk_types = joined.read("disk_types", "disk_type", "disk type", 190013, _disk_type)
    names = _Names(
        {az.name: az for az in azs},
        {network.name: network for network in networks},
        {item.name for item in vm_types},
        {item.name for item in vm_extensions},
    )
    compilation = _compilation(joined, names)
    if report.errors or compilation is None:
        raise ManifestError(*report.errors)
    return model.CloudConfig(
        tuple(networks), compilation, tuple(azs), tuple(vm_types), tuple(vm_extensions), tuple(disk_types), report.warnings
    )


@dataclasses.dataclass(frozen=True)
class _Names:
    azs: Mapping[str, model.Az]
    networks: Mapping[str, model.NetworkDefinition]
    vm_types: set[str]
    vm_extensions: set[str]


class _Join:
    """The top level of all documents, read."""

    def __init__(self, documents: Sequence[Document], report: Diagnostics) -> None:
        self.report = report
        self.fields: list[Fields] = []
        for document in documents:
            reader = Reader(document, report)
            fields = reader.fields("cloud_config", document.tree, (), required=False)
            if fields is not None:
                self.fields.append(fields)
        if not documents:
            report.add("There is no cloud config", suggestion="Upload one with update-cloud-config.", code=MISSING_FIELD)

    def read(self, key: str, section: str, kind: str, duplicate_code: int, make: Callable[[Fields], T]) -> list[T]:
        """All entries of a list over all documents."""
        seen: set[str] = set()
        made = []
        for fields in self.fields:
            for item in fields.items(key, section) if fields.good(key) else ():
                name = item["name"]
                if name and name in seen:
                    item.error("name", f"Duplicate {kind} name '{name}'", duplicate_code, "Rename one of the two, or remove it.")
                seen.add(name)
                made.append(make(item))
        return made


def _az(fields: Fields) -> model.Az:
    return model.Az(fields["name"], fields["cpi"] or "", fields["cloud_properties"])


def _named(fields: Fields) -> model.NamedProperties:
    return model.NamedProperties(fields["name"], fields["cloud_properties"])


def _disk_type(fields: Fields) -> model.DiskType:
    size = fields["disk_size"]
    if size < 0:
        fields.error(
            "disk_size",
            f"Disk types '{fields['name']}' references an invalid persistent disk size '{size}'",
            200001,
            "Give the size in MiB.",
        )
    return model.DiskType(fields["name"], size, fields["cloud_properties"])


def _networks(joined: _Join, azs: set[str]) -> list[model.NetworkDefinition]:
    made: list[model.NetworkDefinition] = []
    seen: dict[str, str] = {}
    for fields in joined.fields:
        for item in fields.items("networks", "network_definition") if fields.good("networks") else ():
            network = read_network(item, azs)
            form = canonical(network.name)
            problem = canonical_problem(network.name)
            if problem:
                item.error("name", problem, 420001)
            if network.name and form in seen:
                item.error(
                    "name",
                    f"Invalid network name '{network.name}', canonical name already taken",
                    190007,
                    f"It equals '{seen[form]}' in DNS.",
                )
            seen[form] = network.name
            made.append(network)
    if joined.fields and not any(fields.has("networks") for fields in joined.fields):
        joined.fields[0].reader.error(
            (), "Required property 'networks' was not specified in object (cloud config)", MISSING_FIELD, "Define a network."
        )
    elif joined.fields and not made and all(fields.good("networks") for fields in joined.fields if fields.has("networks")):
        joined.fields[0].error("networks", "No networks specified", 190008, "Define at least one network.")
    return made


def _compilation(joined: _Join, names: _Names) -> model.Compilation | None:
    having = [fields for fields in joined.fields if fields.has("compilation")]
    if not having:
        if joined.fields:
            joined.fields[0].reader.error(
                (),
                "Required property 'compilation' was not specified in object (cloud config)",
                MISSING_FIELD,
                "Say where packages are compiled: workers, network, az, vm_type.",
            )
        return None
    for extra in having[1:]:
        extra.error(
            "compilation",
            "Cloud config 'compilation' key cannot be defined in multiple cloud configs.",
            MERGE_ERROR,
            f"It is also in {having[0].reader.document.where(('compilation',))}.",
        )
    fields = having[0].child("compilation", "compilation")
    if fields is None:
        return None
    extensions = fields.reader.strings(fields["vm_extensions"], fields.at("vm_extensions"))
    resources = read_vm_resources(fields)
    _check_compilation_network(fields, names)
    _check_compilation_size(fields, names, extensions)
    return model.Compilation(
        workers=fields["workers"],
        network=fields["network"],
        az=fields["az"] or "",
        vm_type=fields["vm_type"] or "",
        vm_resources=resources,
        vm_extensions=tuple(extensions),
        cloud_properties=fields["cloud_properties"],
        env=fields["env"],
        reuse_compilation_vms=bool(fields["reuse_compilation_vms"]),
        orphan_workers=fields["orphan_workers"],
    )


def read_vm_resources(fields: Fields) -> Mapping[str, int] | None:
    """The `vm_resources` below a section, or None."""
    resources = fields.child("vm_resources", "vm_resources")
    return {key: resources[key] for key in ("cpu", "ram", "ephemeral_disk_size")} if resources else None


def _check_compilation_network(fields: Fields, names: _Names) -> None:
    az, network_name = fields["az"] or "", fields["network"]
    if az and az not in names.azs:
        fields.reader.unknown(
            fields.at("az"),
            f"Compilation config references unknown az '{az}'. Known azs are: [{', '.join(names.azs)}]",
            120002,
            az,
            names.azs,
            "azs",
        )
        return
    network = names.networks.get(network_name)
    if network is None:
        if fields.good("network"):
            fields.reader.unknown(
                fields.at("network"),
                f"Compilation config references an unknown network '{network_name}'",
                120001,
                network_name,
                names.networks,
                "networks",
            )
    elif not azs_match(network, (az,) if az else None):
        fields.error(
            "network",
            f"Compilation config refers to az '{az}' but network '{network_name}' has no matching subnet(s).",
            150006,
            f"Its zones are: {', '.join(sorted(network_azs(network))) or 'none'}.",
        )


def _check_compilation_size(fields: Fields, names: _Names, extensions: Iterable[str]) -> None:
    if sum(bool(fields[key]) for key in ("vm_type", "vm_resources", "cloud_properties")) > 1:
        fields.reader.error(
            fields.path,
            "Compilation config specifies more than one of 'vm_type', 'vm_resources', or 'cloud_properties', only one is allowed.",
            120007,
            "Keep one of them.",
        )
    vm_type = fields["vm_type"]
    if vm_type and vm_type not in names.vm_types:
        known = ", ".join(sorted(names.vm_types))
        fields.reader.unknown(
            fields.at("vm_type"),
            f"Compilation config references unknown vm type '{vm_type}'. Known vm types are: {known}",
            120003,
            vm_type,
            names.vm_types,
            "vm types",
        )
    for index, name in enumerate(extensions):
        where = fields.at("vm_extensions", index)
        if not (vm_type or fields["vm_resources"]):
            fields.reader.error(
                where, f"Compilation config is using vm extension '{name}' and must configure a vm type or vm_resources block.", 120007
            )
        elif name not in names.vm_extensions:
            known = ", ".join(sorted(names.vm_extensions))
            fields.reader.unknown(
                where,
                f"Compilation config references unknown vm extension '{name}'. Known vm extensions are: {known}",
                120005,
                name,
                names.vm_extensions,
                "vm extensions",
            )


def network_azs(network: model.NetworkDefinition) -> set[str]:
    """All zones that the subnets of a network name."""
    return {az for subnet in network.subnets for az in subnet.azs}


def azs_match(network: model.NetworkDefinition, azs: Sequence[str] | None) -> bool:
    """Whether instances in these zones (None: none given) can be on the network. Source: manifest contract, section 8.4."""
    if network.type == "vip":
        return True
    known = network_azs(network)
    if azs is None:
        return not known
    return set(azs) <= known
