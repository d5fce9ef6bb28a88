"""vCenter's faults as errors of the contract. Source: CPI contract, sections 4.2 and 10.4."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vmodl

from cpis.cloud.faults import LOST, MALFORMED, NOT_SENT, by_status, unexplained
from cpis.cloud.text import first_line
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, NotSupported, Quota, Unavailable

BUSY = frozenset({
    "TaskInProgress", "VAppTaskInProgress", "ConcurrentAccess", "FileLocked", "ResourceInUse", "HostConnectFault", "HostCommunication",
})
"""Faults that pass by themselves."""

NOT_AUTHENTICATED = "NotAuthenticated"
"""The session is over; a new login helps."""

# By the name of the fault or of one it is a kind of, the most special first.
_KINDS: tuple[tuple[type[CpiError], frozenset[str], str], ...] = (
    (Denied, frozenset({"NotAuthenticated"}), "The session ended: log in again."),
    (Denied, frozenset({"InvalidLogin", "InvalidLocale"}), "Are `user` and `password` of the CPI config right?"),
    (Denied, frozenset({"NoPermission", "RestrictedVersion"}),
     "Give this user's role the privilege: docs/clouds/vsphere.md lists all that are needed, `caisson cloud check` those that lack."),
    (Conflict, frozenset({"DuplicateName", "AlreadyExists", "FileAlreadyExists"}), ""),
    (NotFound, frozenset({"ManagedObjectNotFound", "NotFound", "FileNotFound"}), ""),
    (Quota, frozenset({"NoDiskSpace", "NotEnoughLicenses", "InsufficientStorageSpace", "QuotaExceeded"}),
     "Make room on the datastore, or let more datastores match `datastore_pattern`."),
    (NoCapacity, frozenset({"InsufficientResourcesFault", "GenericDrsFault", "RuleViolation", "NoCompatibleHost", "NoActiveHostInCluster"}),
     "The cluster has no room for this machine now, or its rules forbid it: another cluster in the AZ would help."),
    (Unavailable, frozenset({"HostConnectFault", "HostCommunication", "HostNotConnected", "Timedout", "HostNotReachable"}),
     "A host does not answer vCenter: look at its state there."),
    (Conflict, BUSY, "Something else works on it: try again in a while."),
    (Conflict, frozenset({"InvalidPowerState", "InvalidState"}), ""),
    (NotSupported, frozenset({"NotSupported", "MethodNotFound", "NotImplemented", "MethodDisabled"}), ""),
    (Invalid, frozenset({"InvalidArgument", "InvalidProperty", "InvalidType", "InvalidRequest", "InvalidName", "InvalidDatastore",
                         "InvalidDatastorePath", "VmConfigFault", "InvalidFolder", "CannotCreateFile", "OvfFault", "DatacenterMismatch",
                         "MigrationFault"}), ""),
)
# What faults say beyond their message: attribute, and how it reads.
_FACTS: Mapping[str, str] = {
    "name": "name", "file": "file", "privilegeId": "privilege", "invalidProperty": "property", "datastore": "datastore",
    "existingState": "it is", "property": "property", "deviceIndex": "device", "method": "method", "obj": "object",
}


class NotSoap(HTTPException):
    """An answer that is a page for people."""


def explain(what: str, error: Exception) -> CpiError:
    """The error of the contract for whatever pyVmomi or the connection below raised during `what`."""
    if isinstance(error, CpiError):
        return error
    if isinstance(error, vmodl.MethodFault):
        return of_fault(what, error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Denied(
            f"{what}: the certificate of vCenter does not verify: {error.verify_message}", code="tls",
            suggestion="Give the CA that signed it (VMCA's root) as connection_options.ca_cert, and look at this computer's clock.")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(
            f"{what}: vCenter refuses the connection", code=NOT_SENT, suggestion="Are `host` and `port` of the CPI config right?")
    if isinstance(error, socket.gaierror):
        return Unavailable(
            f"{what}: vCenter's name does not resolve: {error.strerror}", code=NOT_SENT,
            suggestion="Is `host` of the CPI config right, and does this computer reach a resolver?")
    if isinstance(error, ExpatError):
        return Unavailable(f"{what}: the answer is not XML ({error})", code=MALFORMED, suggestion="Does a proxy answer in vCenter's place?")
    if isinstance(error, NotSoap):
        return Unavailable(
            f"{what}: this is no answer of vCenter's API: {error}", code=MALFORMED, suggestion="Does a proxy answer in vCenter's place?")
    if isinstance(error, HTTPException):
        status, _, reason = str(error).partition(" ")
        if status.isdigit():  # pyVmomi's own: "503 Service Unavailable"
            return by_status(what, int(status), reason)
        return Unavailable(f"{what}: the answer was cut off ({type(error).__name__})", code=LOST)
    return unexplained(what, error)


def of_fault(what: str, fault: Any) -> CpiError:
    """The error for a fault: raised by a method, or the end of a task."""
    names = [cls.__name__.rpartition(".")[2] for cls in type(fault).__mro__]
    code = names[0]
    words = _words(fault)
    facts = ", ".join(fact for fact, value in _facts(fault) if value not in words)
    text = f"{what}: {words or code}" + (f" ({facts})" if facts else "") + (f" [{code}]" if words else "")
    resource = next((value for fact, value in _facts(fault) if fact.startswith(("name ", "file ", "object "))), "")
    return _of_names(names, text, resource)


def of_page(what: str, status: int, body: str, headers: Mapping[str, str]) -> CpiError:
    """The error for a file request that was refused: by a fault in XML, or by its status alone."""
    kind = re.search(r"""<detail>.*?type=["'](?:\w+:)?(\w+)["']""", body, re.DOTALL)
    words = re.search(r"<faultstring>([^<]*)</faultstring>", body)
    if kind is None:
        return by_status(what, status, body, headers)
    return _of_names([kind[1]], f"{what}: {words[1] if words else ''} [{kind[1]}]", "")


def _of_names(names: Sequence[str], text: str, resource: str) -> CpiError:
    for kind, known, suggestion in _KINDS:
        if any(name in known for name in names):
            return kind(text, code=names[0], resource=resource, suggestion=suggestion)
    return CpiError(text, code=names[0], resource=resource)


def busy(error: CpiError) -> bool:
    """Whether the same call can succeed in a while."""
    return error.code in BUSY


def _words(fault: Any) -> str:
    """The cloud's own sentences. Go's simulator gives the name of a type there, which tells nobody anything."""
    sentences = [first_line(str(getattr(fault, "msg", "") or ""))]
    sentences += [first_line(str(part.message or "")) for part in getattr(fault, "faultMessage", None) or []]
    return "; ".join(dict.fromkeys(text for text in sentences if text and not text.startswith("*types.")))


def _facts(fault: Any) -> Iterator[tuple[str, str]]:
    for attribute, word in _FACTS.items():
        value = getattr(fault, attribute, None)
        text = "" if value is None else str(getattr(value, "_moId", value))
        if text:
            yield f"{word} {text}", text
