"""DNS records: one document of all deployments, versioned, given to every machine. Source: DNS contract, sections 1 and 2.

A machine gets what changed since the version that it acknowledged, or the whole where that is not kept any more; with it the director's
word for the outcome and its keys (`dns_keys`). What it acknowledges is on its disk. Why: `docs/decisions/2026-11-27-records-in-deltas.md`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from director.errors import MachineError
from director.execute import parallel
from director.execute.context import Context
from director.execute.dns_keys import Keys
from director.machine.agent import Agent
from director.plan import dns_delta, dns_records, model
from director.plan.model import Tree
from director.state.blobs import BlobRow
from director.state.dns import DnsVersionRow
from director.state.instances import InstanceRow
from director.state.vms import VmRow

FORM = "with the director's word"  # another form of the document or of what goes with it makes a new version for all machines
LEAVING = "leaving"
USE_SECONDS = 2.0
ACKNOWLEDGE = 50


@dataclasses.dataclass(frozen=True)
class Late:
    """A machine that has not the newest records: why."""

    machine: str
    reason: str


def publish(ctx: Context) -> int:
    """Make a new version when anything differs from the last one, and give it to all machines that are behind; the newest version.

    Instances of this deployment whose update has begun get it there, before their jobs start; their machines may just be going. A
    machine that does not answer is told with the next publication, when it is next updated, or by the scheduled catching up: the deploy
    does not fail for it.
    """
    latest, late = _spread(ctx, updating=ctx.deployment)
    if latest is None:
        return 0
    if late:
        ctx.log.debug(f"version {latest.version} of the DNS records has not reached {', '.join(item.machine for item in late)}")
    return latest.version


def withdraw(ctx: Context, instance_ids: Iterable[str]) -> None:
    """Let nobody find these instances any more, and wait until the resolvers know; then they may be drained and removed.

    Waits at most as long as the director is told to; who has not answered by then is named in a warning. May be repeated.
    """
    leaving = [vm for item in instance_ids if (vm := ctx.store.vms.active_of(item)) is not None]
    if not leaving:
        return
    with ctx.store.transaction(durable=True):
        for vm in leaving:
            ctx.store.vms.update(vm.cid, notes={**vm.notes, LEAVING: True})
    latest, late = _spread(ctx, use_seconds=USE_SECONDS, without={vm.cid for vm in leaving})
    if latest is not None and late:
        names = "; ".join(f"{item.machine}: {item.reason}" for item in late[:10])
        more = f"; and {len(late) - 10} more" if len(late) > 10 else ""
        ctx.log.warning(
            f"{len(late)} machine(s) may still find what is about to be removed, since version {latest.version} of the DNS records has "
            f"not reached them: {names}{more}. Going on. See `caisson dns`.")


def take_back(ctx: Context, deployment: str) -> None:
    """Machines that were to leave and are still there count again, until it is decided anew."""
    for vm in ctx.store.vms.of(deployment):
        if vm.notes.get(LEAVING):
            ctx.store.vms.update(vm.cid, notes={key: value for key, value in vm.notes.items() if key != LEAVING})


def sync(ctx: Context, vm: VmRow, agent: Agent) -> None:
    """Give one machine the newest records, unless it has them."""
    latest = ctx.store.dns.latest()
    row = ctx.store.instances.find(vm.instance_id) if vm.instance_id is not None else None
    if latest is None or row is None or row.dns_version >= latest.version:
        return
    version, _ = Parcel(ctx, latest).give(agent, vm, row.dns_version)
    ctx.store.dns.acknowledge(row.id, version)


def catch_up(ctx: Context) -> str:
    """Give the newest records to machines that are behind; nothing new is published. The task's result."""
    latest = ctx.store.dns.latest()
    if latest is None:
        return "There are no DNS records"
    before = len(ctx.store.dns.behind(latest.version))
    late = distribute(ctx, latest)
    for item in late:
        ctx.log.debug(f"{item.machine}: {item.reason}")
    return f"Version {latest.version} of the DNS records: {before - len(late)} machine(s) caught up, {len(late)} behind"


def _spread(ctx: Context, **how: Any) -> tuple[DnsVersionRow | None, list[Late]]:
    """Renew and distribute; once more where machines turn out to have later versions than this director ever made."""
    latest = _renew(ctx)
    if latest is None:
        return None, []
    late = distribute(ctx, latest, **how)
    if ctx.store.dns.acknowledged() > latest.version:
        latest = _renew(ctx) or latest
        late = distribute(ctx, latest, **how)
    return latest, late


def distribute(
    ctx: Context, latest: DnsVersionRow, *, use_seconds: float = 0.0, without: Iterable[str] = (), updating: str = "",
) -> list[Late]:
    """Give a version to all machines that lack it, those that had the last one first. Who has not taken it when time is over.

    With `use_seconds` a machine has taken it only when its resolver uses it. Instances of the deployment `updating` that are not clean, and
    machines `without` by CID, are left out.
    """
    rows = {row.id: row for row in ctx.store.instances.all()}
    left_out = set(without)
    machines = [
        (rows[vm.instance_id], vm) for vm in ctx.store.vms.all()
        if vm.active and vm.instance_id in rows and vm.notes.get("ready") and vm.cid not in left_out]
    waiting = [(row, vm) for row, vm in machines if row.dns_version < latest.version and not (row.dirty and row.deployment == updating)]
    if not waiting:
        return []
    waiting.sort(key=lambda pair: -pair[0].dns_version)
    parcel, acknowledged = Parcel(ctx, latest), _Acknowledged(ctx)
    until = ctx.clock() + ctx.director.names_wait

    def give(pair: tuple[InstanceRow, VmRow]) -> Late | None:
        row, vm = pair
        machine = f"{row.name} of {row.deployment}"
        if ctx.clock() > until:
            return Late(machine, f"its turn did not come within {ctx.director.names_wait:g} s")
        try:
            version, in_use = parcel.give(ctx.agent(vm), vm, row.dns_version, use_seconds)
        except MachineError as error:
            return Late(machine, error.message)
        acknowledged.add(row.id, version)
        return Late(machine, "its resolver has not taken them into use") if in_use is False else None

    try:
        return [late for late in parallel.each(waiting, give, ctx.threads) if late is not None]
    finally:
        acknowledged.write()


class _Acknowledged:
    """Written down many at a time. What is lost when the director dies is only told to machines once more."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._waiting: list[tuple[str, int]] = []

    def add(self, instance_id: str, version: int) -> None:
        with self._lock:
            self._waiting.append((instance_id, version))
            full = len(self._waiting) >= ACKNOWLEDGE
        if full:
            self.write()

    def write(self) -> None:
        with self._lock:
            rows, self._waiting = self._waiting, []
        if rows:
            with self._ctx.store.transaction():
                for instance_id, version in rows:
                    self._ctx.store.dns.acknowledge(instance_id, version)


class Parcel:
    """One version as it is sent: the whole, and what differs from earlier ones, each found out once. Safe to use from many threads."""

    def __init__(self, ctx: Context, latest: DnsVersionRow) -> None:
        self._ctx = ctx
        self._row = latest
        self._lock = threading.Lock()
        self._keys = Keys(ctx.director.secret)
        self._text = ctx.blobs.read(latest.blob_id).decode()
        self._digest = hashlib.sha256(self._text.encode()).hexdigest()
        self._tree: Tree = json.loads(self._text)
        self._speakers = {agent: self._keys.speaker(agent) for agent in dns_delta.agents(self._tree)}
        self._deltas: dict[int, tuple[Tree, Mapping[str, bytes]] | None] = {}

    def give(self, agent: Agent, vm: VmRow, base: int, use_seconds: float = 0.0) -> tuple[int, bool | None]:
        """The version that the machine has now, and whether its resolver uses it (None: not asked, or it has none). Raises MachineError."""
        version, word = self._row.version, self._keys.word(vm.agent_id, self._row.version, self._digest)
        found = self._since(base)
        if found is not None:
            delta, come = found
            state = agent.sync_names(
                version, self._digest, word, self._keys.ring(vm.agent_id, come), base=base, delta=delta, use_seconds=use_seconds)
            if state.synced:
                return state.version, state.in_use
        whole = self._keys.ring(vm.agent_id, self._speakers)
        state = agent.sync_names(version, self._digest, word, whole, records=self._text, use_seconds=use_seconds)
        return state.version, state.in_use

    def _since(self, base: int) -> tuple[Tree, Mapping[str, bytes]] | None:
        """What changed since then, and the machines that came; None where that cannot be told."""
        if not base:
            return None
        with self._lock:
            if base not in self._deltas:
                self._deltas[base] = self._compare(base)
            return self._deltas[base]

    def _compare(self, base: int) -> tuple[Tree, Mapping[str, bytes]] | None:
        row = self._ctx.store.dns.find(base)
        if row is None or not row.blob_id or not self._ctx.blobs.exists(row.blob_id):
            return None
        old = json.loads(self._ctx.blobs.read(row.blob_id))
        delta = dns_delta.delta(old, self._tree)
        if delta is None:
            return None
        known = dns_delta.agents(old)
        return delta, {agent: key for agent, key in self._speakers.items() if agent not in known}


def _renew(ctx: Context) -> DnsVersionRow | None:
    """The newest version, made now when the records changed. Of those who wait for their turn meanwhile, one makes it for all: what one of
    them saw when he began, the others have done before."""
    publishing = ctx.director.publishing
    asked = publishing.begun
    with publishing.lock:
        if publishing.begun == asked:
            publishing.begun += 1
            _make(ctx)
        return ctx.store.dns.latest()


def _make(ctx: Context) -> None:
    ids = ctx.store.ids.all()
    entries, aliases = _entries(ctx), _aliases(ctx)
    content = json.dumps([FORM, dns_records.records(entries, ids, 0, aliases=aliases)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    latest, told = ctx.store.dns.latest(), ctx.store.dns.acknowledged()
    # Machines that have a later version than this director ever made take only one that is later still.
    if latest is not None and latest.content_digest == digest and told <= latest.version:
        return
    if latest is None and not entries:
        return
    row = ctx.store.dns.begin(digest, after=told)
    blob = ctx.blobs.put(json.dumps(dns_records.records(entries, ids, row.version, aliases=aliases)).encode())
    with ctx.store.transaction():
        ctx.store.blobs.add(BlobRow(blob.id, "dns", blob.sha256, blob.size, blob.sha1))
        ctx.store.dns.publish(row.version, blob.id, f"sha256:{blob.sha256}")


def _entries(ctx: Context) -> list[dns_records.DnsEntry]:
    """Every instance that has a VM and is not about to leave, on each network where its address is known."""
    entries = []
    machines = {vm.instance_id: vm for vm in ctx.store.vms.all() if vm.instance_id and vm.active and not vm.notes.get(LEAVING)}
    for row in ctx.store.instances.all():
        vm = machines.get(row.id)
        if vm is None:
            continue
        links = tuple(row.applied.get("link_groups", ()))
        entries += [
            dns_records.DnsEntry(
                id=row.id, index=row.index, group=row.group, az=row.az, network=network["name"], deployment=row.deployment,
                ip=network["ip"], agent_id=vm.agent_id, link_groups=links, domain=ctx.director.domain,
            )
            for network in vm.networks if network["ip"]
        ]
    return entries


def _aliases(ctx: Context) -> list[dns_records.DnsAlias]:
    """Of all deployments' link providers, as their last deploys left them."""
    found: list[dns_records.DnsAlias] = []
    for deployment in ctx.store.deployments.all():
        for row in ctx.store.links.of(deployment.name):
            aliases = tuple(row.content.get("aliases") or ())
            provider = model.Provider(row.group, row.job, row.name, row.original_name, row.type, row.shared, row.content, aliases)
            found += dns_records.aliases_of(deployment.name, [provider], ctx.director.domain)
    return found
