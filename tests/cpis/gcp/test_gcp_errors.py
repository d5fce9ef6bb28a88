"""What Google says, as errors of the contract: CPI contract, sections 3, 4.2 and 8.4, and rows 22, 23, 27 and 36 of its table."""

from __future__ import annotations

import email.utils

import pytest

from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, Quota, Throttled, Unavailable
from cpis.gcp.driver import NotJson, Refusal
from cpis.gcp.errors import Explainer

NOW = 1_000_000_010.0  # fifty seconds past a full minute
explain = Explainer(lambda: NOW)


@pytest.mark.parametrize(("status", "reason", "kind"), [
    (400, "invalid", Invalid), (400, "required", Invalid), (400, "badRequest", Invalid), (400, "resourceInUseByAnotherResource", Conflict),
    (400, "resourceNotReady", Conflict), (401, "authError", Denied), (401, "", Denied), (403, "forbidden", Denied),
    (403, "insufficientPermissions", Denied), (403, "accessNotConfigured", Denied), (403, "rateLimitExceeded", Throttled),
    (403, "userRateLimitExceeded", Throttled), (403, "quotaExceeded", Quota), (404, "notFound", NotFound), (404, "", NotFound),
    (409, "alreadyExists", Conflict), (412, "conditionNotMet", Conflict), (412, "", Conflict), (429, "", Throttled),
    (429, "rateLimitExceeded", Throttled), (500, "backendError", Unavailable), (500, "internalError", Unavailable), (502, "", Unavailable),
    (503, "", Unavailable), (503, "forbidden", Unavailable), (418, "somethingNew", Invalid),
])
def test_refusals(status: int, reason: str, kind: type[CpiError]) -> None:
    error = explain("POST /x", Refusal(status, reason, "the cloud's own words", {}, {}))
    assert type(error) is kind
    assert "the cloud's own words" in error.message
    assert "POST /x" in error.message
    assert error.code


@pytest.mark.parametrize(("code", "kind", "temporary"), [
    ("QUOTA_EXCEEDED", Quota, False), ("ZONE_RESOURCE_POOL_EXHAUSTED", NoCapacity, True),
    ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", NoCapacity, True), ("IP_IN_USE_BY_ANOTHER_RESOURCE", Conflict, False),
    ("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", Conflict, False), ("RESOURCE_ALREADY_EXISTS", Conflict, False),
    ("RESOURCE_NOT_FOUND", NotFound, False), ("PERMISSIONS_ERROR", Denied, False), ("INTERNAL_ERROR", Unavailable, True),
    ("RESOURCE_OPERATION_RATE_EXCEEDED", Throttled, True), ("SOMETHING_NEW", Invalid, False),
])
def test_operations_fail_inside_of_a_success(code: str, kind: type[CpiError], temporary: bool) -> None:
    operation = {
        "name": "operation-7", "status": "DONE", "targetLink": "https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/vm-1",
        "error": {"errors": [{"code": code, "message": "because"}, {"code": "X", "message": "and so"}]}, "httpErrorStatusCode": 400}
    error = explain.of_operation("create machine vm-1", operation)
    assert type(error) is kind
    assert error.temporary is temporary
    assert (error.code, error.request_id, error.resource, error.kind) == (code, "operation-7", "vm-1", "instance")
    assert error.message == "create machine vm-1: because; and so"


def test_an_operation_without_error_is_well() -> None:
    assert explain.of_operation("x", {"name": "o", "status": "DONE"}) is None


@pytest.mark.parametrize("error", ["nonsense", {}, {"errors": []}, {"errors": ["x"]}, {"errors": {"a": 1}}, {"errors": [{"code": 5}]}])
def test_an_operation_with_an_odd_error_fails_all_the_same(error: object) -> None:
    found = explain.of_operation("x", {"name": "o", "status": "DONE", "error": error})
    if error:
        assert isinstance(found, CpiError)


def test_a_quota_keeps_limit_and_metric() -> None:
    error = explain("x", Refusal(403, "quotaExceeded", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.", {}, {}))
    assert (error.limit, error.resource) == ("24.0", "CPUS")
    assert "Quotas" in error.suggestion


def test_a_quota_of_an_operation_keeps_limit_and_usage() -> None:
    details = [{"quotaInfo": {"metricName": "compute.googleapis.com/cpus", "limit": 24, "usage": 20}}]
    errors = [{"code": "QUOTA_EXCEEDED", "message": "Quota exceeded.", "errorDetails": details}]
    error = explain.of_operation("x", {"name": "o", "error": {"errors": errors}})
    assert error is not None
    assert (error.limit, error.used) == ("24", "20")


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, 10.0),  # rates begin anew with the next full minute
    ({"retry-after": "7"}, 7.0), ({"Retry-After": "0"}, 0.0), ({"retry-after": email.utils.formatdate(NOW + 90, usegmt=True)}, 90.0),
    ({"retry-after": "soon"}, 10.0),
])
def test_how_long_a_refusal_for_the_rate_lasts(headers: dict[str, str], seconds: float) -> None:
    error = explain("x", Refusal(403, "rateLimitExceeded", "Quota exceeded for quota metric", {}, headers))
    assert error.retry_after_seconds == pytest.approx(seconds, abs=1.0)


@pytest.mark.parametrize(("status", "kind"), [(200, Unavailable), (502, Unavailable), (503, Unavailable), (403, Denied), (404, NotFound)])
def test_a_page_instead_of_json(status: int, kind: type[CpiError]) -> None:
    page = "<!DOCTYPE html>\n<html><head><title>Error 502 (Server Error)!!1</title></head><body>long\ntext</body></html>"
    error = explain("GET /x", NotJson(status, page, {}))
    assert type(error) is kind
    assert "Error 502 (Server Error)!!1" in error.message
    assert str(status) in error.message
    assert "<" not in error.message


def test_long_values_that_google_repeats_are_cut_out() -> None:
    """Row 27: an error about metadata repeats it, and there is a private key in it."""
    message = f"Invalid value for field 'resource.metadata.items[0].value': '-----BEGIN OPENSSH PRIVATE KEY-----\n{'k' * 200}'. Too large."
    error = explain("x", Refusal(400, "invalid", message, {}, {}))
    assert "PRIVATE KEY" not in error.message
    assert "kkk" not in error.message
    assert "resource.metadata.items[0].value" in error.message


@pytest.mark.parametrize(("reason", "words"), [("accessNotConfigured", "gcloud services enable"), ("forbidden", "docs/clouds/gcp.md")])
def test_what_to_do_when_not_allowed(reason: str, words: str) -> None:
    assert words in explain("x", Refusal(403, reason, "no", {}, {})).suggestion
