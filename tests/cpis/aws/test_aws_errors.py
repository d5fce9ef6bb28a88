"""What AWS answers when it refuses becomes the right error, with the cloud's own words."""

from __future__ import annotations

import pytest
from libcloud.common.types import MalformedResponseError
from requests.exceptions import ReadTimeout

from cpis.aws.errors import ServiceError, explain
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, NotSupported, Quota, Throttled, Unavailable

# Bodies as the service sends them: EC2 API reference, "Error response"; issue reports of tools that quote them.
EC2 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>'
    "<RequestID>ea966190-f9aa-478e-9ede-cb5432daacc0</RequestID></Response>"
)
QUERY = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>'
    "<Message>{message}</Message></Error><RequestId>ea966190-f9aa-478e-9ede-cb5432daacc0</RequestId></ErrorResponse>"
)
S3 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message><BucketName>b</BucketName>'
    "<RequestId>ea966190-f9aa-478e-9ede-cb5432daacc0</RequestId><HostId>x</HostId></Error>"
)
ROWS: list[tuple[str, int, str, str, type[CpiError], dict[str, str]]] = [
    (EC2, 400, "InvalidInstanceID.NotFound", "The instance ID 'i-0a1b2c3d4e5f60718' does not exist", NotFound,
     {"resource": "i-0a1b2c3d4e5f60718", "kind": "vm"}),
    (EC2, 400, "InvalidInstanceID.Malformed", 'Invalid id: "vm-000000000000" (expecting "i-...")', NotFound, {"kind": "vm"}),
    (EC2, 400, "InvalidVolume.NotFound", "The volume 'vol-049df61146c4d7901' does not exist.", NotFound,
     {"resource": "vol-049df61146c4d7901", "kind": "disk"}),
    (EC2, 400, "InvalidParameterValue", "Value (disk-1) for parameter volumeId is invalid. Expected: 'vol-...'.", NotFound,
     {"resource": "disk-1", "kind": "disk"}),
    (EC2, 400, "InvalidAMIID.NotFound", "The image id '[ami-0abcdef1234567890]' does not exist", NotFound,
     {"resource": "ami-0abcdef1234567890", "kind": "stemcell"}),
    (EC2, 400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0a1b2c3d' does not exist", NotFound,
     {"resource": "subnet-0a1b2c3d", "kind": "network"}),
    (EC2, 400, "InvalidGroup.NotFound", "The security group 'sg-0a1b2c3d' does not exist in VPC 'vpc-0a1b2c3d'", NotFound, {}),
    (EC2, 400, "InvalidIPAddress.InUse", "Address 10.0.0.10 is in use.", Conflict, {"resource": "10.0.0.10", "kind": "network"}),
    (EC2, 400, "VolumeInUse", "vol-049df61146c4d7901 is already attached to an instance", Conflict, {"resource": "vol-049df61146c4d7901"}),
    (EC2, 400, "IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent.", Conflict, {}),
    (EC2, 400, "IncorrectInstanceState", "The instance 'i-0a1b2c3d4e5f60718' is not in a state", Conflict,
     {"resource": "i-0a1b2c3d4e5f60718"}),
    (EC2, 400, "OperationNotPermitted", "The instance 'i-0a1b2c3d4e5f60718' may not be terminated.", Conflict, {}),
    (EC2, 400, "VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the bucket",
     Quota, {"limit": "32"}),
    (EC2, 400, "InstanceLimitExceeded", "You have requested more instances (21) than your current instance limit of 20 allows", Quota,
     {"limit": "20", "used": "21"}),
    (EC2, 400, "AddressLimitExceeded", "The maximum number of addresses has been reached.", Quota, {}),
    (EC2, 400, "InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet 'subnet-0a1b2c3d'", Quota, {}),
    (EC2, 400, "TagLimitExceeded", "The maximum number of Tags for a resource has been reached.", Invalid, {}),
    (EC2, 503, "RequestLimitExceeded", "Request limit exceeded.", Throttled, {}),
    (EC2, 400, "Throttling", "Rate exceeded", Throttled, {}),
    (QUERY, 400, "ThrottlingException", "Rate exceeded", Throttled, {}),
    (S3, 503, "SlowDown", "Please reduce your request rate.", Throttled, {}),
    (EC2, 401, "AuthFailure", "AWS was not able to validate the provided access credentials", Denied, {}),
    (EC2, 403, "UnauthorizedOperation", "You are not authorized to perform this operation. Encoded authorization failure message: AbCdEf",
     Denied, {}),
    (QUERY, 403, "SignatureDoesNotMatch", "The request signature we calculated does not match", Denied, {}),
    (QUERY, 403, "ExpiredToken", "The security token included in the request is expired", Denied, {}),
    (S3, 403, "AccessDenied", "Access Denied", Denied, {}),
    (S3, 404, "NoSuchBucket", "The specified bucket does not exist", NotFound, {}),
    (EC2, 400, "RequestExpired", "Request has expired.", Denied, {}),
    (EC2, 401, "OptInRequired", "You are not subscribed to this service.", Denied, {}),
    (EC2, 500, "InsufficientInstanceCapacity", "We currently do not have sufficient t3.small capacity in the zone", NoCapacity, {}),
    (EC2, 400, "SpotMaxPriceTooLow", "Your Spot request price of 0.001 is lower than the minimum", NoCapacity, {}),
    (EC2, 500, "InternalError", "An internal error has occurred", Unavailable, {}),
    (EC2, 503, "Unavailable", "Service is unavailable", Unavailable, {}),
    (EC2, 400, "InvalidParameterValue", "Invalid value 't9.huge' for InstanceType.", Invalid, {"resource": "t9.huge"}),
    (EC2, 400, "Unsupported", "Your requested instance type (t3.small) is not supported in your requested Availability Zone (us-east-1e).",
     Invalid, {}),
    (EC2, 400, "VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit.", NotSupported, {}),
    (EC2, 400, "UnsupportedOperation", "The volume type standard does not support this operation.", NotSupported, {}),
    (EC2, 400, "MissingParameter", "The request must contain the parameter ImageId", Invalid, {}),
    (QUERY, 400, "TargetGroupNotFound", "One or more target groups not found", NotFound, {}),
]


@pytest.mark.parametrize(("form", "status", "code", "message", "kind", "more"), ROWS, ids=[row[2] + row[3][:6] for row in ROWS])
def test_bodies_of_the_service(form: str, status: int, code: str, message: str, kind: type[CpiError], more: dict[str, str]) -> None:
    error = explain("RunInstances", ServiceError.read(status, form.format(code=code, message=message), {}))
    assert type(error) is kind
    assert error.code == code
    assert error.request_id == "ea966190-f9aa-478e-9ede-cb5432daacc0"
    assert code in error.message
    assert message.partition(" Encoded")[0] in error.message
    assert {key: getattr(error, key) for key in more} == more


def test_the_encoded_message_is_left_out() -> None:
    body = EC2.format(code="UnauthorizedOperation", message="You may not. Encoded authorization failure message: " + "x" * 5000)
    error = explain("RunInstances", ServiceError.read(403, body, {}))
    assert "xxx" not in error.message
    assert "docs/clouds/aws.md" in error.suggestion


def test_a_namespace_is_no_obstacle() -> None:
    body = EC2.format(code="AuthFailure", message="no").replace("<Response>", '<Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">')
    assert explain("x", ServiceError.read(401, body, {})).code == "AuthFailure"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", Unavailable),
        (403, "<html><body>Blocked by the proxy</body></html>", Denied),
        (503, "", Unavailable),
        (400, "<Response><Errors><Error><Code>Invalid", Invalid),
        (429, "slow down", Throttled),
    ],
)
def test_answers_that_are_no_xml(status: int, body: str, kind: type[CpiError]) -> None:
    """Row 36: the status and the first line, without a stack of the parser."""
    error = explain("DescribeInstances", ServiceError.read(status, body, {"retry-after": "7"}))
    assert type(error) is kind
    assert error.message.startswith("DescribeInstances: ")
    assert "<" not in error.message or status == 400
    assert error.retry_after_seconds == 7.0


def test_html_in_a_good_answer() -> None:
    error = explain("DescribeInstances", MalformedResponseError("Failed", body="<html><title>Login</title></html>", driver=None))
    assert isinstance(error, Unavailable)
    assert "Login" in error.message


def test_answers_that_do_not_come() -> None:
    assert isinstance(explain("DescribeInstances", ReadTimeout("read timed out")), Unavailable)


def test_fields_that_are_missing() -> None:
    error = explain("create_vm", KeyError("instanceId"))
    assert isinstance(error, Unavailable)
    assert "instanceId" in error.message
