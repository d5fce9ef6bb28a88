"""vCenter's faults become errors of the contract, with its own words. Source: CPI contract, sections 4.2 and 10.4."""

from __future__ import annotations

import socket
import ssl
from http.client import BadStatusLine, HTTPException, IncompleteRead
from xml.parsers.expat import ExpatError

import pytest
from pyVmomi import vim, vmodl

from cpis.cloud.faults import LOST, MALFORMED, NOT_SENT
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, NotSupported, Quota, Throttled, Unavailable
from cpis.vsphere.errors import NOT_AUTHENTICATED, busy, explain

fault, plain = vim.fault, vmodl.fault


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (fault.NotAuthenticated(msg="The session is not authenticated."), Denied),
        (fault.InvalidLogin(msg="Cannot complete login due to an incorrect user name or password."), Denied),
        (fault.NoPermission(msg="Permission to perform this operation was denied.", privilegeId="VirtualMachine.Interact.PowerOn"), Denied),
        (fault.DuplicateName(name="vm-1"), Conflict),
        (fault.FileAlreadyExists(file="[ds] x.vmdk"), Conflict),
        (fault.InvalidPowerState(existingState="poweredOn"), Conflict),
        (fault.TaskInProgress(), Conflict),
        (fault.ConcurrentAccess(), Conflict),
        (fault.FileLocked(file="[ds] x.vmdk"), Conflict),
        (fault.ResourceInUse(name="ds"), Conflict),
        (plain.ManagedObjectNotFound(obj=vim.VirtualMachine("vm-12")), NotFound),
        (fault.FileNotFound(file="[ds] x.vmdk"), NotFound),
        (fault.NoDiskSpace(datastore="ds"), Quota),
        (fault.InsufficientMemoryResourcesFault(), NoCapacity),
        (fault.InsufficientCpuResourcesFault(), NoCapacity),
        (fault.RuleViolation(), NoCapacity),
        (fault.GenericDrsFault(), NoCapacity),
        (fault.HostConnectFault(), Unavailable),
        (plain.HostCommunication(), Unavailable),
        (fault.Timedout(), Unavailable),
        (plain.NotSupported(), NotSupported),
        (plain.MethodNotFound(method="ExtendVirtualDisk_Task"), NotSupported),
        (plain.InvalidArgument(invalidProperty="spec.pool"), Invalid),
        (fault.InvalidDatastorePath(datastorePath="x"), Invalid),
        (fault.InvalidDeviceSpec(deviceIndex=2), Invalid),
        (plain.SystemError(msg="A general system error occurred"), CpiError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__.rpartition(".")[2],
)
def test_faults(raised: Exception, kind: type[CpiError]) -> None:
    error = explain("SomeCall", raised)
    assert type(error) is kind
    assert error.code == type(raised).__name__.rpartition(".")[2]
    assert str(error).startswith("SomeCall: ")


def test_the_clouds_own_words_and_facts_stay() -> None:
    error = explain("PowerOnVM_Task", fault.NoPermission(msg="Permission was denied.", privilegeId="VirtualMachine.Interact.PowerOn"))
    assert str(error) == "PowerOnVM_Task: Permission was denied. (privilege VirtualMachine.Interact.PowerOn) [NoPermission]"
    assert "docs/clouds/vsphere.md" in error.suggestion
    assert explain("Clone", fault.DuplicateName(name="vm-1")).resource == "vm-1"


def test_messages_below_the_first_are_told() -> None:
    why = vmodl.LocalizableMessage(key="x", message="The host has 4 GiB left.")
    error = explain("PowerOnVM_Task", fault.InsufficientMemoryResourcesFault(msg="Not enough memory.", faultMessage=[why]))
    assert "Not enough memory.; The host has 4 GiB left." in str(error)


def test_names_of_types_are_no_words() -> None:
    assert str(explain("Task", fault.FileNotFound(msg="*types.FileNotFound", file="[ds] x"))) == "Task: FileNotFound (file [ds] x)"


@pytest.mark.parametrize(("name", "passes"), [
    ("TaskInProgress", True), ("ConcurrentAccess", True), ("FileLocked", True), ("ResourceInUse", True), ("HostConnectFault", True),
    ("InvalidPowerState", False), ("DuplicateName", False), ("NoPermission", False), ("InvalidDatastorePath", False)])
def test_what_passes_by_itself(name: str, passes: bool) -> None:
    """Section 10.4, "retryable faults"."""
    assert busy(explain("Task", getattr(fault, name)())) is passes


def test_host_communication_passes_too() -> None:
    assert busy(explain("Task", plain.HostCommunication()))


def test_only_an_ended_session_is_renewed() -> None:
    assert explain("x", fault.NotAuthenticated()).code == NOT_AUTHENTICATED
    assert explain("x", fault.InvalidLogin()).code != NOT_AUTHENTICATED
    assert explain("x", fault.NoPermission()).code != NOT_AUTHENTICATED


@pytest.mark.parametrize(
    ("raised", "kind", "code"),
    [
        (ConnectionRefusedError(111, "refused"), Unavailable, NOT_SENT),
        (socket.gaierror(-2, "Name or service not known"), Unavailable, NOT_SENT),
        (TimeoutError("timed out"), Unavailable, LOST),
        (ConnectionResetError(104, "reset"), Unavailable, LOST),
        (IncompleteRead(b"<x"), Unavailable, LOST),
        (BadStatusLine(""), Unavailable, LOST),
        (HTTPException("503 Service Unavailable"), Unavailable, "503"),
        (HTTPException("429 Too Many Requests"), Throttled, "429"),
        (HTTPException("403 Forbidden"), Denied, "403"),
        (ExpatError("mismatched tag: line 9"), Unavailable, MALFORMED),
        (KeyError("returnval"), Unavailable, MALFORMED),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Unavailable, LOST),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", type(value).__name__),
)
def test_below_the_faults(raised: Exception, kind: type[CpiError], code: str) -> None:
    error = explain("FindByUuid", raised)
    assert (type(error), error.code) == (kind, code)
    assert str(error).startswith("FindByUuid: ")


def test_a_certificate_that_does_not_verify() -> None:
    raised = ssl.SSLCertVerificationError(1, "certificate verify failed")
    raised.verify_message = "unable to get local issuer certificate"
    error = explain("Login", raised)
    assert type(error) is Denied
    assert "unable to get local issuer certificate" in str(error)
    assert "ca_cert" in error.suggestion
