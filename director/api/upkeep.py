"""Clean-up, and what of the contract is to come. Source: director API contract, sections 6.6 and 6.10."""

from __future__ import annotations

from starlette.responses import Response

from director.api import disks, instances, stemcells
from director.api.calls import Call, answer, field, timestamp, unsupported, words
from director.diagnostics import did_you_mean
from director.errors import ConflictError, NotFoundError, UsageError
from director.execute import cleanup
from director.execute.networks import check_orphaned

CPI_NOT_FOUND = 550001
_LONGEST_CHECK_SECONDS = 3600


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


def check_cloud(call: Call) -> Response:
    """Ours: whether the cloud of a CPI is ready. `cpi` is its name; the director's own cloud without one. `timeout` is for all checks, in
    whole seconds. 404 for a name that is none."""
    body = call.json()
    name, timeout = field(body, "cpi", str, default=""), field(body, "timeout", int, default=None)
    if timeout is not None and not 1 <= timeout <= _LONGEST_CHECK_SECONDS:
        raise UsageError(f"'timeout' must be from 1 to {_LONGEST_CHECK_SECONDS} seconds, not {timeout}", code=40000)
    if name and name not in call.services.cpis():
        known = ", ".join(item for item in call.services.cpis() if item)
        raise NotFoundError(
            f"CPI '{name}' not found in cpi-config", code=CPI_NOT_FOUND,
            suggestion=did_you_mean(name, call.services.cpis()) or (f"There are: {known}." if known else "There is no CPI config."))
    arguments = {"cpi": name} if timeout is None else {"cpi": name, "timeout": timeout}
    return call.start("check_cloud", arguments, f"check cloud {name}".rstrip())


def cloud_orphans(call: Call) -> Response:
    """Ours: list what carries this director's mark in its clouds, or in that of `cpi`, and stands in no record."""
    name = field(call.json(), "cpi", str, default=None)
    return call.start("cloud_orphans", {} if name is None else {"cpi": name}, "list cloud orphans")


def remove_cloud_orphans(call: Call) -> Response:
    """Ours: delete those in `orphans` ([{cpi, kind, cid, token}]) that are orphans still."""
    chosen = field(call.json(), "orphans", list)
    if not all(isinstance(item, dict) and isinstance(item.get("cid"), str) and isinstance(item.get("kind"), str) for item in chosen):
        raise UsageError("'orphans' must be a list of {cpi, kind, cid}", code=40000)
    rows = [{key: item.get(key) or "" for key in ("cpi", "kind", "cid", "token")} for item in chosen]
    return call.start("cloud_orphans", {"remove": rows}, f"delete {len(rows)} cloud orphan(s)")


def delete_vm(_call: Call) -> Response:
    return unsupported("delete-vm")


def scan(_call: Call) -> Response:
    return unsupported("cloud-check")


def resurrection(_call: Call) -> Response:
    return unsupported("switching resurrection")


def networks(call: Call) -> Response:
    """Orphaned managed networks."""
    if not call.flag("orphaned"):
        return words("listing active networks is not implemented", 500)
    return answer([
        {"name": row.name, "type": row.type, "created_at": timestamp(row.created_at), "orphaned_at": timestamp(row.orphaned_at)}
        for row in call.services.store.networks.orphans()
    ])


def delete_network(call: Call) -> Response:
    """An orphaned network goes; one in use is refused at once."""
    name = call.path["name"]
    try:
        check_orphaned(call.services.store.networks.find(name), name)
    except (NotFoundError, ConflictError) as error:
        raise UsageError(*error.diagnostics) from error
    return call.start("delete_network", {"name": name}, "delete orphan networks")
