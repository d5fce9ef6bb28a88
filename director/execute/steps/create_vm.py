"""A VM: created in the cloud, contacted, given its own host key, made ready. Source: planning contract, section 10."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from cpis import contract
from director.errors import MachineError, NotFoundError, Unreachable
from director.execute.clouds import translated
from director.execute.context import Context
from director.execute.steps.delete_vm import delete_vm
from director.machine import keys
from director.machine.agent import Agent
from director.plan import model, settings
from director.state.vms import VmRow

LOGIN_USER = "caisson"


@dataclasses.dataclass(frozen=True)
class VmWish:
    """A VM to make: plain data, all that is needed to make the same one again after a crash.

    `instance_id` is empty for a compilation VM. `cloud_properties`, `env` and the networks' properties have no placeholders any more.
    `applied` is what the instance's row says of its machine from the moment there is one. A `spare` machine stands beside the one that the
    instance has until it takes its place.
    """

    deployment: str
    instance_id: str
    label: str
    az: str
    cpi: str
    stemcell_name: str
    stemcell_version: str
    stemcell_cid: str
    agent_id: str
    cloud_properties: dict[str, Any]
    env: dict[str, Any]
    networks: tuple[dict[str, Any], ...]
    metadata: dict[str, str]
    disk_cids: tuple[str, ...] = ()
    applied: dict[str, Any] = dataclasses.field(default_factory=dict)
    spare: bool = False


def wish_of(
    ctx: Context, spec: model.InstanceSpec, resolved: Mapping[str, Any], *, applied: Mapping[str, Any] | None = None, compiling: str = "",
) -> VmWish:
    """The VM that an instance wants. `resolved` has `cloud_properties`, `env` and `networks` (name -> cloud properties), filled in."""
    found = (ctx.store.stemcells.find(spec.stemcell_name, spec.stemcell_version, name) for name in ctx.clouds.aliases(spec.cpi))
    stemcell = next((row for row in found if row is not None), None)
    if stemcell is None:
        where = f"cpi {spec.cpi}" if spec.cpi else "default cpi"
        raise NotFoundError(
            f"Required stemcell {spec.stemcell_name}/{spec.stemcell_version} not found for {where}, please upload again",
            suggestion="Upload it again with `caisson upload-stemcell --fix`.", code=50003,
        )
    filled = dataclasses.replace(spec, env=dict(resolved["env"]))
    created_at = datetime.datetime.fromtimestamp(ctx.clock(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = settings.vm_metadata(spec, ctx.director.name, created_at, creating=True)
    disks = [] if compiling else ctx.store.disks.of_instance(spec.id)
    return VmWish(
        deployment=spec.deployment, instance_id="" if compiling else spec.id, label=spec.label, az=spec.az, cpi=spec.cpi,
        stemcell_name=spec.stemcell_name, stemcell_version=spec.stemcell_version, stemcell_cid=stemcell.cid, agent_id=ctx.new_id(),
        cloud_properties=_with_resources(ctx, spec, dict(resolved["cloud_properties"])), env=settings.vm_env(filled, ctx.director.name),
        networks=tuple(_network(network, resolved["networks"][network.network]) for network in spec.networks),
        metadata={**metadata, "compiling": compiling} if compiling else metadata,
        disk_cids=tuple(disk.cid for disk in disks if disk.active), applied=dict(applied or {}),
    )


def create_vm(ctx: Context, wish: VmWish) -> VmRow:
    """Make the VM and answer its record; it is reachable and ready for jobs. On failure it is deleted again."""
    with ctx.event("create", "vm", wish.label, instance=wish.label.split(" ")[0]):
        return ready(ctx, order_vm(ctx, f"vm-{ctx.new_id()}", wish))


def order_vm(ctx: Context, token: str, wish: VmWish) -> VmRow:
    """The journaled effect alone: the machine exists and is recorded. The same token gives the same machine, with the same host key."""
    cpi = ctx.cpi(wish.cpi)
    host_key = keys.derive(ctx.director.secret, token)
    request = contract.VmRequest(
        token=token, agent_id=wish.agent_id, stemcell_cid=wish.stemcell_cid, cloud_properties=wish.cloud_properties,
        networks=tuple(
            contract.Network(**{**network, "dns": tuple(network["dns"]), "default": tuple(network["default"])}) for network in wish.networks
        ),
        login=contract.Login(LOGIN_USER, ctx.director.login.public_line, host_key.public_line, host_key.private_pem),
        disk_cids=wish.disk_cids, env=wish.env, metadata=wish.metadata,
    )

    def record(made: contract.Vm) -> None:
        ctx.store.vms.add(VmRow(
            cid=made.cid, token=token, deployment=wish.deployment, agent_id=wish.agent_id, instance_id=wish.instance_id or None,
            cpi=wish.cpi, active=not wish.spare, az=wish.az, stemcell_name=wish.stemcell_name, stemcell_version=wish.stemcell_version,
            address=made.ssh_address, ssh_port=made.ssh_port, ssh_user=made.ssh_user or LOGIN_USER,
            host_public_key=host_key.public_line if made.host_key_known else "",
            networks=[dataclasses.asdict(network) for network in made.networks], notes=_notes(wish, made),
        ))
        if wish.instance_id and not wish.spare:
            # Together with the machine: a director that dies now must not believe that the new machine is the old one.
            ctx.store.instances.update(wish.instance_id, applied=wish.applied, dirty=True)
            ctx.store.dns.forget_acknowledgement(wish.instance_id)

    made = ctx.journal.perform(
        "create_vm", token, wish.deployment, f"Creating VM for {wish.label}", dataclasses.asdict(wish),
        lambda: cpi.create_vm(request), record,
    )
    return ctx.store.vms.get(made.cid)


def ready(ctx: Context, vm: VmRow) -> VmRow:
    """First contact. A VM that never answers is deleted, since nothing of value can be on it."""
    try:
        prepare_machine(ctx, vm, ctx.agent(vm))
    except Unreachable as error:
        delete_vm(ctx, vm)
        raise Unreachable(
            f"Timed out pinging VM '{vm.cid}' with agent '{vm.agent_id}'", *error.diagnostics, code=450002,
            suggestion="Does its image start sshd, and does the network let the director in on port 22?",
        ) from error
    except MachineError:
        delete_vm(ctx, vm)
        raise
    return ctx.store.vms.get(vm.cid)


def prepare_machine(ctx: Context, vm: VmRow, agent: Agent) -> None:
    """Bootstrap, then replace the host key that came with the user data. Repeatable from any point."""
    agent.bootstrap(settings_of(ctx, vm))
    vm = ctx.store.vms.get(vm.cid)
    if vm.notes.get("ready"):
        return
    public_key = agent.prepare_host_key()
    ctx.store.vms.update(vm.cid, pending_host_public_key=public_key)
    agent.activate_host_key(public_key)
    ctx.store.vms.update(vm.cid, host_public_key=public_key, pending_host_public_key="", notes={**vm.notes, "ready": True})


def settings_of(ctx: Context, vm: VmRow) -> dict[str, Any]:
    """The agent's settings. Source: agent contract, section 3.1."""
    networks = {}
    for network in vm.networks:
        entry = {key: network[key] for key in ("type", "ip", "gateway")}
        entry["default"] = list(network["default"])
        entry["netmask"] = settings.netmask(network["ip"], int(network["prefix_length"]))
        entry["dns"] = list(network["dns"]) or list(ctx.director.recursors)
        networks[network["name"]] = entry
    ephemeral = vm.notes.get("ephemeral_disk")
    disks = {"ephemeral": ephemeral} if ephemeral else {}
    return {"agent_id": vm.agent_id, "vm": {"name": vm.cid}, "networks": networks, "env": {}, "disks": disks}


def _notes(wish: VmWish, made: contract.Vm) -> dict[str, Any]:
    notes: dict[str, Any] = {"made": wish.applied} if wish.spare else {}
    if not made.host_key_known:
        notes["unknown_host_key"] = True
    return {**notes, "ephemeral_disk": dataclasses.asdict(made.ephemeral_disk)} if made.ephemeral_disk else notes


def _network(network: model.NetworkSettings, cloud_properties: Mapping[str, Any]) -> dict[str, Any]:
    dynamic = network.type == "dynamic"  # what the cloud chose for the last machine says nothing of the next one
    return {
        "name": network.network, "type": network.type, "ip": "" if dynamic else network.ip, "prefix_length": network.prefix_length,
        "gateway": "" if dynamic else network.gateway,
        "dns": list(network.dns), "default": list(network.default), "cloud_properties": dict(cloud_properties),
        "nic_group": network.nic_group,
    }


def _with_resources(ctx: Context, spec: model.InstanceSpec, properties: dict[str, Any]) -> dict[str, Any]:
    if spec.vm_resources is None:
        return properties
    wanted = contract.VmResources(
        int(spec.vm_resources["cpu"]), int(spec.vm_resources["ram"]), int(spec.vm_resources["ephemeral_disk_size"]),
    )
    with translated(f"Choosing a machine for {spec.label}"):
        return {**properties, **ctx.cpi(spec.cpi).calculate_vm_cloud_properties(wanted)}
