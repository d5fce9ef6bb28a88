"""DNS records: one document of all deployments, versioned, given to every machine. Source: DNS contract, sections 1 and 2."""

from __future__ import annotations

import hashlib
import json

from director.errors import MachineError
from director.execute import parallel
from director.execute.context import Context
from director.machine.agent import Agent
from director.plan import dns_records, model
from director.state.blobs import BlobRow
from director.state.vms import VmRow


def publish(ctx: Context) -> int:
    """Make a new version when anything differs from the last one, and give it to all machines that are behind; the newest version.

    A machine that does not answer is told with the next publication, or when it is next updated: the deploy does not fail for it.
    """
    with ctx.director.publishing:
        version = _renewed(ctx)
    behind = ctx.store.dns.behind(version) if version else []
    vms = [vm for instance_id in behind if (vm := ctx.store.vms.active_of(instance_id)) is not None and vm.notes.get("ready")]
    late = [cid for cid in parallel.each(vms, lambda vm: _give(ctx, vm), ctx.threads) if cid]
    if late:
        ctx.log.debug(f"version {version} of the DNS records has not reached {', '.join(late)}")
    return version


def sync(ctx: Context, vm: VmRow, agent: Agent) -> None:
    """Give one machine the newest records, unless it has them."""
    latest = ctx.store.dns.latest()
    if latest is None or vm.instance_id is None or ctx.store.instances.get(vm.instance_id).dns_version >= latest.version:
        return
    agent.sync_dns(ctx.blobs.read(latest.blob_id), latest.version)
    ctx.store.dns.acknowledge(vm.instance_id, latest.version)


def _give(ctx: Context, vm: VmRow) -> str:
    """'' or, when the machine could not be told, its cid."""
    try:
        sync(ctx, vm, ctx.agent(vm))
    except MachineError as error:
        ctx.log.debug(f"DNS records for {vm.cid}: {error.message}")
        return vm.cid
    return ""


def _renewed(ctx: Context) -> int:
    """The newest version, made now when the records changed."""
    ids = ctx.store.ids.all()
    entries, aliases = _entries(ctx), _aliases(ctx)
    content = json.dumps(dns_records.records(entries, ids, 0, aliases=aliases), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    latest = ctx.store.dns.latest()
    if latest is not None and latest.content_digest == digest:
        return latest.version
    if latest is None and not entries:
        return 0
    row = ctx.store.dns.begin(digest)
    blob = ctx.blobs.put(json.dumps(dns_records.records(entries, ids, row.version, aliases=aliases)).encode())
    with ctx.store.transaction():
        ctx.store.blobs.add(BlobRow(blob.id, "dns", blob.sha256, blob.size, blob.sha1))
        ctx.store.dns.publish(row.version, blob.id, f"sha256:{blob.sha256}")
    return row.version


def _entries(ctx: Context) -> list[dns_records.DnsEntry]:
    """Every instance that has a VM, on each network where its address is known."""
    entries = []
    machines = {vm.instance_id: vm for vm in ctx.store.vms.all() if vm.instance_id and vm.active}
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
