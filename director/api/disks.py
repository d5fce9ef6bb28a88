"""Orphaned disks and snapshots. Source: director API contract, section 6.10; planning contract, section 21."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from director.api.calls import Call, answer, timestamp, unsupported
from director.errors import NotFoundError, UsageError
from director.state.disks import DiskRow

IN_USE, UNKNOWN = 520000, 100002


def index(call: Call) -> Response:
    return answer([shown(disk) for disk in call.services.store.disks.orphans()])


def shown(disk: DiskRow) -> dict[str, Any]:
    """An orphaned disk."""
    return {
        "disk_cid": disk.cid,
        "size": disk.size_mib,
        "az": disk.az or None,
        "deployment_name": disk.orphan_deployment,
        "instance_name": disk.orphan_instance,
        "cloud_properties": disk.cloud_properties,
        "orphaned_at": timestamp(disk.orphaned_at),
    }


def delete(call: Call) -> Response:
    """An orphaned disk goes; one in use is refused at once."""
    if call.flag("orphan"):
        return unsupported("orphan-disk")
    cid = call.path["cid"]
    disk = call.services.store.disks.find(cid)
    if disk is None:
        raise NotFoundError(
            f"Disk '{cid}' doesn't exist", code=UNKNOWN, suggestion="'caisson disks --orphaned' lists those that can be deleted."
        )
    if disk.orphaned_at is None:
        raise UsageError(
            f"Deleting persistent disk is not supported: [{cid}]", code=IN_USE, suggestion="Only orphaned disks can be deleted."
        )
    return call.start("delete_disk", {"cid": cid}, "delete orphan disks")


def attach(_call: Call) -> Response:
    return unsupported("attach-disk")


def snapshots(call: Call) -> Response:
    """Snapshots of a deployment's disks."""
    store = call.services.store
    instances = {item.id: item for item in store.instances.of(call.deployment)}
    disks = {disk.cid: disk for disk in store.disks.of(call.deployment)}
    rows = []
    for snapshot in store.disks.snapshots():
        disk = disks.get(snapshot.disk_cid)
        owner = instances.get(disk.instance_id or "") if disk else None
        if owner is not None:
            rows.append(
                {
                    "job": owner.group,
                    "index": owner.index,
                    "uuid": owner.id,
                    "snapshot_cid": snapshot.cid,
                    "created_at": timestamp(snapshot.created_at),
                    "clean": snapshot.clean,
                }
            )
    return answer(rows)


def change_snapshots(_call: Call) -> Response:
    return unsupported("snapshots")
