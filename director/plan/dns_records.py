"""The records document that resolvers read. Source: DNS contract, section 2."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from director.plan.model import Blueprint, InstanceSpec, NumericIds, Provider, Tree
from director.plan.names import canonical, group_key, link_key

RECORD_KEYS: Final = (
    "id", "num_id", "instance_group", "group_ids", "az", "az_id", "network", "network_id", "deployment", "ip", "domain", "agent_id",
    "instance_index")


@dataclasses.dataclass(frozen=True)
class DnsEntry:
    """An instance on one network. Names as written, canonical ones are made here. `link_groups` are `NAME-TYPE` of provided links."""

    id: str
    index: int
    group: str
    az: str
    network: str
    deployment: str
    ip: str
    agent_id: str = ""
    link_groups: tuple[str, ...] = ()
    domain: str = "bosh"


@dataclasses.dataclass(frozen=True)
class DnsAlias:
    """An alias of a link provider: `options` as the manifest has them, `domain` among them."""

    deployment: str
    link_group: str
    options: Mapping[str, Any]
    root_domain: str = "bosh"


def entries_of(spec: InstanceSpec, agent_id: str = "", ips: Mapping[str, str] | None = None) -> tuple[DnsEntry, ...]:
    """An entry for each network of the instance that has an address; `ips` has those that the cloud chose, by network."""
    entries = []
    for item in spec.networks:
        ip = (ips or {}).get(item.network) or item.ip
        if ip:
            entries.append(DnsEntry(
                spec.id, spec.index, spec.group, spec.az, item.network, spec.deployment, ip, agent_id, spec.link_groups, spec.dns_domain))
    return tuple(entries)


def aliases_of(deployment: str, providers: Iterable[Provider], domain: str = "bosh") -> tuple[DnsAlias, ...]:
    """The aliases of a deployment's link providers."""
    return tuple(
        DnsAlias(deployment, f"{item.name}-{item.type}", options, domain) for item in providers for options in item.aliases
        if options.get("domain"))


def blueprint_aliases(blueprint: Blueprint) -> tuple[DnsAlias, ...]:
    """The aliases the blueprint's providers want."""
    return aliases_of(blueprint.request.manifest.name, blueprint.providers, blueprint.request.domain)


def records(
    entries: Sequence[DnsEntry], ids: NumericIds, version: int, *, aliases: Iterable[DnsAlias] = (), include_index: bool = False,
) -> Tree:
    """The document for all deployments. Rows are sorted, so equal entries give equal documents.

    `ids` hold over all deployments (`names.group_key`, `names.link_key`); what has no number is null, a link group without one left out.
    """
    ordered = sorted(entries, key=lambda item: (item.deployment, item.group, item.index, item.id, item.network))
    names: list[list[str]] = []
    infos: list[list[Any]] = []
    for item in ordered:
        group, network, deployment = canonical(item.group), canonical(item.network), canonical(item.deployment)
        suffix = f"{group}.{network}.{deployment}.{item.domain}"
        names.append([item.ip, f"{item.id}.{suffix}"])
        if include_index:
            names.append([item.ip, f"{item.index}.{suffix}"])
        infos.append([
            item.id, _text(ids.instances.get(item.id)), group, _group_ids(item, ids), item.az or None, _text(ids.azs.get(item.az)),
            network, _text(ids.networks.get(item.network)), deployment, item.ip, item.domain, item.agent_id or None, item.index])
    return {
        "records": names, "version": version, "record_keys": list(RECORD_KEYS), "record_infos": infos, "aliases": _aliases(aliases, ids)}


def _group_ids(item: DnsEntry, ids: NumericIds) -> list[str]:
    keys = (group_key(item.deployment, item.group), *(link_key(item.deployment, name) for name in item.link_groups))
    return [str(ids.groups[key]) for key in keys if key in ids.groups]


def _aliases(aliases: Iterable[DnsAlias], ids: NumericIds) -> Tree:
    found: dict[str, list[Tree]] = {}
    for item in aliases:
        number = ids.groups.get(link_key(item.deployment, item.link_group))
        if number is None:
            continue
        target = {
            "root_domain": item.root_domain, "group_id": str(number), "health_filter": item.options.get("health_filter"),
            "initial_health_check": item.options.get("initial_health_check"), "placeholder_type": item.options.get("placeholder_type")}
        targets = found.setdefault(str(item.options["domain"]), [])
        if target not in targets:
            targets.append(target)
    return {name: found[name] for name in sorted(found)}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
