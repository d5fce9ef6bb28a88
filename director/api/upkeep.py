"""Clean-up, and what of the contract is to come. Source: director API contract, sections 6.6 and 6.10."""

from __future__ import annotations

from starlette.responses import Response

from director.api.calls import Call, answer, field, unsupported, words
from director.errors import NotFoundError


def clean_up(call: Call) -> Response:
    config = field(call.json(), "config", dict, default={})
    everything = field(config, "remove_all", bool, default=False)
    arguments = {"remove_all": everything, "keep_orphaned_disks": field(config, "keep_orphaned_disks", bool, default=False)}
    return call.start("cleanup", arguments, "clean up all" if everything else "clean up")


def clean_up_preview(_call: Call) -> Response:
    return unsupported("the preview of clean-up")


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
