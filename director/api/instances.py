"""Instances and their machines. Reads come from the records at once. Source: director API contract, sections 6.2 and 6.3."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from director.api import deployments
from director.api.calls import Call, answer, field, timestamp, words
from director.errors import UsageError
from director.state.instances import InstanceRow
from director.state.vms import OrphanedVmRow, VmRow

STATES = ("started", "stopped", "detached", "restart", "recreate")
ACTIONS = {"start": "started", "stop": "stopped", "restart": "restart", "recreate": "recreate"}
BAD_STATE, BAD_VALUE, LIFECYCLE, IGNORED = 140008, 40005, 90000, 190020


def index(call: Call) -> Response:
    """Every instance; with `format=full` the task that asks the machines."""
    if call.query.get("format") == "full":
        return _ask(call, "instances")
    addresses = _addresses(call)
    active = {vm.instance_id: vm for vm in call.services.store.vms.of(call.deployment) if vm.active}
    rows = []
    for instance in call.services.store.instances.of(call.deployment):
        row = _row(instance, active.get(instance.id), addresses.get(instance.id, []))
        rows.append({**row, "expects_vm": instance.expects_vm})
    return answer(rows)


def vms(call: Call) -> Response:
    """Every machine of an instance."""
    if call.query.get("format") == "full":
        return _ask(call, "vms")
    addresses = _addresses(call)
    instances = {item.id: item for item in call.services.store.instances.of(call.deployment)}
    found = [vm for vm in call.services.store.vms.of(call.deployment) if vm.instance_id in instances]
    return answer(
        [
            {
                **_row(instances[vm.instance_id or ""], vm, addresses.get(vm.instance_id or "", [])),
                "active": vm.active,
                "permanent_nats_credentials": False,
            }
            for vm in found
        ]
    )


def show(call: Call) -> Response:
    instance = _instance(call)
    disks = [disk.cid for disk in call.services.store.disks.of_instance(instance.id)]
    return answer(
        {
            "deployment": instance.deployment,
            "job": instance.group,
            "index": instance.index,
            "id": instance.id,
            "state": instance.state,
            "disks": disks,
        }
    )


def change(call: Call) -> Response:
    """The converging form: `*`, a group or one instance. Some of the query counts for groups only."""
    state = call.query.get("state", "")
    if state not in STATES:
        raise UsageError(f"'{state}' is not a valid state: {', '.join(STATES)}", code=BAD_STATE)
    group = "" if call.path["group"] == "*" else call.path["group"]
    single = "instance" in call.path
    options: dict[str, Any] = {name: call.flag(name) for name in ("fix", "dry_run")}
    options["skip_drain"] = (group or "*") if call.query.get("skip_drain") in ("true", "*", group or "*") else ""
    if single:
        _instance(call)
    else:
        options.update(deployments.sizes(call))
        before = call.query.get("recreate_vms_created_before") or None
        if before is not None:
            deployments.check_time(before)
            if state != "recreate":
                raise UsageError("Must pass state=recreate when specifying recreate_vms_created_before", code=BAD_VALUE)
        options["recreate_vms_created_before"] = before
    arguments = {"group": group, "id_or_index": call.path.get("instance", ""), "state": state, "options": options, "manifest": call.text()}
    description = "create deployment" + (" (dry run)" if options["dry_run"] else "")
    return call.start("change_state", arguments, description, call.deployment)


def act(call: Call) -> Response:
    """The other form: this instance only, as it was last deployed."""
    action = call.path["action"]
    if action not in ACTIONS:
        return words(f"Endpoint '/deployments/{call.deployment}/instance_groups/.../actions/{action}' not found.", 404)
    instance = _instance(call)
    if instance.lifecycle == "errand":
        raise UsageError(f"Isolated {action} can not be run on instances of type errand. Try the bosh run-errand command.", code=LIFECYCLE)
    if instance.ignored:
        raise UsageError(
            f"You are trying to change the state of the ignored instance '{instance.name}'."
            "This operation is not allowed. You need to unignore it first.",
            code=IGNORED,
        )
    hard = action == "stop" and call.flag("hard")
    options = {
        "converge": False,
        "hard": hard,
        "skip_drain": instance.group if call.flag("skip_drain") else "",
        "fix": call.flag("ignore_unresponsive_agent"),
    }
    arguments = {"group": instance.group, "id_or_index": instance.id, "state": "detached" if hard else ACTIONS[action], "options": options}
    return call.start("change_state", arguments, f"{action} instance", call.deployment)


def ignore(call: Call) -> Response:
    """Leave an instance alone from now on, or no longer."""
    wanted = field(call.json(), "ignore", bool)
    call.services.store.instances.update(_instance(call).id, ignored=wanted)
    return Response(status_code=200)


def orphaned(call: Call) -> Response:
    """Machines without an instance that are still to be deleted."""
    return answer([shown_orphan(vm) for vm in call.services.store.vms.orphans()])


def shown_orphan(vm: OrphanedVmRow) -> dict[str, Any]:
    """An orphaned machine."""
    return {
        "az": vm.az,
        "cid": vm.cid,
        "deployment_name": vm.deployment,
        "instance_name": vm.instance_name,
        "ip_addresses": list(vm.ips),
        "orphaned_at": timestamp(vm.orphaned_at),
    }


def _instance(call: Call) -> InstanceRow:
    return call.services.store.instances.at(call.deployment, call.path["group"], call.path["instance"])


def _ask(call: Call, what: str) -> Response:
    return call.start("fetch_instances", {"format": "full", "what": what}, "retrieve vm-stats", call.deployment)


def _addresses(call: Call) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for address in call.services.store.addresses.of(call.deployment):
        if address.instance_id:
            found.setdefault(address.instance_id, []).append(address.ip)
    return found


def _row(instance: InstanceRow, vm: VmRow | None, addresses: list[str]) -> dict[str, Any]:
    ips = [*vm.ips] if vm else []
    return {
        "agent_id": vm.agent_id if vm else None,
        "cid": vm.cid if vm else None,
        "job": instance.group,
        "index": instance.index,
        "id": instance.id,
        "az": instance.az or None,
        "ips": ips or addresses,
        "vm_created_at": timestamp(vm.created_at) if vm else None,
    }
