"""What Azure answers when it refuses becomes the right error, with the cloud's own words."""

from __future__ import annotations

import json

import pytest
import requests
from libcloud.common.types import MalformedResponseError

from cpis.azure.errors import Explain, LoginFailed, answered, of_operation, with_more
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, NotSupported, Quota, Throttled, Unavailable

EXPLAIN = Explain(["s3cr3t~value"])
VM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1"
CORES = (
    "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota. Additional details - Deployment "
    "Model: Resource Manager, Location: westeurope, Current Limit: 10, Current Usage: 8, Additional Required: 4, (Minimum) New Limit "
    "Required: 12. Submit a request for Quota increase.")
# Status, code, message and the error; texts are the service's own, from its documents and from issue reports that quote it.
ROWS: list[tuple[int, str, str, type[CpiError], dict[str, str]]] = [
    (404, "ResourceNotFound", f"The Resource '{VM}' under resource group 'g' was not found.", NotFound, {}),
    (404, "ResourceGroupNotFound", "Resource group 'g' could not be found.", NotFound, {}),
    (404, "PlatformImageNotFound", "The platform image 'Debian:debian-12:12:1.0' is not available.", NotFound, {}),
    (404, "SubscriptionNotFound", "The subscription 's' could not be found.", Denied, {}),
    (401, "ExpiredAuthenticationToken", "The access token expiry UTC time '..' is earlier than current UTC time", Denied, {}),
    (403, "AuthorizationFailed", "The client 'c' does not have authorization to perform action 'Microsoft.Compute/x'", Denied, {}),
    (403, "RequestDisallowedByPolicy", "Resource 'vm-1' was disallowed by policy.", Denied, {}),
    (409, "ScopeLocked", "The scope cannot perform delete operation because following scope(s) are locked", Denied, {}),
    (409, "OperationNotAllowed", CORES, Quota, {"limit": "10", "used": "8"}),
    (409, "OperationNotAllowed", "The maximum number of data disks allowed to be attached to a VM of this size is 4.", Quota,
     {"limit": "4"}),
    (409, "QuotaExceeded", "Operation could not be completed as it results in exceeding approved Cores quota.", Quota, {}),
    (400, "PublicIPCountLimitReached", "Cannot create more than 10 public IP addresses for this subscription in this region.", Quota, {}),
    (400, "SubnetIsFull", "Subnet machines with address prefix 10.0.0.0/29 does not have enough capacity.", Quota, {}),
    (409, "OperationNotAllowed", f"Disk d is attached to VM {VM}.", Conflict, {"resource": VM}),
    (409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress.", Conflict, {}),
    (409, "PropertyChangeNotAllowed", "Changing property 'osProfile.customData' is not allowed.", Conflict, {}),
    (409, "SkuNotAvailable", "The requested VM size Standard_D2s_v5 is not available in location 'westeurope' zone '3'.", NoCapacity, {}),
    (409, "AllocationFailed", "Allocation failed. We do not have sufficient capacity for the requested VM size.", NoCapacity, {}),
    (409, "ZonalAllocationFailed", "Allocation failed. We do not have sufficient capacity in this zone.", NoCapacity, {}),
    (400, "PrivateIPAddressInUse", "IP configuration is using the private IP address 10.0.0.4 which is already allocated", Conflict, {}),
    (400, "PrivateIPAddressNotInSubnet", "Private static IP address 10.9.0.4 does not belong to the range of subnet prefix", Invalid, {}),
    (400, "InvalidParameter", "The value Standard_X provided for the VM size is not valid.", Invalid, {}),
    (400, "InvalidResourceReference", "Resource /subscriptions/s/.. referenced by resource was not found.", Invalid, {}),
    (400, "NicInUse", "Network Interface is used by existing resource", Conflict, {}),
    (400, "NicReservedForAnotherVm", "Nic(s) in request is reserved for another Virtual Machine for 180 seconds", Conflict, {}),
    (429, "OperationNotAllowedTooManyRequests", "The request is being throttled as the limit has been reached", Throttled, {}),
    (500, "InternalServerError", "Encountered internal server error.", Unavailable, {}),
    (503, "ServiceUnavailable", "The service is unavailable.", Unavailable, {}),
    (405, "MethodNotAllowed", "PATCH is not allowed.", NotSupported, {}),
    (412, "PreconditionFailed", "The condition was not met.", Conflict, {}),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "more"), ROWS, ids=lambda value: value if isinstance(value, str) else None)
def test_refusal_becomes_the_contracts_error(status: int, code: str, message: str, kind: type[CpiError], more: dict[str, str]) -> None:
    body = json.dumps({"error": {"code": code, "message": message}})
    error = EXPLAIN("machine vm-1", answered(status, body, {"x-ms-request-id": "req-1"}))
    assert type(error) is kind
    assert error.code == code
    assert error.request_id == "req-1"
    assert message[:60] in str(error)
    assert "machine vm-1" in str(error)
    for key, value in more.items():
        assert getattr(error, key) == value


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("0", 0.0), (None, None), ("nonsense", None)])
def test_retry_after_is_read(text: str | None, seconds: float | None) -> None:
    headers = {"retry-after": text} if text else {}
    assert EXPLAIN("x", answered(429, "", headers)).retry_after_seconds == seconds


def test_retry_after_may_be_a_date() -> None:
    error = EXPLAIN("x", answered(429, "", {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}))
    assert isinstance(error, Throttled)
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds > 3600


@pytest.mark.parametrize("status", [404, 502, 200])
def test_page_of_a_proxy_is_no_answer_of_azure(status: int) -> None:
    """Row 36; and a page that says 404 is no proof that the machine is gone (row 6)."""
    page = "<html><head><title>Bad Gateway of the office</title></head><body><h1>no</h1></body></html>"
    source: Exception = answered(status, page, {}) if status != 200 else MalformedResponseError("x", body=page)
    error = EXPLAIN("machine vm-1", source)
    assert isinstance(error, Unavailable)
    assert "Bad Gateway of the office" in str(error)
    assert "<html>" not in str(error)


def test_reason_is_taken_from_the_details() -> None:
    inner = {"code": "AllocationFailed", "message": "We do not have sufficient capacity."}
    error = of_operation("machine vm-1", {"code": "DeploymentFailed", "message": "At least one operation failed.", "details": [inner]})
    assert isinstance(error, NoCapacity)
    assert "sufficient capacity" in str(error)


@pytest.mark.parametrize(("code", "kind"), [
    ("OSProvisioningTimedOut", Unavailable), ("InternalExecutionError", Unavailable), ("NetworkingInternalOperationError", Unavailable),
    ("Canceled", Unavailable), ("OverconstrainedZonalAllocationRequest", NoCapacity), ("InvalidParameter", Invalid),
    ("OperationNotAllowed", Conflict), ("ResourceQuotaExceeded", Quota),
])
def test_operation_that_ends_badly(code: str, kind: type[CpiError]) -> None:
    assert type(of_operation("x", {"code": code, "message": "m"})) is kind


@pytest.mark.parametrize(("code", "hint"), [("AADSTS7000215", "client_secret"), ("AADSTS700024", "clock"), ("AADSTS90002", "tenant_id")])
def test_login_says_what_to_do(code: str, hint: str) -> None:
    error = EXPLAIN("token", LoginFailed(401, code, f"{code}: no"))
    assert isinstance(error, Denied)
    assert error.code == code
    assert hint in error.suggestion


@pytest.mark.parametrize(("status", "kind"), [(503, Unavailable), (429, Throttled), (400, Denied)])
def test_login_server_may_be_faulty(status: int, kind: type[CpiError]) -> None:
    assert type(EXPLAIN("token", LoginFailed(status, "", "no"))) is kind


def test_secrets_are_never_told() -> None:
    """Row 27: neither the client's secret nor the signature of an upload's URL."""
    url = "http://127.0.0.1:9/disk?sv=1&sig=abc%2Bdef&comp=page"
    error = EXPLAIN("upload", requests.ConnectionError(f"Max retries exceeded with url: {url} s3cr3t~value"))
    assert "abc%2Bdef" not in str(error) + repr(error) + error.message
    assert "s3cr3t~value" not in str(error) + repr(error) + error.message


def test_certificate_that_does_not_verify_is_permanent() -> None:
    error = EXPLAIN("x", requests.exceptions.SSLError("certificate verify failed: self-signed certificate"))
    assert isinstance(error, Denied)
    assert "ca_cert" in error.suggestion


def test_second_error_joins_the_first() -> None:
    first = Quota("no cores", limit="10", used="10", request_id="r", code="QuotaExceeded")
    error = with_more(first, "and the clean-up failed")
    assert isinstance(error, Quota)
    assert (error.limit, error.request_id, error.code) == ("10", "r", "QuotaExceeded")
    assert str(error) == "no cores; and the clean-up failed"
