"""Managed networks: made by the cloud before a deploy is planned, orphaned when nobody uses them, deleted a day later.

Source: manifest contract, 13.2; planning contract, sections 1, 16 and 21; CPI contract, `create_network`.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from cpis import contract
from director.diagnostics import Diagnostic, Diagnostics, Where
from director.errors import CaissonError, CloudError, ConflictError, NotFoundError, PlanError
from director.execute.context import Context
from director.manifest import late
from director.manifest.model import CloudConfig, Manifest, NetworkDefinition, Subnet
from director.state.networks import NetworkRow, SubnetRow
from director.variables import Lookup

Tree = dict[str, Any]

NOT_ORPHANED = 160011
KEPT_SECONDS = 86400
MADE_UP_RANGE = ipaddress.IPv4Network("198.18.0.0/15")


@dataclasses.dataclass(frozen=True)
class SubnetWish:
    """A subnet to make, as plain data. `wanted` keeps placeholders and is what is recorded and compared."""

    deployment: str
    network: str
    name: str
    cpi: str
    range: str
    gateway: str
    netmask_bits: int | None
    cloud_properties: Tree
    wanted: Tree


@dataclasses.dataclass(frozen=True)
class Settled:
    """The cloud config with what clouds made of managed networks, the names of those that the deployment uses, and warnings."""

    cloud: CloudConfig
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def settle(ctx: Context, manifest: Manifest, cloud: CloudConfig, lookup: Lookup, *, write: bool) -> Settled:
    """Make what is missing of the managed networks that the deployment uses; a preview makes ranges up where only the cloud knows them.

    Raises PlanError, CloudError.
    """
    used = {network.name for group in manifest.instance_groups for network in group.networks} | {cloud.compilation.network}
    managed = [network for network in cloud.networks if network.managed and network.name in used]
    if not managed:
        return Settled(cloud)
    report = Diagnostics()
    wishes = {network.name: _wishes(ctx, manifest.name, network, cloud, lookup, report) for network in managed}
    if report.errors:
        raise PlanError.of(report.errors)
    warnings: list[str] = []
    settled = {}
    for network in managed:
        if write:
            with ctx.lock(f"lock:networks:{network.name}", 10.0):
                rows = _made(ctx, network, wishes[network.name])
        else:
            rows = _thought_of(ctx, network, wishes[network.name], warnings)
        settled[network.name] = dataclasses.replace(network, subnets=tuple(_with(item, rows[item.name]) for item in network.subnets))
    networks = tuple(settled.get(network.name, network) for network in cloud.networks)
    return Settled(dataclasses.replace(cloud, networks=networks), tuple(settled), tuple(warnings))


def _wishes(
    ctx: Context, deployment: str, network: NetworkDefinition, cloud: CloudConfig, lookup: Lookup, report: Diagnostics,
) -> list[SubnetWish]:
    known = {row.name: row for row in ctx.store.networks.subnets(network.name)}
    cpis = {az.name: az.cpi for az in cloud.azs}
    wishes = []
    for subnet in network.subnets:
        where = Where(path=f"networks/{network.name}/subnets/{subnet.name}")
        chosen = sorted({cpis.get(az, "") for az in subnet.azs}) or [""]
        wanted = {
            "range": subnet.range, "gateway": subnet.gateway, "netmask_bits": subnet.netmask_bits,
            "cloud_properties": dict(subnet.cloud_properties)}
        if len(chosen) > 1:
            report.add(
                f"Subnet '{subnet.name}' of managed network '{network.name}' is in availability zones of several CPIs: {', '.join(chosen)}",
                where=where, suggestion="Write a subnet for each of them.")
        elif not subnet.range and subnet.netmask_bits is None:
            report.add(
                f"Subnet '{subnet.name}' of managed network '{network.name}' needs 'range' or 'netmask_bits'", where=where)
        elif subnet.name in known and known[subnet.name].wanted != wanted:
            report.add(
                f"Subnet '{subnet.name}' of managed network '{network.name}' is there already, made from other settings", where=where,
                detail=f"It has the range {known[subnet.name].range}. Clouds cannot change a network that they made.",
                suggestion="Give the subnet another name, or its old settings.")
        elif not isinstance(ctx.cpi(chosen[0]), contract.NetworkMaker):
            report.add(
                f"Network '{network.name}' is managed, but the cloud '{ctx.cpi(chosen[0]).name}' cannot make networks", where=where,
                suggestion="Make it by hand, leave 'managed' out, and write its range and gateway.")
        else:
            wishes.append(SubnetWish(
                deployment, network.name, subnet.name, chosen[0], subnet.range, subnet.gateway, subnet.netmask_bits,
                late.resolve(dict(subnet.cloud_properties), lookup), wanted))
    return wishes


def _made(ctx: Context, network: NetworkDefinition, wishes: Iterable[SubnetWish]) -> Mapping[str, SubnetRow]:
    known = {row.name for row in ctx.store.networks.subnets(network.name)}
    for wish in wishes:
        if wish.name not in known:
            with ctx.event("create", "network", f"{wish.network}/{wish.name}"):
                order_network(ctx, f"network-{ctx.new_id()}", wish)
        ctx.store.networks.use(wish.deployment, [wish.network])
    return {row.name: row for row in ctx.store.networks.subnets(network.name)}


def order_network(ctx: Context, token: str, wish: SubnetWish) -> None:
    """The journaled effect alone; the same token gives the same network."""
    cpi = _maker(ctx, wish.cpi)
    request = contract.NetworkRequest(token, wish.cloud_properties, wish.range, wish.gateway, wish.netmask_bits)

    def record(made: contract.MadeNetwork) -> None:
        added = {key: value for key, value in made.cloud_properties.items() if wish.cloud_properties.get(key) != value}
        ctx.store.networks.ensure(wish.network)
        ctx.store.networks.add_subnet(SubnetRow(
            wish.network, wish.name, made.cid, wish.cpi, wish.wanted, made.range, made.gateway, tuple(made.reserved), added))
        ctx.store.networks.use(wish.deployment, [wish.network])

    ctx.journal.perform(
        "create_network", token, wish.deployment, f"Creating network {wish.network}/{wish.name}", dataclasses.asdict(wish),
        lambda: cpi.create_network(request), record,
    )


def _maker(ctx: Context, name: str) -> contract.NetworkMaker:
    cpi = ctx.cpi(name)
    if not isinstance(cpi, contract.NetworkMaker):
        raise CloudError(f"The cloud '{cpi.name}' cannot make networks")
    return cpi


def _thought_of(
    ctx: Context, network: NetworkDefinition, wishes: Iterable[SubnetWish], warnings: list[str],
) -> Mapping[str, SubnetRow]:
    """As `_made` would answer, without making anything."""
    rows = {row.name: row for row in ctx.store.networks.subnets(network.name)}
    for number, wish in enumerate(wishes):
        if wish.name in rows:
            continue
        chosen = wish.range
        if not chosen:
            chosen = str(next(itertools.islice(MADE_UP_RANGE.subnets(new_prefix=wish.netmask_bits), number, None)))
            warnings.append(f"Network '{wish.network}' is not there yet: addresses on its subnet '{wish.name}' are made up in a preview.")
        gateway = wish.gateway or str(ipaddress.ip_network(chosen, strict=False)[1])
        rows[wish.name] = SubnetRow(wish.network, wish.name, "", wish.cpi, wish.wanted, chosen, gateway, (), {})
    return rows


def _with(subnet: Subnet, row: SubnetRow) -> Subnet:
    return dataclasses.replace(
        subnet, range=row.range, gateway=row.gateway, reserved=(*subnet.reserved, *row.reserved),
        cloud_properties={**subnet.cloud_properties, **row.cloud_properties})


def keep(ctx: Context, deployment: str, names: Iterable[str]) -> None:
    """The deployment uses only these managed networks now. What nobody uses is orphaned."""
    names = tuple(names)
    ctx.store.networks.use(deployment, names)
    ctx.store.networks.keep_only(deployment, names)
    orphan_unused(ctx)


def orphan_unused(ctx: Context) -> None:
    for name in ctx.store.networks.orphan_unused():
        with ctx.event("orphan", "network", name):
            ctx.log.debug(f"network '{name}' is used by no deployment any more")


def delete_orphaned(ctx: Context, rows: Iterable[NetworkRow]) -> int:
    """Delete orphaned networks; answers how many are gone. One that cannot be deleted now stays, with a warning."""
    rows = list(rows)
    stage = ctx.log.stage("Deleting orphaned networks", len(rows)) if rows else None
    gone = 0
    for row in rows:
        assert stage is not None
        try:
            with stage.step(row.name), ctx.lock(f"lock:networks:{row.name}", 10.0):
                gone += _delete(ctx, row.name)
        except CaissonError as error:
            ctx.log.warning(f"Orphaned network '{row.name}' cannot be deleted: {error.message}")
    return gone


def delete_network(ctx: Context, name: str) -> str:
    """One orphaned network. Raises NotFoundError (16012), ConflictError (160011). The task's result."""
    check_orphaned(ctx.store.networks.find(name), name)
    stage = ctx.log.stage("Deleting orphaned networks", 1)
    with stage.step(name), ctx.lock(f"lock:networks:{name}", 10.0):
        _delete(ctx, name)
    return f"orphaned network(s) {name} deleted"


def check_orphaned(row: NetworkRow | None, name: str) -> None:
    """Raises NotFoundError (16012), ConflictError (160011)."""
    if row is None:
        raise NotFoundError(Diagnostic(
            f"Network '{name}' doesn't exist", code=16012, suggestion="'caisson networks --orphaned' lists those that can be deleted."))
    if row.orphaned_at is None:
        raise ConflictError(Diagnostic(
            f"Network '{name}' is in use", code=NOT_ORPHANED,
            suggestion="Only orphaned networks can be deleted: deploy those that use it without it first."))


def _delete(ctx: Context, name: str) -> bool:
    row = ctx.store.networks.find(name)
    if row is None or row.orphaned_at is None:
        return False  # it was taken up again, or is gone, since it was listed
    with ctx.event("delete", "network", name):
        for subnet in ctx.store.networks.subnets(name):
            _delete_subnet(ctx, subnet)
        ctx.store.networks.delete(name)
    return True


def _delete_subnet(ctx: Context, subnet: SubnetRow) -> None:
    ctx.journal.perform(
        "delete_network", ctx.journal.token_of("delete_network", subnet.cid) or f"delete-{subnet.cid}-{ctx.new_id()}", "",
        f"Deleting network {subnet.network}/{subnet.name}", {"cid": subnet.cid, "cpi": subnet.cpi},
        lambda: _maker(ctx, subnet.cpi).delete_network(subnet.cid),
        lambda _: ctx.store.networks.delete_subnet(subnet.network, subnet.name),
    )
