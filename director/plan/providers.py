"""Who provides which link, and what a link holds. Source: release contract, sections 19.1 and 19.4."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from director.diagnostics import Diagnostics, Where
from director.manifest.model import InstanceGroup
from director.plan.addressing import Addressing
from director.plan.bind import NotAHash, given_or_default, ordered
from director.plan.jobs import BoundJob, GroupJobs
from director.plan.model import InstanceSpec, Provider, Tree
from director.plan.waves import update_order
from director.release.model import LinkSpec

DISK = "disk"
NIL = "nil"


@dataclasses.dataclass(frozen=True)
class Intent:
    """Something that can be linked to. `name` is the alias by which explicit consumers find it; `deployment` is '' for our own."""

    group: str
    job: str
    original_name: str
    name: str
    type: str
    shared: bool = False
    consumable: bool = True
    networks: tuple[str, ...] = ()
    default_network: str = ""
    properties: Tree = dataclasses.field(default_factory=dict)
    aliases: tuple[Tree, ...] = ()
    deployment: str = ""
    content: Tree | None = None

    @property
    def link_group(self) -> str:
        return f"{self.name}-{self.type}"

    def text(self, deployment: str) -> str:
        """As error messages call it."""
        if self.type == DISK and not self.job:
            return f"Disk link provider '{self.original_name}' from instance group '{self.group}'"
        alias = f" with alias '{self.name}'" if self.name != self.original_name else ""
        return (f"Link provider '{self.original_name}'{alias} from job '{self.job}' in instance group '{self.group}' in deployment"
                f" '{self.deployment or deployment}'")


def intents_of(group: InstanceGroup, shared: GroupJobs, report: Diagnostics) -> list[Intent]:
    """All intents of a group: those of its jobs in order, custom ones after those of the spec, then its named disks."""
    intents: list[Intent] = []
    for job in shared.jobs:
        where = Where(line=group.line, path=f"instance_groups/{group.name}/jobs/{job.ref.name}")
        specs = [(item, _from_spec(job, item, report, where)) for item in job.spec.provides]
        specs += list(_custom(group, job, report, where))
        for spec, properties in specs:
            intent = _intent(group, job, spec, properties, report, where)
            if intent is not None:
                intents.append(intent)
    intents += [Intent(group.name, "", disk.name, disk.name, DISK, properties={"name": disk.name}) for disk in group.disks if disk.name]
    networks, default = tuple(network.name for network in group.networks), _default_network(group)
    return [dataclasses.replace(intent, networks=networks, default_network=default) for intent in intents]


def _default_network(group: InstanceGroup) -> str:
    """As `settings.default_network`, of a group that may have no instances."""
    for wanted in ("addressable", "gateway"):
        for network in group.networks:
            if wanted in network.default:
                return network.name
    return group.networks[0].name if group.networks else ""


def _intent(
    group: InstanceGroup, job: BoundJob, spec: LinkSpec, properties: Tree, report: Diagnostics, where: Where,
) -> Intent | None:
    base = Intent(group.name, job.ref.name, spec.name, spec.name, spec.type, properties=properties)
    if spec.name not in job.ref.provides:
        return base
    written = job.ref.provides[spec.name]
    place = f"in job '{job.ref.name}' in instance group '{group.name}'"
    if written == NIL:
        return dataclasses.replace(base, consumable=False)
    if not isinstance(written, Mapping):
        report.add(f"Provider '{spec.name}' {place} specified in the manifest should only be a hash or string 'nil'", where=where)
        return None
    if "name" in written or "type" in written:
        report.add(
            f"Cannot specify 'name' or 'type' properties in the manifest for link '{spec.name}' {place}. Please provide these keys in the"
            " release only.", where=where)
        return None
    aliases = written.get("aliases") or ()
    return dataclasses.replace(
        base, name=str(written.get("as") or spec.name), shared=written.get("shared") is True,
        aliases=tuple(item for item in aliases if isinstance(item, dict)))


def _from_spec(job: BoundJob, spec: LinkSpec, report: Diagnostics, where: Where) -> Tree:
    properties: Tree = {}
    for name in spec.properties:
        try:
            declared, value = given_or_default(job.spec, job.ref.properties, name)
        except NotAHash:
            continue  # told where the job's properties are bound
        if declared:
            _put(properties, name, value)
        else:
            report.add(f"Link property {name} in template {job.ref.name} is not defined in release spec", where=where)
    return properties


def _custom(group: InstanceGroup, job: BoundJob, report: Diagnostics, where: Where) -> Iterator[tuple[LinkSpec, Tree]]:
    declared = {item.name for item in job.spec.provides}
    seen: set[str] = set()
    place = f"in job '{job.ref.name}' in instance group '{group.name}'"
    for item in job.ref.custom_provider_definitions:
        name, kind = item.get("name"), item.get("type")
        broken = [label for label, value in (("Name", name), ("Type", kind)) if not isinstance(value, str) or not value]
        for label in broken:
            report.add(f"{label} for custom link provider definition in manifest {place} must be a valid non-empty string.", where=where)
        if broken:
            continue
        if name in declared:
            report.add(f"Custom provider '{name}' {place} is already defined in release '{job.ref.release}'", where=where)
        elif name in seen:
            report.add(f"Custom provider '{name}' {place} is defined multiple times in manifest.", where=where)
        else:
            seen.add(str(name))
            spec = LinkSpec(str(name), str(kind), tuple(item.get("properties") or ()))
            yield spec, _from_spec(job, spec, report, where)


def _put(tree: Tree, name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for part in parents:
        child = tree.get(part)
        if not isinstance(child, dict):
            child = tree[part] = {}
        tree = child
    tree[last] = ordered(value)


class Contents:
    """Builds link contents; what a group's instances look like is computed once per group and link name form."""

    def __init__(self, addressing: Addressing, specs: Mapping[str, Sequence[InstanceSpec]]) -> None:
        self._addressing = addressing
        self._ordered = {name: update_order(items) for name, items in specs.items()}
        self._instances: dict[tuple[str, str], list[Tree]] = {}

    def of(self, intent: Intent) -> Tree:
        """The whole content: addresses on all networks, for consumers here and elsewhere to choose from."""
        if intent.content is not None:
            return intent.content
        a = self._addressing
        return {
            "deployment_name": a.deployment, "variables_deployment": a.deployment, "domain": a.domain,
            "default_network": intent.default_network,
            "networks": list(intent.networks), "instance_group": intent.group, "group_name": intent.group,
            "group_id": a.group_id(intent.group, intent.link_group), "link_group_id": a.link_group_id(intent.link_group),
            "properties": intent.properties,
            "use_short_dns_addresses": a.use_short, "use_dns_addresses": a.use_dns, "use_link_dns_names": a.use_link_names,
            "instances": [] if intent.type == DISK and not intent.job else self._of_group(intent),
        }

    def provider(self, intent: Intent) -> Provider:
        return Provider(
            intent.group, intent.job, intent.name, intent.original_name, intent.type, intent.shared, self.of(intent), intent.aliases)

    def _of_group(self, intent: Intent) -> list[Tree]:
        key = (intent.group, intent.link_group if self._addressing.use_link_names else "")
        if key not in self._instances:
            self._instances[key] = [self._instance(spec, key[1]) for spec in self._ordered.get(intent.group, [])]
        return self._instances[key]

    def _instance(self, spec: InstanceSpec, link_group: str) -> Tree:
        dns = {item.network: self._addressing.instance_dns(spec.group, spec.id, item.network, link_group) for item in spec.networks}
        addresses = {item.network: dns[item.network] if item.type == "dynamic" else item.ip for item in spec.networks}
        return {
            "name": spec.group, "id": spec.id, "index": spec.index, "bootstrap": spec.bootstrap, "az": spec.az or None,
            "address": spec.address, "addresses": addresses, "dns_addresses": dns,
        }


def consumed(content: Tree, network: str, ip_addresses: bool | None, cache: dict[tuple[int, str, bool], Tree]) -> Tree:
    """The content as one consumer sees it: one network, one kind of address. `cache` lets equal consumers share one value."""
    chosen = network or str(content.get("default_network", ""))
    use_ips = ip_addresses if ip_addresses is not None else not content.get("use_dns_addresses", False)
    key = (id(content), chosen, use_ips)
    if key not in cache:
        source = "addresses" if use_ips else "dns_addresses"
        instances = [
            {**{name: value for name, value in item.items() if name not in ("addresses", "dns_addresses")},
             "address": item.get(source, {}).get(chosen, item.get("address", ""))}
            for item in content.get("instances") or ()]
        cache[key] = {**content, "default_network": chosen, "instances": instances}
    return cache[key]


def on_network(intents: Iterable[Intent], network: str) -> list[Intent]:
    return [intent for intent in intents if not network or network in intent.networks]
