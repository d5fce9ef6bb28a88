"""How each cloud says that something is wrong: rates, faults of the service, credentials that ran out, things that are busy.

Sources: CPI contract, sections 4.2, 6.4, 7.4, 8.4, 9.4 and 10.4; the forms of error bodies are those of the clouds' own documents.
"""

from __future__ import annotations

import dataclasses
import email.utils
import json
from collections.abc import Mapping

from cpis.conformance.proxy import HTML, Answer

Headers = tuple[tuple[str, str], ...]
Answers = Mapping[str, Answer]


@dataclasses.dataclass(frozen=True)
class Forms:
    """A cloud's refusals by name. `throttled` are waited out; `faulty` are the service's own faults; `denied` say no to the credentials,
    `expired` asks for a new login; `busy` pass by themselves. Only requests whose path holds `path` (a regular expression) are refused so.
    """

    throttled: Answers
    faulty: Answers
    denied: Answers
    busy: Answers = dataclasses.field(default_factory=dict)
    expired: Answers = dataclasses.field(default_factory=dict)
    path: str = ""


def _json(status: int, tree: object, headers: Headers = ()) -> Answer:
    return Answer(status, json.dumps(tree).encode(), headers)


def _waits(make: str, now: float) -> Mapping[str, Headers]:
    """The ways in which a cloud tells how long to wait. Row 23."""
    date = email.utils.formatdate(now + 2, usegmt=True)
    return {
        f"{make}, Retry-After in seconds": (("Retry-After", "2"),), f"{make}, Retry-After 0": (("Retry-After", "0"),),
        f"{make}, Retry-After a date": (("Retry-After", date),), f"{make} without Retry-After": (),
    }


def _ec2(status: int, code: str, message: str) -> Answer:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        "<RequestID>0f0e0d0c-conformance</RequestID></Response>")
    return Answer(status, body.encode(), content_type="text/xml;charset=UTF-8")


def _aws(now: float) -> Forms:
    slow = _ec2(503, "RequestLimitExceeded", "Request limit exceeded.")
    return Forms(
        throttled={
            **{name: dataclasses.replace(slow, headers=headers) for name, headers in _waits("RequestLimitExceeded", now).items()},
            "Throttling": _ec2(400, "Throttling", "Rate exceeded"),
        },
        faulty={
            "InternalError": _ec2(500, "InternalError", "An internal error has occurred"),
            "Unavailable": _ec2(503, "Unavailable", "The server is overloaded and can't handle the request."), "502": HTML,
        },
        denied={
            "AuthFailure": _ec2(401, "AuthFailure", "AWS was not able to validate the provided access credentials"),
            "UnauthorizedOperation": _ec2(403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
        },
    )


def _arm(status: int, code: str, message: str, headers: Headers = ()) -> Answer:
    return _json(status, {"error": {"code": code, "message": message}}, (("x-ms-request-id", "0f0e0d0c-conformance"), *headers))


def _azure(now: float) -> Forms:
    text = "The request is being throttled as the limit has been reached for operation type - Write."
    return Forms(
        throttled={name: _arm(429, "OperationNotAllowedTooManyRequests", text, headers) for name, headers in _waits("429", now).items()},
        faulty={
            "InternalServerError": _arm(500, "InternalServerError", "The server encountered an internal error."),
            "ServiceUnavailable": _arm(503, "ServiceUnavailable", "The service is unavailable."),
            "GatewayTimeout": _arm(504, "GatewayTimeout", "The gateway did not receive a response."), "502": HTML,
        },
        denied={"AuthorizationFailed": _arm(403, "AuthorizationFailed", "The client does not have authorization to perform action.")},
        busy={
            "AnotherOperationInProgress": _arm(409, "AnotherOperationInProgress", "Another operation on this resource is in progress."),
            "RetryableError": _arm(409, "RetryableError", "A retryable error occurred."),
        },
        expired={"ExpiredAuthenticationToken": _arm(401, "ExpiredAuthenticationToken", "The access token is expired.")},
    )


def _gce(status: int, reason: str, message: str, headers: Headers = ()) -> Answer:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message, "domain": "usageLimits"}]}
    return _json(status, {"error": error}, headers)


def _gcp(now: float) -> Forms:
    return Forms(
        throttled={
            "403 rateLimitExceeded": _gce(403, "rateLimitExceeded", "Rate Limit Exceeded"),
            **{name: _gce(429, "rateLimitExceeded", "Quota exceeded for quota metric 'Queries'", headers)
               for name, headers in _waits("429", now).items()},
        },
        faulty={
            "backendError": _gce(503, "backendError", "Backend Error"), "internalError": _gce(500, "internalError", "Internal Error"),
            "502": HTML,
        },
        denied={"forbidden": _gce(403, "forbidden", "Required 'compute.instances.create' permission")},
        busy={"resourceNotReady": _gce(400, "resourceNotReady", "The resource is not ready")},
        expired={"authError": _gce(401, "authError", "Invalid Credentials")},
    )


def _openstack(now: float) -> Forms:
    over = {"overLimit": {"code": 413, "message": "This request was rate-limited.", "details": "Only 10 POST request(s) can be made.",
                          "retryAfter": "2"}}
    return Forms(
        throttled={
            "413 overLimit": _json(413, over, (("Retry-After", "2"),)), "413 overLimit without header": _json(413, over),
            **{name: Answer(429, b"Too Many Requests", headers, "text/plain") for name, headers in _waits("429", now).items()},
        },
        faulty={
            "computeFault": _json(500, {"computeFault": {"code": 500, "message": "Unexpected API Error."}}),
            "503": Answer(503, b"<html><body><h1>503 Service Unavailable</h1>No server is available</body></html>", (), "text/html"),
            "502": HTML,
        },
        denied={"forbidden": _json(403, {"forbidden": {"code": 403, "message": "Policy doesn't allow this to be performed."}})},
        expired={"401": _json(401, {"error": {"code": 401, "message": "The request you have made requires authentication.",
                                              "title": "Unauthorized"}})},
    )


def _soap(fault: str, message: str) -> Answer:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault><faultcode>ServerFaultCode</faultcode>'
        f'<faultstring>{message}</faultstring><detail><{fault}Fault xmlns="urn:vim25" xsi:type="{fault}"></{fault}Fault></detail>'
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>")
    return Answer(500, body.encode(), content_type="text/xml; charset=utf-8")


def _vsphere(now: float) -> Forms:
    return Forms(
        throttled={},  # a vCenter queues, it knows no rates
        faulty={
            "503": Answer(503, b"<html><body><h1>503 Service Unavailable</h1>Failed to connect to endpoint</body></html>", (), "text/html"),
            "HostCommunication": _soap("HostCommunication", "Unable to communicate with the remote host."), "502": HTML,
        },
        denied={"NoPermission": _soap("NoPermission", "Permission to perform this operation was denied.")},
        busy={"TaskInProgress": _soap("TaskInProgress", "The operation is not allowed in the current state."),
              "ConcurrentAccess": _soap("ConcurrentAccess", "The resource is in use by another client.")},
        expired={"NotAuthenticated": _soap("NotAuthenticated", "The session is not authenticated.")},
        path="/sdk",
    )


_FORMS = {"aws": _aws, "azure": _azure, "gcp": _gcp, "openstack": _openstack, "vsphere": _vsphere}


def forms(cpi_type: str, now: float) -> Forms:
    """The refusals of the cloud of a CPI type, `now` being the client's Unix time for those that name one. Raises KeyError."""
    return _FORMS[cpi_type](now)
