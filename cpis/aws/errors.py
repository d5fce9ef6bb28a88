"""What AWS answers when it refuses, as errors of the contract, with its own code, words, request id, resource, limit and used amount.

Source: CPI contract, sections 3, 4.2 and 6.4; "Error codes" in the EC2, Elastic Load Balancing, S3 and STS API references.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from cpis.cloud import faults
from cpis.cloud.text import first_line
from cpis.contract import Conflict, CpiError, Denied, Invalid, NoCapacity, NotFound, NotSupported, Quota, Throttled, Unavailable

MISMATCH = "IdempotentParameterMismatch"
TERMINATED = "IdempotentInstanceTerminated"
ADDRESS_IN_USE = "InvalidIPAddress.InUse"

_THROTTLED = frozenset({
    "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown", "EC2ThrottledException", "BandwidthLimitExceeded",
    "TooManyRequestsException", "ThrottledException", "PriorRequestNotComplete", "SnapshotCreationPerVolumeRateExceeded",
})
_DENIED = frozenset({
    "AuthFailure", "UnauthorizedOperation", "InvalidClientTokenId", "SignatureDoesNotMatch", "OptInRequired", "Blocked",
    "PendingVerification", "ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed", "AccessDenied",
    "AccessDeniedException", "InvalidAccessKeyId", "MissingAuthenticationToken", "UnrecognizedClientException", "IncompleteSignature",
    "InvalidToken", "InvalidSecurityToken", "XAmzContentSHA256Mismatch",
})
_CONFLICT = frozenset({
    "VolumeInUse", ADDRESS_IN_USE, "IncorrectState", "IncorrectInstanceState", MISMATCH, TERMINATED, "InvalidAMIName.Duplicate",
    "InvalidKeyPair.Duplicate", "Resource.AlreadyAssociated", "InvalidSnapshot.InUse", "DependencyViolation", "ConcurrentTagAccess",
    "RouteAlreadyExists", "OperationNotPermitted", "InvalidState", "AttachmentLimitExceeded", "IncorrectModificationState",
})
_NO_CAPACITY = frozenset({
    "InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
    "InsufficientVolumeCapacity", "SpotMaxPriceTooLow", "Server.InsufficientInstanceCapacity",
})
_QUOTA = frozenset({"InsufficientFreeAddressesInSubnet", "MaxSpotInstanceCountExceeded", "ResourceCountExceeded", "TooManyTargets"})
_UNAVAILABLE = frozenset({"InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable", "Server.InternalError"})
_MISSING = frozenset({
    "NoSuchBucket", "NoSuchKey", "NoSuchEntity", "LoadBalancerNotFound", "TargetGroupNotFound", "AccessPointNotFound", "NoSuchUpload",
    "InvalidAMIID.Unavailable",
})
_NOT_POSSIBLE = frozenset({"VolumeModificationRateExceeded", "VolumeModificationSizeLimitExceeded", "UnsupportedOperation"})
_SUGGESTIONS: Mapping[str, str] = {
    "AuthFailure": "Are the access key and secret of the CPI config right, and does the key belong to this partition and region?",
    "InvalidClientTokenId": "Is the access key of the CPI config right and active?",
    "InvalidAccessKeyId": "Is the access key of the CPI config right and active?",
    "SignatureDoesNotMatch": "Is the secret access key of the CPI config right?",
    "UnauthorizedOperation": "Give the identity the policy of docs/clouds/aws.md; `caisson cloud check` tells what is missing.",
    "AccessDenied": "Give the identity the policy of docs/clouds/aws.md; `caisson cloud check` tells what is missing.",
    "RequestExpired": "Is the clock of this computer right? AWS takes requests that are five minutes old at most.",
    "RequestTimeTooSkewed": "Is the clock of this computer right? AWS takes requests that are five minutes old at most.",
    "ExpiredToken": "The temporary credentials have expired: get new ones, or use a profile, a role or the instance's identity.",
    "OptInRequired": "The region or service is not enabled for this account: enable it in the account's settings.",
    "InvalidAMIID.NotFound": "An AMI exists in one region only: does the stemcell name one for this region?",
    "InvalidSubnetID.NotFound": "Is the `subnet` of the network right, and in this region?",
    "InvalidGroup.NotFound": "Do the security groups exist in the VPC of the subnet?",
    "InvalidKeyPair.NotFound": "Import the key pair into this region, or leave key_name out: machines get the director's key by user data.",
    "InsufficientFreeAddressesInSubnet": "Use a larger subnet, or delete what holds its addresses.",
    ADDRESS_IN_USE: "Another machine or network interface has the address: reserve it in the cloud config, or delete the other.",
    "OperationNotPermitted": "The machine may be protected against termination: change its attribute disableApiTermination.",
}
_IDS = re.compile(r"\b((?:i|vol|snap|ami|subnet|sg|eni|rtb|eipalloc|vpc|import-snap)-[0-9a-f]{8,17})\b")
_QUOTED = re.compile(r"'([^'\s]{1,200})'")
_ADDRESS = re.compile(r"\b(\d{1,3}(?:\.\d{1,3}){3})\b")
_KINDS = {
    "i": "vm", "vol": "disk", "snap": "snapshot", "ami": "stemcell", "import": "stemcell", "subnet": "network", "sg": "network",
    "vpc": "network", "eni": "network", "rtb": "network", "eipalloc": "network",
}
_CODE_KINDS = (
    ("InvalidInstanceID", "vm"), ("InvalidVolume", "disk"), ("VolumeInUse", "disk"), ("InvalidSnapshot", "snapshot"),
    ("InvalidAMIID", "stemcell"), ("InvalidSubnet", "network"), ("InvalidGroup", "network"), ("InvalidIPAddress", "network"),
)
_LIMIT = re.compile(r"(?:limit of|limit is|maximum of|limited to) (\d+)", re.IGNORECASE)
_USED = re.compile(r"(?:\(|requested |using |have )(\d+)\b")
_WRONG_ID = re.compile(r"Value \(([^)]*)\) for parameter (volume|snapshot|instance|image)\w* is invalid", re.IGNORECASE)


class ServiceError(Exception):
    """An answer of a service that is an error: HTTP status, code, words and request id (each may be empty), and the headers."""

    def __init__(self, status: int, code: str, message: str, request_id: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{code or status}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.headers = headers

    @classmethod
    def read(cls, status: int, body: str, headers: Mapping[str, str]) -> ServiceError:
        """Of an answer's parts. Understands the forms of EC2 (Response/Errors/Error), query services (ErrorResponse/Error), S3 (Error)."""
        found: dict[str, str] = {}
        try:
            for element in ET.fromstring(body.strip()).iter():
                found.setdefault(str(element.tag).rpartition("}")[2].lower(), (element.text or "").strip())
        except ET.ParseError:
            # No XML: a proxy, a load balancer, or an answer cut off.
            found = {"message": first_line(body)}
        request_id = found.get("requestid") or headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or ""
        return cls(status, found.get("code", ""), found.get("message", ""), request_id, headers)


def explain(what: str, error: Exception) -> CpiError:
    """Our error for what the driver raised. `what` is the action, `RunInstances`."""
    if not isinstance(error, ServiceError):
        return faults.unexplained(what, error)
    wait = faults.retry_after(error.headers)
    if not error.code:
        return faults.by_status(what, error.status, error.message, error.headers, request_id=error.request_id)
    # What follows is thousands of characters that only `aws sts decode-authorization-message` understands.
    message = first_line(error.message.partition("Encoded authorization failure message")[0])
    kind, resource = _subject(error.code, message)
    limit, used = _LIMIT.search(message), _USED.search(message)
    is_quota = _class(error) is Quota
    return _class(error)(
        f"{what}: {error.code}: {message}", code=error.code, request_id=error.request_id, resource=resource, kind=kind,
        limit=limit.group(1) if limit and is_quota else "", used=used.group(1) if used and is_quota else "",
        suggestion=_SUGGESTIONS.get(error.code, _QUOTA_SUGGESTION if is_quota else ""), retry_after_seconds=wait)


_QUOTA_SUGGESTION = "Ask for more under Service Quotas in the AWS console (`aws service-quotas list-service-quotas`), or use less."


def _class(error: ServiceError) -> type[CpiError]:
    code = error.code
    if code in _THROTTLED or code.startswith("Throttling"):
        return Throttled
    for codes, kind in _BY_CODE:
        if code in codes:
            return kind
    if code.startswith("InvalidInstanceType"):
        return Invalid
    if code.endswith((".NotFound", ".Malformed", "NotFound")) or (code == "InvalidParameterValue" and _WRONG_ID.search(error.message)):
        return NotFound
    if code.endswith(("LimitExceeded", "QuotaExceeded")) and code != "TagLimitExceeded":
        return Quota
    if code.endswith((".InUse", ".Duplicate")):
        return Conflict
    if error.status >= 500:
        return Unavailable
    return {401: Denied, 403: Denied, 404: NotFound}.get(error.status, Invalid)


_BY_CODE: tuple[tuple[frozenset[str], type[CpiError]], ...] = (
    (_DENIED, Denied), (_CONFLICT, Conflict), (_NO_CAPACITY, NoCapacity), (_QUOTA, Quota), (_UNAVAILABLE, Unavailable),
    (_MISSING, NotFound), (_NOT_POSSIBLE, NotSupported),
)


def _subject(code: str, message: str) -> tuple[str, str]:
    """(kind, id) of what the error speaks of, as far as it says so."""
    wrong = _WRONG_ID.search(message)
    if wrong:
        return {"volume": "disk", "snapshot": "snapshot", "instance": "vm", "image": "stemcell"}[wrong.group(2).lower()], wrong.group(1)
    kind = next((kind for start, kind in _CODE_KINDS if code.startswith(start)), "")
    if code == ADDRESS_IN_USE:
        address = _ADDRESS.search(message)
        return kind, address.group(1) if address else ""
    found = _IDS.search(message)
    if found:
        return kind or _KINDS.get(found.group(1).partition("-")[0], ""), found.group(1)
    quoted = _QUOTED.search(message)
    return kind, quoted.group(1) if quoted else ""
