"""Which consumer gets which link. Source: release contract, sections 19.2 to 19.5; manifest contract, section 10."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from director.diagnostics import Diagnostics, Where, did_you_mean
from director.manifest.model import InstanceGroup, Variable
from director.plan.addressing import Addressing, addressing_of
from director.plan.jobs import BoundJob, GroupJobs
from director.plan.model import InstanceSpec, JobPlan, Provider, Request, SharedProvider, Tree
from director.plan.names import encode_group_query, encode_short_query
from director.plan.providers import NIL, Contents, Intent, consumed, intents_of, on_network
from director.release.model import LinkSpec

_MANUAL_KEYS = ("instances", "properties", "address")
_ADDRESS = "address"


@dataclasses.dataclass(frozen=True)
class Linked:
    """By group name: the jobs with their links, and the `NAME-TYPE` of what the group provides."""

    jobs: Mapping[str, tuple[JobPlan, ...]]
    link_groups: Mapping[str, tuple[str, ...]]
    providers: tuple[Provider, ...]
    variable_links: Mapping[str, Tree]
    consumed: tuple[SharedProvider, ...]


@dataclasses.dataclass(frozen=True)
class Consumer:
    """One wish for a link. `kind` is implicit, explicit or blocked; `owner` ends its error messages."""

    name: str
    type: str
    owner: str
    optional: bool = False
    kind: str = "implicit"
    source: str = ""
    deployment: str = ""
    network: str = ""
    ip_addresses: bool | None = None


def link(request: Request, shared: Mapping[str, GroupJobs], specs: Mapping[str, Sequence[InstanceSpec]], report: Diagnostics) -> Linked:
    """Resolve all links of the deployment, those of variables included; adds everything that is wrong to `report`."""
    groups = {group.name: group for group in request.manifest.instance_groups}
    intents = {name: intents_of(group, shared[name], report) for name, group in groups.items()}
    resolver = _Resolver(request, [item for items in intents.values() for item in items], specs)
    jobs = {
        name: tuple(_linked_job(group, job, intents[name], resolver, report) for job in shared[name].jobs)
        for name, group in groups.items()}
    variables = {
        item.name: found for item in request.manifest.variables if item.consumes and (found := _variable_links(item, resolver, report))}
    resolver.tell(report)
    return Linked(
        jobs, {name: tuple(dict.fromkeys(item.link_group for item in items if item.job)) for name, items in intents.items()},
        resolver.providers(), variables, resolver.consumed())


def _linked_job(group: InstanceGroup, job: BoundJob, intents: Iterable[Intent], resolver: _Resolver, report: Diagnostics) -> JobPlan:
    links: Tree = {}
    problems: list[str] = []
    for spec in job.spec.consumes:
        content = _consume(group, job, spec, resolver, problems)
        if content is not None:
            links[spec.name] = content
    where = Where(line=group.line, path=f"instance_groups/{group.name}/jobs/{job.ref.name}/consumes")
    for problem in problems:
        report.add(problem, where=where)
    provides = sorted(
        ({"name": item.name, "type": item.type, "group": str(resolver.addressing.link_group_id(item.link_group))}
         for item in intents if item.job == job.ref.name), key=lambda item: item["group"])
    return dataclasses.replace(job.plan, links=links, provides=tuple(provides))


def _consume(group: InstanceGroup, job: BoundJob, spec: LinkSpec, resolver: _Resolver, problems: list[str]) -> Tree | None:
    place = f"in job '{job.ref.name}' in instance group '{group.name}'"
    consumer = Consumer(spec.name, spec.type, f"from job '{job.ref.name}' in instance group '{group.name}'", spec.optional)
    if spec.name not in job.ref.consumes:
        return resolver.resolve(consumer)
    written = job.ref.consumes[spec.name]
    if written == NIL:
        return resolver.resolve(dataclasses.replace(consumer, kind="blocked"))
    if not isinstance(written, Mapping):
        problems.append(f"Consumer '{spec.name}' {place} specified in the manifest should only be a hash or string 'nil'")
        return None
    found = _format_problems(spec.name, place, written)
    if found:
        problems.extend(found)
        return None
    if any(key in written for key in _MANUAL_KEYS):
        # Without instances the content has null there, and templates that look at them fail, as the reference's do.
        return {"instances": None, "properties": {}, **{key: written[key] for key in _MANUAL_KEYS if key in written}}
    deployment = str(written.get("deployment") or "")
    if resolver.is_unknown(deployment):
        source = written.get("from") or spec.name
        problems.append(
            f"Link '{source}' in job '{job.ref.name}' from instance group '{group.name}' consumes from deployment '{deployment}', but the"
            " deployment does not exist.")
        return None
    return resolver.resolve(_explicit(consumer, written))


def _format_problems(name: str, place: str, written: Mapping[str, Any]) -> list[str]:
    found = []
    if "instances" in written and "from" in written:
        found.append(f"Cannot specify both 'instances' and 'from' keys for link '{name}' {place}.")
    if "properties" in written and "from" in written:
        found.append(f"Cannot specify both 'properties' and 'from' keys for link '{name}' {place}.")
    if "properties" in written and "instances" not in written:
        found.append(f"Cannot specify 'properties' without 'instances' for link '{name}' {place}.")
    if not isinstance(written.get("ip_addresses", False), bool):
        found.append(f"Cannot specify non boolean values for 'ip_addresses' field for link '{name}' {place}.")
    if "name" in written or "type" in written:
        found.append(
            f"Cannot specify 'name' or 'type' properties in the manifest for link '{name}' {place}. Please provide these keys in the"
            " release only.")
    return found


def _explicit(consumer: Consumer, written: Mapping[str, Any]) -> Consumer:
    return dataclasses.replace(
        consumer, kind="explicit", source=str(written.get("from") or consumer.name).rpartition(".")[2],
        deployment=str(written.get("deployment") or ""), network=str(written.get("network") or ""),
        ip_addresses=written.get("ip_addresses"))


def _variable_links(variable: Variable, resolver: _Resolver, report: Diagnostics) -> Tree:
    """Per consumer name the content with `address`, and `wildcard` where it is wanted."""
    links: Tree = {}
    for name, written in variable.consumes.items():
        if not isinstance(written, Mapping):
            if written is not None and written != NIL:
                report.add(
                    f"Consumer '{name}' in variable '{variable.name}' specified in the manifest should only be a hash or string 'nil'")
            continue
        if any(key in written for key in ("instances", _ADDRESS)):
            links[name] = {"address": written.get(_ADDRESS), "wildcard": _wildcard(written)}
            continue
        kind = str(written.get("link_type") or _ADDRESS)
        content = resolver.resolve(_explicit(Consumer(name, kind, f"from variable '{variable.name}'"), written))
        if content is not None:
            links[name] = {**content, "address": resolver.group_address(content), "wildcard": _wildcard(written)}
    return links


def _wildcard(written: Mapping[str, Any]) -> bool:
    properties = written.get("properties")
    return isinstance(properties, Mapping) and properties.get("wildcard") is True


class _Resolver:
    """Finds the one provider of each consumer, and remembers what failed and what was used."""

    def __init__(self, request: Request, intents: Sequence[Intent], specs: Mapping[str, Sequence[InstanceSpec]]) -> None:
        self._deployment = request.manifest.name
        self._known = frozenset(request.deployments)
        self._intents = intents
        self._by_type: dict[str, list[Intent]] = {}
        for intent in intents:
            if intent.consumable:
                self._by_type.setdefault(intent.type, []).append(intent)
        self._shared: dict[tuple[str, str], list[Intent]] = {}
        self._foreign: list[tuple[Intent, SharedProvider]] = []
        for item in request.shared_providers:
            intent = Intent(
                item.group, item.job, item.original_name, item.name, item.type, True, networks=tuple(item.content.get("networks") or ()),
                deployment=item.deployment, content={"variables_deployment": item.deployment, **item.content})
            self._shared.setdefault((item.deployment, item.type), []).append(intent)
            self._foreign.append((intent, item))
        self.addressing: Addressing = addressing_of(request)
        self._contents = Contents(self.addressing, specs)
        self._whole: dict[int, Tree] = {}
        self._views: dict[tuple[int, str, bool], Tree] = {}
        self._used: set[int] = set()
        self._failures: list[str] = []
        self._hints: dict[str, None] = {}

    def is_unknown(self, deployment: str) -> bool:
        """Whether a deployment of that name is known not to exist."""
        return bool(deployment) and deployment != self._deployment and bool(self._known) and deployment not in self._known

    def resolve(self, consumer: Consumer) -> Tree | None:
        """The content for the consumer, or None: an optional link without provider, or an error that `tell` reports."""
        candidates = self._candidates(consumer)
        found = on_network(candidates, consumer.network)
        if len(found) == 1:
            content = self._content(found[0])
            networks = content.get("networks") or ()
            if consumer.network and consumer.network not in networks:
                self._fail(consumer, [f"Provider link does not have network: '{consumer.network}'"])
                return None
            return consumed(content, consumer.network, consumer.ip_addresses, self._views)
        if len(found) > 1:
            self._fail(consumer, [item.text(self._deployment) for item in found], " Multiple link providers found:")
        elif candidates:
            self._fail(consumer, [f"{item.text(self._deployment)} does not belong to network '{consumer.network}'" for item in candidates])
        elif not consumer.optional or consumer.kind == "explicit":
            self._fail(consumer, ["No link providers found"])
            self._hint(consumer)
        return None

    def providers(self) -> tuple[Provider, ...]:
        """What others may consume, what is consumed here, and what has DNS aliases."""
        return tuple(
            dataclasses.replace(self._contents.provider(item), content=self._content(item)) for item in self._intents
            if item.shared or item.aliases or id(item) in self._used)

    def consumed(self) -> tuple[SharedProvider, ...]:
        """What of other deployments something here is linked to."""
        return tuple(item for intent, item in self._foreign if id(intent) in self._used)

    def group_address(self, content: Tree) -> str:
        """The query name of the providing group."""
        if content.get("use_short_dns_addresses"):
            network = self.addressing.ids.networks.get(str(content["default_network"]), 0)
            return encode_short_query(int(content.get("group_id") or 0), network, str(content["domain"]))
        return encode_group_query(
            str(content["group_name"]), str(content["default_network"]), str(content["deployment_name"]), str(content["domain"]))

    def tell(self, report: Diagnostics) -> None:
        """One error for all links that did not resolve."""
        if self._failures:
            report.add(
                "\n".join((f"Failed to resolve links from deployment '{self._deployment}'. See errors below:", *self._failures)),
                suggestion=" ".join(self._hints))

    def _candidates(self, consumer: Consumer) -> list[Intent]:
        if consumer.kind == "blocked":
            return []
        if consumer.kind == "implicit":
            return self._by_type.get(consumer.type, [])
        if consumer.deployment and consumer.deployment != self._deployment:
            items = self._shared.get((consumer.deployment, consumer.type), [])
        else:
            items = self._by_type.get(consumer.type, [])
        return [item for item in items if item.name == consumer.source]

    def _content(self, intent: Intent) -> Tree:
        self._used.add(id(intent))
        if id(intent) not in self._whole:
            self._whole[id(intent)] = self._contents.of(intent)
        return self._whole[id(intent)]

    def _fail(self, consumer: Consumer, lines: Iterable[str], ending: str = " Details below:") -> None:
        alias = f" with alias '{consumer.source}'" if consumer.source and consumer.source != consumer.name else ""
        typed = f"{alias} and type" if alias else " with type"
        self._failures.append(f"  - Failed to resolve link '{consumer.name}'{typed} '{consumer.type}' {consumer.owner}.{ending}")
        self._failures.extend(f"    - {line}" for line in lines)

    def _hint(self, consumer: Consumer) -> None:
        if consumer.kind == "explicit" and not consumer.deployment:
            hint = did_you_mean(consumer.source, [item.name for item in self._by_type.get(consumer.type, [])])
            if hint:
                self._hints[hint] = None
