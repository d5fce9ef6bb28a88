"""Clean-up, and what of the contract is to come. Source: director API contract, sections 6.6 and 6.10."""

from __future__ import annotations

from starlette.responses import Response

from director.api import disks, instances, stemcells
from director.api.calls import Call, answer, field, unsupported, words
from director.errors import NotFoundError
from director.execute import cleanup


def clean_up(call: Call) -> Response:
    config = field(call.json(), "config", dict, default={})
    everything = field(config, "remove_all", bool, default=False)
    arguments = {"remove_all": everything, "keep_orphaned_disks": field(config, "keep_orphaned_disks", bool, default=False)}
    return call.start("cleanup", arguments, "clean up all" if everything else "clean up")


def clean_up_preview(call: Call) -> Response:
    """What would go, and nothing is done."""
    found = cleanup.leftovers(call.services.store, remove_all=call.flag("remove_all"), keep_orphaned_disks=call.flag("keep_orphaned_disks"))
    releases: dict[str, list[str]] = {}
    for name, version in found.releases:
        releases.setdefault(name, []).append(version)
    return answer(
        {
            "releases": [{"name": name, "versions": versions} for name, versions in releases.items()],
            "stemcells": [stemcells.shown(row, []) for row in found.stemcells],
            "compiled_packages": [
                {"package_name": row.name, "stemcell_os": row.stemcell_os, "stemcell_version": row.stemcell_version}
                for row in found.compiled_packages
            ],
            "orphaned_disks": [disks.shown(row) for row in found.orphaned_disks],
            "orphaned_vms": [instances.shown_orphan(row) for row in found.orphaned_vms],
            "exported_releases": [row.id for row in found.exported_releases],
            "dns_blobs": [row.blob_id for row in found.dns_versions if row.blob_id],
        }
    )


def delete_vm(_call: Call) -> Response:
    return unsupported("delete-vm")


def scan(_call: Call) -> Response:
    return unsupported("cloud-check")


def resurrection(_call: Call) -> Response:
    return unsupported("switching resurrection")


def networks(call: Call) -> Response:
    """Orphaned managed networks: there are none, since this director makes no networks."""
    return answer([]) if call.flag("orphaned") else words("listing active networks is not implemented", 500)


def delete_network(call: Call) -> Response:
    raise NotFoundError(f"Network '{call.path['name']}' doesn't exist", code=16012)
