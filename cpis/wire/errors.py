"""The wire's error classes and ours. Source: CPI contract, section 3.

A BOSH director knows ten; what the cloud said, its request, limit and used amount are in the message then. Between our own two ends the
error travels whole, as `caisson` beside the wire's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpis import contract
from cpis.contract import Conflict, CpiError, Invalid, NoCapacity, NotFound, NotSupported, Quota, Throttled, Unavailable

Tree = dict[str, Any]

_PREFIX = "Bosh::Clouds::"
_CAPACITY_IS_FINAL = frozenset({"azure"})
_DETAILS = ("code", "kind", "resource", "request_id", "limit", "used", "suggestion", "retry_after_seconds")
_OLD_WAYS = (("InvalidCall", "Method is not known, got"), (f"{_PREFIX}CloudError", "Invalid Method:"))
_MISSING = {"vm": "VMNotFound", "disk": "DiskNotFound", "network": "NetworkNotFound"}
_SUBJECTS = {
    "vm": {"delete_vm", "has_vm", "reboot_vm", "set_vm_metadata", "get_disks"},
    "disk": {"delete_disk", "has_disk", "resize_disk", "update_disk", "set_disk_metadata", "snapshot_disk"},
    "network": {"delete_network"},
}


class BadCall(Exception):
    """The request itself is wrong, and so is who sent it: `InvalidCall`."""


class NotImplementedHere(NotSupported):
    """A method that this CPI does not have at all."""


class DiskNotAttached(Conflict):
    """The disk is there, and not attached to that machine."""


def error_to(error: CpiError, method: str, cloud: str, *, whole: bool = False) -> Tree:
    """The `error` of an answer: type, message, ok_to_retry; with `whole` also all that we know of it."""
    kind, retry = _type(error, method, cloud)
    tree: Tree = {"type": f"{_PREFIX}{kind}", "message": _message(error), "ok_to_retry": retry}
    if whole:
        details = {name: value for name in _DETAILS if (value := getattr(error, name)) not in ("", None)}
        tree["caisson"] = {"class": _ours(error).__name__, "message": error.message, **details}
    return tree


def _ours(error: CpiError) -> type[CpiError]:
    """The nearest class that the contract has."""
    return next((kind for kind in type(error).__mro__ if issubclass(kind, CpiError) and kind.__module__ == contract.__name__), CpiError)


def _type(error: CpiError, method: str, cloud: str) -> tuple[str, bool]:
    if isinstance(error, NotSupported):
        return ("NotImplemented" if isinstance(error, NotImplementedHere) else "NotSupported"), False
    if isinstance(error, NotFound):
        subject = error.kind or next((kind for kind, methods in _SUBJECTS.items() if method in methods), "")
        return (_MISSING.get(subject, "CloudError") if method != "create_vm" else "VMCreationFailed"), False
    if method == "create_vm":
        again = isinstance(error, Throttled | Unavailable) or (isinstance(error, NoCapacity) and cloud not in _CAPACITY_IS_FINAL)
        return "VMCreationFailed", again
    if isinstance(error, Quota | NoCapacity) and method in ("create_disk", "resize_disk", "update_disk"):
        return "NoDiskSpace", isinstance(error, NoCapacity)
    return ("DiskNotAttached" if isinstance(error, DiskNotAttached) else "CloudError"), False


def _message(error: CpiError) -> str:
    facts = [
        f"{label} {value}" for label, value in (
            ("resource", error.resource), ("limit", error.limit), ("used", error.used), ("code", error.code), ("request", error.request_id),
        ) if value and str(value) not in error.message
    ]
    said = f"{error.message} ({', '.join(facts)})" if facts else error.message
    return f"{said}. {error.suggestion}" if error.suggestion else said


_CLASSES: Mapping[str, type[CpiError]] = {
    "CpiError": CpiError, "NotSupported": NotSupported, "NotImplemented": NotImplementedHere, "CloudError": CpiError,
    "VMNotFound": NotFound, "NetworkNotFound": NotFound, "DiskNotFound": NotFound, "DiskNotAttached": DiskNotAttached,
    "NoDiskSpace": Quota, "VMCreationFailed": CpiError,
}
_KINDS = {"VMNotFound": "vm", "DiskNotFound": "disk", "NetworkNotFound": "network", "DiskNotAttached": "disk"}


def error_from(tree: Mapping[str, Any], method: str, request_id: str) -> CpiError:
    """The error of an answer as ours. What may be tried again is NoCapacity: the machine or the disk was not to be had this time."""
    type_, message = str(tree.get("type")), str(tree.get("message"))
    whole = tree.get("caisson")
    if isinstance(whole, Mapping):
        return _whole(whole)
    name = type_.removeprefix(_PREFIX) if type_.startswith(_PREFIX) else ""
    if any(type_ == old and message.startswith(start) for old, start in _OLD_WAYS):
        name = "NotImplemented"
    if type_ == "InvalidCall" and name != "NotImplemented":
        return Invalid(message, code=type_, request_id=request_id)
    kind = _CLASSES.get(name)
    if kind is None:
        return CpiError(f"{message} ({type_}, a type unknown to the contract)", code=type_, request_id=request_id)
    if tree.get("ok_to_retry") is True and name in ("VMCreationFailed", "NoDiskSpace"):
        kind = NoCapacity
    return kind(message, code=type_, request_id=request_id, kind=_KINDS.get(name, ""))


def _whole(tree: Mapping[str, Any]) -> CpiError:
    kind = getattr(contract, str(tree.get("class")), CpiError)
    if not (isinstance(kind, type) and issubclass(kind, CpiError)):
        kind = CpiError
    return kind(str(tree.get("message")), **{name: tree[name] for name in _DETAILS if name in tree})
