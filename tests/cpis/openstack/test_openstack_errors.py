"""What the services answer when they refuse becomes the right error, with the cloud's own words."""

from __future__ import annotations

import email.utils
import json

import pytest
import requests

from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, Quota, Throttled, Unavailable
from cpis.openstack.errors import Explain, ServiceError, busy, of_fault

# Bodies as the services of the stand-in sent them (Nova 34, Neutron 29, Cinder 29, Glance 33, Keystone 30), but for those marked.
ROWS: list[tuple[int, object, type[CpiError], dict[str, str]]] = [
    (404, {"itemNotFound": {"code": 404, "message": "Instance vm-1 could not be found."}}, NotFound, {"code": "itemNotFound"}),
    (404, {"message": "No image found with ID disk-1<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"}, NotFound,
     {"message": "x: No image found with ID disk-1"}),
    (404, {"NeutronError": {"type": "PortNotFound", "message": "Port p could not be found.", "detail": ""}}, NotFound,
     {"code": "PortNotFound"}),
    (409, {"NeutronError": {"type": "IpAddressAlreadyAllocated", "message": "IP address 10.0.0.5 already allocated in subnet s",
                            "detail": ""}}, Conflict, {"code": "IpAddressAlreadyAllocated"}),
    (400, {"NeutronError": {"type": "InvalidIpForNetwork", "message": "IP address 9.9.9.9 is not a valid IP for any of the subnets on "
                            "the specified network.", "detail": ""}}, Invalid, {"code": "InvalidIpForNetwork"}),
    (409, {"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}, Quota, {}),
    (403, {"forbidden": {"code": 403, "message": "Quota exceeded for cores, instances: Requested 1, 1, but already used 4, 2 of 4, 2 "
                         "cores, instances"}}, Quota, {"used": "cores 4, instances 2", "limit": "cores 4, instances 2"}),
    (413, {"overLimit": {"code": 413, "message": "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota "
                         "'volumes'.", "retryAfter": "0"}}, Quota, {"limit": "10"}),
    (413, {"overLimit": {"code": 413, "message": "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes "
                         "quota. Requested 10G, quota is 20G and 15G has been consumed."}}, Quota, {}),
    (413, {"overLimit": {"code": 413, "message": "This request was rate-limited.", "retryAfter": "7"}}, Throttled, {}),
    (429, "Too Many Requests", Throttled, {}),
    (401, {"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}, Denied,
     {"code": "401"}),
    (403, {"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:create to be performed."}}, Denied, {}),
    (403, {"NeutronError": {"type": "PolicyNotAuthorized", "message": "rule:delete_port is disallowed by policy", "detail": ""}}, Denied,
     {}),
    (409, {"conflictingRequest": {"code": 409, "message": "Cannot 'reboot' instance s while it is in task_state deleting"}}, Conflict, {}),
    (400, {"badRequest": {"code": 400, "message": "Invalid key_name provided."}}, Invalid, {"message": "x: Invalid key_name provided."}),
    (400, {"badRequest": {"code": 400, "message": "The requested availability zone is not available"}}, Invalid, {}),
    (400, {"badRequest": {"code": 400, "message": "Can not find requested image"}}, NotFound, {}),
    (406, {"computeFault": {"code": 406, "message": "Version 2.67 is not supported by the API."}}, Invalid, {}),
    (500, {"computeFault": {"code": 500, "message": "Unexpected API Error."}}, Unavailable, {"code": "computeFault"}),
    (503, "<html><head><title>503 Service Unavailable</title></head><body>No server</body></html>", Unavailable,
     {"message": "x: 503 Service Unavailable"}),
    (502, "", Unavailable, {"message": "x: HTTP status 502"}),
    # Octavia's form, from its API reference.
    (409, {"faultcode": "Client", "faultstring": "Load Balancer lb is immutable and cannot be updated.", "debuginfo": None}, Conflict, {}),
    # Bodies of other forms: proxies, and answers that were cut off.
    (404, "<html><head><title>404 Not Found</title></head><body>nginx</body></html>", Unavailable, {"code": "malformed"}),
    (404, "<html><body>404 Not Found: No image found with ID i</body></html>", NotFound, {}), (404, "", Unavailable, {}),
    (400, [1, 2], Invalid, {}), (500, {"error": None}, Unavailable, {}), (404, {"a": 5}, NotFound, {}), (400, '{"badReq', Invalid, {}),
]


def refused(status: int, body: object, headers: dict[str, str] | None = None) -> ServiceError:
    return ServiceError(status, body if isinstance(body, str) else json.dumps(body), headers or {})


@pytest.mark.parametrize(("status", "body", "kind", "fields"), ROWS)
def test_refusals(status: int, body: object, kind: type[CpiError], fields: dict[str, str]) -> None:
    error = Explain()("x", refused(status, body, {"X-Openstack-Request-Id": "req-1"}))
    assert type(error) is kind
    assert error.request_id == ("" if error.code == "malformed" else "req-1")
    assert error.message.startswith("x: ")
    for name, value in fields.items():
        assert getattr(error, name) == value


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [("12", "slow", 12.0), ("0", "slow", 0.0), (None, "slow", None), ("soon", "slow", None),
     (email.utils.formatdate(1_000_030, usegmt=True), "slow", 30.0), (email.utils.formatdate(999_000, usegmt=True), "slow", 0.0),
     (None, {"overLimit": {"code": 413, "message": "rate-limited", "retryAfter": "3"}}, 3.0),
     ("9", {"overLimit": {"code": 413, "message": "rate-limited", "retryAfter": 3}}, 3.0)],
)
def test_time_to_wait(header: str | None, body: object, seconds: float | None) -> None:
    """Row 23: Retry-After as a number, as 0, as a date, absent, nonsense; and in the body, as Cinder and old Novas have it."""
    error = Explain(now=lambda: 1_000_000.0)("x", refused(429, body, {"Retry-After": header} if header else {}))
    assert isinstance(error, Throttled)
    assert error.retry_after_seconds == seconds


def test_secrets_are_hidden() -> None:
    """Row 27."""
    body = {"error": {"code": 400, "message": "bad password hunter2-long in request", "title": "Bad Request"}}
    error = Explain(["hunter2-long"])("x", refused(400, body))
    assert "hunter2" not in f"{error} {error.message} {error.args!r}"
    error = Explain(["hunter2-long"])("x", requests.exceptions.ReadTimeout("https://h/?password=hunter2-long"))
    assert "hunter2" not in f"{error} {error.args!r}"


@pytest.mark.parametrize(
    ("message", "passes"),
    [("Cannot 'os-stop' instance s while it is in task_state rebooting", True), ("Load Balancer lb is immutable", True),
     ("Cannot 'reboot' instance s while it is in vm_state error", False), ("IP address already allocated", False)],
)
def test_what_passes_by_itself(message: str, passes: bool) -> None:
    assert busy(Conflict(message)) is passes
    assert not busy(Invalid(message))


@pytest.mark.parametrize(
    ("message", "kind"),
    [("No valid host was found. There are not enough hosts available.", NoCapacity),
     ("Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance i.", NoCapacity),
     ("Build of instance i aborted: Volume v did not finish being created even after we waited 0 seconds", CpiError),
     ("Quota exceeded for instances: Requested 1, but already used 10 of 10 instances", Quota), ("", CpiError)],
)
def test_faults_of_machines(message: str, kind: type[CpiError]) -> None:
    error = of_fault("the machine failed", {"code": 500, "message": message})
    assert type(error) is kind
    assert message in error.message
    assert type(of_fault("x", None)) is CpiError
