"""Looking at machines: what they say, their logs, and people who log in. Nothing here waits for a deploy."""

from __future__ import annotations

import datetime
import json
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import CaissonError, HostKeyChanged, MachineError, NotFoundError, Unreachable
from director.execute import parallel
from director.execute.context import Context
from director.execute.observe import UNRESPONSIVE, state_of
from director.machine.agent import Agent, MachineState
from director.state.blobs import BlobRow
from director.state.instances import InstanceRow
from director.state.vms import VmRow

Tree = dict[str, Any]
Pair = tuple[InstanceRow, VmRow]


def chosen(ctx: Context, name: str, group: str = "", id_or_index: str = "", ids: Iterable[str] = ()) -> list[InstanceRow]:
    """Instances by group and id, index or `first`. Raises NotFoundError when there is none."""
    wanted = [item for item in (id_or_index, *ids) if item]
    if group and wanted and wanted != ["first"]:
        return [ctx.store.instances.at(name, group, item) for item in wanted]
    rows = [row for row in ctx.store.instances.of(name) if not group or row.group == group]
    if wanted and wanted != ["first"]:
        rows = [row for row in rows if row.id in wanted or str(row.index) in wanted]
    elif wanted:
        rows = sorted(rows, key=lambda row: row.id)[:1]
    if not rows:
        raise NotFoundError(
            f"No instance of deployment '{name}' matches '{'/'.join(filter(None, (group, *wanted))) or '*'}'", code=70001,
            suggestion=f"See which there are: caisson -d {name} instances.",
        )
    return rows


def with_machines(ctx: Context, rows: Iterable[InstanceRow]) -> list[Pair]:
    """Those of the instances that have a VM."""
    return [(row, vm) for row in rows if (vm := ctx.store.vms.active_of(row.id)) is not None]


def fetch_instances(ctx: Context, name: str, *, vms: bool = False) -> str:
    """What all instances say, as a JSON line each in the result output; with `vms` a line for each machine, those too that stand ready to
    take the place of others. Source: API contract, 6.2."""
    rows: list[tuple[InstanceRow, VmRow | None]] = []
    for row in ctx.store.instances.of(name):
        machines = sorted(ctx.store.vms.of_instance(row.id), key=lambda vm: not vm.active)
        if vms:
            rows += [(row, vm) for vm in machines if machines[0].active]
        else:
            rows.append((row, machines[0] if machines and machines[0].active else None))

    def ask(pair: tuple[InstanceRow, VmRow | None]) -> tuple[InstanceRow, VmRow | None, MachineState | MachineError | None]:
        row, vm = pair
        return row, vm, state_of(ctx, vm, full=True) if vm else None

    resolved = ctx.store.deployments.get(name).resolved or {}
    types = {group["name"]: group.get("vm_type") for group in resolved.get("instance_groups") or ()}
    for row, vm, state in parallel.each(rows, ask, ctx.threads, ctx.check):
        ctx.log.result(json.dumps({**_line(ctx, row, vm, state), "vm_type": types.get(row.group)}) + "\n")
    return ""


def _line(ctx: Context, row: InstanceRow, vm: VmRow | None, answer: MachineState | MachineError | None) -> Tree:
    state = answer if isinstance(answer, MachineState) else None
    silence = "host key changed" if isinstance(answer, HostKeyChanged) else f"{UNRESPONSIVE} agent"
    disks = [disk.cid for disk in ctx.store.disks.of_instance(row.id) if disk.active and (vm is None or vm.active)]
    applied: Mapping[str, Any] = row.applied
    processes = state.raw.get("processes", []) if state else []
    return {
        "vm_cid": vm.cid if vm else None, "vm_created_at": _time(vm.created_at) if vm else None,
        "active": vm.active if vm else None, "cloud_properties": {}, "disk_cid": disks[0] if disks else None, "disk_cids": disks,
        "ips": list(vm.ips) if vm else [item.ip for item in ctx.store.addresses.of_instance(row.id)],
        "dns": [network["dns_record_name"] for network in applied.get("networks", []) if network.get("dns_record_name")],
        "agent_id": vm.agent_id if vm else None, "job_name": row.group, "index": row.index,
        "job_state": state.job_state if state else silence if vm else None, "state": row.state,
        "resource_pool": None, "vitals": state.vitals if state else None, "processes": processes,
        "resurrection_paused": False, "az": row.az or None, "id": row.id, "bootstrap": row.bootstrap, "ignore": row.ignored,
        "stemcell": {"name": vm.stemcell_name, "version": vm.stemcell_version} if vm else None,
    }


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fetch_logs(ctx: Context, rows: list[InstanceRow], types: tuple[str, ...], filters: tuple[str, ...]) -> str:
    """One archive of the logs of all given instances; its blob id is the task's result."""
    pairs = with_machines(ctx, rows)
    if not pairs:
        raise NotFoundError("None of the instances has a VM", suggestion="Start them first: their logs are gone with their machines.")
    with tempfile.TemporaryDirectory(dir=ctx.blobs.root / "tmp") as folder:
        def fetch(pair: Pair) -> Path:
            row, vm = pair
            stage = ctx.log.stage(f"Fetching logs for {row.label}", 1)
            with stage.step("Finding and packing log files"):
                return _logs_of(ctx.agent(vm), Path(folder), row, types, filters)

        files = parallel.each(pairs, fetch, ctx.threads, ctx.check)
        packed = files[0] if len(files) == 1 else _together(ctx, Path(folder), files)
        blob = ctx.blobs.put(packed)
    ctx.store.blobs.add(BlobRow(blob.id, "logs", blob.sha256, blob.size, blob.sha1))
    return blob.id


def _logs_of(agent: Agent, folder: Path, row: InstanceRow, types: tuple[str, ...], filters: tuple[str, ...]) -> Path:
    bundle = agent.fetch_logs(types, filters)
    target = folder / f"{row.group}.{row.id}.tgz"
    agent.get_file(bundle.path, target, bundle.digest)
    agent.remove_file(bundle.path)
    return target


def _together(ctx: Context, folder: Path, files: list[Path]) -> Path:
    stage = ctx.log.stage("Fetching group of logs", 1)
    with stage.step("Packing log files together"):
        target = folder / "all.tgz"
        with tarfile.open(target, "w:gz", compresslevel=1) as archive:
            for file in files:
                archive.add(file, arcname=file.name)
        return target


def ssh(ctx: Context, rows: list[InstanceRow], command: str, *, user: str = "", public_key: str = "", user_regex: str = "") -> str:
    """Make or remove a login on instances; a JSON array in the result output says where each can be reached. Source: API contract, 6.5."""
    def act(pair: Pair) -> Tree:
        row, vm = pair
        try:
            agent = ctx.agent(vm)
            if command == "cleanup":
                agent.ssh_cleanup(user_regex)
                return {"command": "cleanup", "status": "success", "ip": vm.address, "id": row.id, "index": row.index, "job": row.group}
            access = agent.ssh_setup(user, public_key)
        except Unreachable as error:
            return {
                "command": command, "status": "failure", "ip": vm.address, "id": row.id, "index": row.index, "job": row.group,
                "error": error.message,
            }
        return {
            "command": "setup", "status": "success", "ip": vm.address, "host_public_key": access.host_public_key, "id": row.id,
            "index": row.index, "job": row.group, **({"port": vm.ssh_port} if vm.ssh_port != 22 else {}),
        }

    pairs = with_machines(ctx, rows)
    if not pairs:
        raise NotFoundError("None of the instances has a VM", suggestion="Start them first.")
    answers = parallel.each(pairs, act, ctx.threads, ctx.check)
    if all(answer["status"] == "failure" for answer in answers):
        raise CaissonError(*(Diagnostic(f"{item['job']}/{item['id']}: {item['error']}") for item in answers))
    ctx.log.result(json.dumps(answers))
    return ""
