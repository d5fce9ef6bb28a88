"""Why an instance changes: the wanted spec against what was applied. Source: planning contract, section 7.

Secrets never reach a reason: `shown.py` says which values are told, and which by their path alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from director.plan.model import Change, InstanceSpec, NetworkSettings, ObservedInstance, PlacedInstance, Reason, Reservation, Tree
from director.plan.shown import difference, leaves

Digest = Callable[[Tree], str]
"""A digest, keyed by the caller, of a tree after its variables were filled in. Must give the same text for the same values."""

RECREATING: Final = frozenset({"recreate", "cloud_properties", "stemcell", "env", "network"})
_MINIMAL: Final = frozenset({"dns", "tags"})
_RUNNING: Final = frozenset({"running", "starting", "failing"})
VM_KEYS: Final = (
    "stemcell_name", "stemcell_version", "stemcell_os", "cpi", "cloud_properties", "vm_resources", "env", "networks", "resolved")


def normal(value: Any) -> Any:
    """The value as it comes back from JSON: lists for tuples, text keys."""
    if isinstance(value, Mapping):
        return {str(key): normal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [normal(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def is_minimal(reasons: Iterable[Reason]) -> bool:
    """Whether no process is touched: at most two changes, the first of which is dns or tags."""
    kinds = [reason.kind for reason in reasons]
    return 0 < len(kinds) <= len(_MINIMAL) and kinds[0] in _MINIMAL


def stemcell_reason(name: str, version: str, applied: Tree, line: int | None = None) -> Reason | None:
    before = f"{applied.get('stemcell_name')}/{applied.get('stemcell_version')}"
    after = f"{name}/{version}"
    if "stemcell_version" not in applied or before == after:
        return None
    return Reason("stemcell", "stemcell changes", before, after, line)


def cloud_properties_reason(
    wanted: Tree, resources: Mapping[str, int] | None, digest: str, applied: Tree, line: int | None = None,
) -> Reason | None:
    """`digest` is that of the resolved properties, '' when unknown."""
    if "cloud_properties" not in applied:
        return None
    old = {"": applied["cloud_properties"], "vm_resources": applied.get("vm_resources")}
    new = {"": wanted, "vm_resources": resources}
    if normal(old) != normal(new):
        found = difference(normal(old), normal(new), literals=True)
        return Reason("cloud_properties", "cloud properties of the machine change", found.before, found.after, line, paths=found.paths)
    return _rotated("cloud_properties", "a variable in the machine's cloud properties has a new value", digest, applied, wanted, line)


def env_reason(wanted: Tree, applied: Tree, line: int | None = None) -> Reason | None:
    """Env is compared as written, so a rotated variable in it is no change."""
    if "env" not in applied or normal(applied["env"]) == normal(wanted):
        return None
    found = difference(normal(applied["env"]), normal(wanted), literals=False)
    return Reason("env", "env changes", found.before, found.after, line, paths=found.paths)


def network_reason(
    settings: Iterable[NetworkSettings], reservations: Iterable[Reservation], digest: str, observed: ObservedInstance,
    line: int | None = None,
) -> Reason | None:
    """New or given up addresses, or other settings of the networks. The order and the names of networks do not count."""
    settings = tuple(settings)
    # A network of the cloud needs no address to be there: until it chose one, only the applied settings tell.
    known = (item["network"] for item in observed.applied.get("networks", ()) if item["type"] == "dynamic")
    old_addresses = _addresses((*observed.reservations, *(Reservation(name, "", "cloud") for name in known)))
    new_addresses = _addresses(reservations)
    if old_addresses != new_addresses:
        return Reason("network", "addresses change", ", ".join(sorted(old_addresses)), ", ".join(sorted(new_addresses)), line)
    if "networks" not in observed.applied:
        return None
    if Counter(_same(item) for item in observed.applied["networks"]) == Counter(_same(vars(item)) for item in settings):
        return _network_rotated(settings, digest, observed, line)
    renamed = {item.ip: item.network for item in settings if item.ip}
    old = {renamed.get(item["ip"], item["network"]): _view(item) for item in observed.applied["networks"]}
    new = {item.network: _view(_fields(item)) for item in settings}
    found = difference(
        {name: json.loads(view) for name, view in old.items()}, {name: json.loads(view) for name, view in new.items()}, literals=True)
    return Reason("network", "network settings change", found.before, found.after, line, paths=found.paths)


def _network_rotated(settings: Iterable[NetworkSettings], digest: str, observed: ObservedInstance, line: int | None) -> Reason | None:
    trees = {item.network: item.cloud_properties for item in settings}
    text = "a variable in a network's cloud properties has a new value"
    return _rotated("networks", text, digest, observed.applied, trees, line, "network")


def configuration_reason(spec: InstanceSpec, digest: str, applied: Tree, line: int | None = None) -> Reason | None:
    """`digest` is the configuration hash of the rendered templates, '' when nothing was rendered."""
    if not digest or applied.get("configuration_hash", "") == digest:
        return None
    wanted = {job.name: job.properties for job in spec.jobs}
    old = {job["name"]: job.get("properties", {}) for job in applied.get("jobs", ()) if job["name"] in wanted}
    new = {name: properties for name, properties in wanted.items() if name in old}
    found = difference(normal(old), normal(new), literals=False)
    text = "rendered templates differ"
    if not found.paths:
        text += ": no property changed, so links, addresses, variables or templates did"
    return Reason("configuration", text, found.before, found.after, line, paths=found.paths)


def packages_reason(spec: InstanceSpec, applied: Tree, line: int | None = None) -> Reason | None:
    old = {item["name"]: (item["version"], item["fingerprint"], item.get("dependency_key", "[]")) for item in applied.get("packages", ())}
    new = {item.name: (item.version, item.fingerprint, item.dependency_key) for item in spec.packages}
    if "packages" not in applied or old == new:
        return None
    return Reason("packages", "packages change", *_named(
        {name: value[0] for name, value in old.items()}, {name: value[0] for name, value in new.items()}, _differing(old, new)), line)


def job_reason(spec: InstanceSpec, applied: Tree, line: int | None = None) -> Reason | None:
    if "jobs" not in applied:
        return None
    if applied.get("group", spec.group) != spec.group:
        return Reason("job", "instance group is renamed", applied["group"], spec.group, line)
    old = {item["name"]: (item["version"], item["digest"]) for item in applied["jobs"]}
    new = {item.name: (item.version, item.digest) for item in spec.jobs}
    if old == new:
        return None
    return Reason("job", "jobs change", *_named(
        {name: value[0] for name, value in old.items()}, {name: value[0] for name, value in new.items()}, _differing(old, new)), line)


def disk_reason(spec: InstanceSpec, digest: str, observed: ObservedInstance, line: int | None = None) -> Reason | None:
    """Size, cloud properties or names of persistent disks. The name of a disk type does not count."""
    old = {disk.name: (disk.size_mib, normal(disk.cloud_properties)) for disk in observed.disks}
    new = {disk.name: (disk.size_mib, normal(disk.cloud_properties)) for disk in spec.disks}
    if old != new:
        before = ", ".join(_disk_text(name, size) for name, (size, _) in sorted(old.items())) or "none"
        after = ", ".join(_disk_text(name, size) for name, (size, _) in sorted(new.items())) or "none"
        if before != after:
            return Reason("persistent_disk", "persistent disk changes", before, after, line)
        found = difference(*({name: tree for name, (_, tree) in side.items()} for side in (old, new)), literals=True)
        text = "cloud properties of the persistent disk change"
        return Reason("persistent_disk", text, found.before, found.after, line, paths=found.paths)
    trees = {disk.name: disk.cloud_properties for disk in spec.disks}
    text = "a variable in the disk's cloud properties has a new value"
    return _rotated("disks", text, digest, observed.applied, trees, line, "persistent_disk")


def state_reason(wanted: str, observed: ObservedInstance) -> Reason | None:
    """What runs is not what should."""
    state = observed.vm.agent_state if observed.vm else ""
    if wanted == "detached":
        return Reason("state", "is to be detached", observed.state, wanted) if observed.vm is not None or observed.state != wanted else None
    if observed.vm is None:
        return Reason("state", "has no machine", observed.state, wanted)
    if state == "unresponsive":
        return Reason("state", "the agent does not respond", state, wanted)
    if wanted == "stopped":
        runs = state in _RUNNING and (observed.state != "stopped" or any(item == "running" for item in observed.vm.processes.values()))
        return Reason("state", "is to be stopped", state or observed.state, wanted) if runs or observed.state != "stopped" else None
    if state not in ("", "running") or observed.state != wanted:
        return Reason("state", "is to run", state or observed.state, wanted)
    return None


def dns_reason(spec: InstanceSpec, applied: Tree) -> Reason | None:
    if "id" not in applied or "networks" not in applied:
        return None
    old = _dns_view(applied, applied["networks"])
    new = _dns_view(vars(spec), [_fields(item) for item in spec.networks])
    return None if old == new else Reason("dns", "DNS records change", ", ".join(_only(old, new)), ", ".join(_only(new, old)))


def tags_reason(spec: InstanceSpec, applied: Tree, line: int | None = None) -> Reason | None:
    old, new = normal(applied.get("tags", {})), normal(spec.tags)
    if "tags" not in applied or old == new:
        return None
    found = difference(old, new, literals=True)
    return Reason("tags", "tags change", found.before, found.after, line, paths=found.paths)


def trusted_certs_reason(spec: InstanceSpec, applied: Tree) -> Reason | None:
    old = applied.get("trusted_certs_sha1", "")
    if not applied or not spec.trusted_certs_sha1 or old == spec.trusted_certs_sha1:
        return None
    return Reason("trusted_certs", "the director's trusted certificates change", old, spec.trusted_certs_sha1)


def resolved_digests(spec: InstanceSpec, digest: Digest | None) -> dict[str, str]:
    """Digests of what may hold rotated variables; empty without `digest`."""
    if digest is None:
        return {}
    return {
        "cloud_properties": digest(spec.cloud_properties),
        "networks": digest(_nameless(item.cloud_properties for item in spec.networks)),
        "disks": digest({disk.name: disk.cloud_properties for disk in spec.disks}),
    }


def record(change: Change) -> Tree:
    """What to store as `applied` after the change was made: the spec without its links, the configuration hash, digests of resolved values.

    What waits for later keeps its old value: the machine of a stopped instance, the certificates after a minimal update.
    """
    if change.spec is None:
        return {}
    if change.frozen:
        return dict(change.observed.applied) if change.observed else {}
    # What links hold grows with the instances behind them: stored on each consumer it would grow with the square. Comparing needs
    # only the configuration hash, and every operation resolves links anew.
    applied = dataclasses.replace(change.spec, jobs=tuple(dataclasses.replace(job, links={}) for job in change.spec.jobs)).to_dict()
    applied["configuration_hash"] = change.configuration_hash
    applied["resolved"] = dict(change.resolved)
    old = change.observed.applied if change.observed else {}
    if change.observed is not None and change.observed.vm is not None and not change.replaces_vm:
        if change.spec.state != "started":
            applied.update({key: old[key] for key in VM_KEYS if key in old})
        if change.action.value in ("metadata", "keep"):
            applied["trusted_certs_sha1"] = old.get("trusted_certs_sha1", "")
    return applied


def record_vm(change: Change) -> Tree:
    """What to store as `applied` as soon as the machine is made and before its jobs are installed: what belongs to the machine,
    and the link groups, by which it is found in DNS from the beginning."""
    whole = {} if change.spec is None else {**dataclasses.replace(change.spec, jobs=()).to_dict(), "resolved": dict(change.resolved)}
    return {key: whole[key] for key in (*VM_KEYS, "link_groups") if key in whole}


def vm_reasons(placed: PlacedInstance, digests: Mapping[str, str], line: int | None = None) -> Iterator[Reason]:
    """What replaces the machine, other than a request to do so."""
    spec, observed = placed.spec, placed.observed
    if observed is None or observed.vm is None:
        return
    found = (
        cloud_properties_reason(spec.cloud_properties, spec.vm_resources, digests.get("cloud_properties", ""), observed.applied, line),
        stemcell_reason(spec.stemcell_name, spec.stemcell_version, observed.applied, line),
        env_reason(spec.env, observed.applied, line),
        network_reason(spec.networks, placed.reservations, digests.get("networks", ""), observed, line),
    )
    yield from (reason for reason in found if reason is not None)


def makes_same_vm(spec: InstanceSpec, made: Tree, digests: Mapping[str, str] | None = None) -> bool:
    """Whether a machine of which `record_vm` said `made` is what one made for the spec would be; values of variables count with
    `digests`."""
    digests = digests or {}
    old, new = (Counter(map(_same, items)) for items in (made.get("networks", ()), map(vars, spec.networks)))
    return bool(made) and old == new and not any((
        stemcell_reason(spec.stemcell_name, spec.stemcell_version, made),
        cloud_properties_reason(spec.cloud_properties, spec.vm_resources, digests.get("cloud_properties", ""), made),
        env_reason(spec.env, made),
        _rotated("networks", "", digests.get("networks", ""), made, {}, None),
    ))


def orphans_vm(observed: ObservedInstance) -> bool:
    """Whether the machine of an instance that is deleted stays for the clean-up, with its addresses, instead of being deleted at once:
    under create-swap-delete, without static addresses, and if it answers. Source: planning contract, section 15."""
    silent = observed.vm is None or observed.vm.agent_state == "unresponsive"
    static = any(item.kind in ("static", "vip") for item in observed.reservations)
    return not silent and not static and (observed.applied.get("update") or {}).get("vm_strategy") == "create-swap-delete"


def _nameless(trees: Iterable[Tree]) -> Tree:
    """Numbered in an order of their own, since names and order of networks do not count."""
    return {str(position): tree for position, tree in enumerate(sorted(trees, key=lambda tree: json.dumps(normal(tree), sort_keys=True)))}


def _rotated(key: str, text: str, digest: str, applied: Tree, tree: Any, line: int | None, kind: str = "") -> Reason | None:
    old = (applied.get("resolved") or {}).get(key, "")
    if not digest or not old or digest == old:
        return None
    names = ", ".join(sorted({value for _, value in leaves(normal(tree)) if isinstance(value, str) and "((" in value}))
    return Reason(kind or key, text, names, names, line)


def _addresses(reservations: Iterable[Reservation]) -> frozenset[str]:
    return frozenset(f"{item.network} (from the cloud)" if item.kind == "cloud" else f"{item.ip} ({item.kind})" for item in reservations)


def _fields(item: NetworkSettings) -> Tree:
    return dict(vars(item))


def _same(item: Mapping[str, Any]) -> tuple[object, ...]:
    """What counts of a network's settings, to compare: much cheaper than `_view`, which is what can be shown of it."""
    properties = item["cloud_properties"]
    address = () if item["type"] == "dynamic" else (item["ip"], item["netmask"], item["gateway"], item["prefix_length"])
    return (
        item["type"], *address, tuple(item["dns"]), tuple(item["default"]), item["nic_group"],
        json.dumps(normal(properties), sort_keys=True) if properties else "")


def _view(item: Mapping[str, Any]) -> str:
    skipped = {"network", "dns_record_name", "kind"}
    if item["type"] == "dynamic":
        skipped |= {"ip", "netmask", "gateway", "prefix_length"}
    return json.dumps(normal({key: value for key, value in item.items() if key not in skipped}), sort_keys=True)


def _dns_view(source: Mapping[str, Any], networks: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    base = f"{source['id']}.{source['group']}"
    facts = set()
    for item in networks:
        name = f"{base}.{item['network']}.{source['deployment']}.{source['dns_domain']}"
        facts.add(name if item["type"] == "dynamic" else f"{name} {item['ip']}")
    facts.add(f"index {source['index']}")
    facts.add(f"az {source['az']}")
    facts.update(f"link {name}" for name in source.get("link_groups", ()))
    return frozenset(facts)


def _only(one: frozenset[str], other: frozenset[str]) -> list[str]:
    return sorted(one - other)


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _named(old: Mapping[str, str], new: Mapping[str, str], names: Iterable[str]) -> tuple[str, str]:
    names = list(names)
    before, after = (", ".join(f"{name}/{side[name]}" for name in names if name in side) for side in (old, new))
    return before, after


def _disk_text(name: str, size: int) -> str:
    return f"{name} {size} MiB".strip()
