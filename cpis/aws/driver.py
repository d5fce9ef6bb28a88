"""Libcloud's drivers with what they lack or get wrong for this use. Source: CPI contract, sections 5, 6.2 and 6.4.

| Defect, in Libcloud 3.9.1 | Here |
|---|---|
| `SignedAWSConnection` signs with the keys it was made with | they are asked for at each request, since temporary ones end |
| it sends queries in the URL of a GET, which front ends cut | a POST with a form |
| it repeats the session token in the URL, where proxies log it | in the header alone |
| `EC2Response.parse_error` drops request id and status, and fails at errors of another form | `ServiceError` |
| the CA bundle is a global of the module | a class of HTTP connections for each configuration |
| regions end with those of 2023 | any region |
| `ElasticLBDriver`, `ApplicationLBDriver` take no host | set on their connection |
| `ex_create_tags` counts from 0, which emulators refuse | from 1, as the service documents |
| `S3Response` takes 400, 404 and 409 for success | errors |
"""

from __future__ import annotations

import datetime
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from libcloud.common.aws import SignedAWSConnection
from libcloud.common.base import BaseDriver, JsonResponse
from libcloud.compute.base import Node, StorageVolume
from libcloud.compute.drivers.ec2 import EC2Connection, EC2NodeDriver, EC2Response
from libcloud.compute.types import NodeState
from libcloud.http import LibcloudConnection
from libcloud.loadbalancer.drivers.alb import ALBConnection, ApplicationLBDriver
from libcloud.loadbalancer.drivers.elb import ElasticLBDriver, ELBConnection
from libcloud.storage.drivers.s3 import S3Response, S3SignatureV4Connection, S3StorageDriver

from cpis.aws.credentials import Credentials, Source
from cpis.aws.errors import ServiceError
from cpis.cloud.drivers import settle
from cpis.cloud.faults import MALFORMED
from cpis.cloud.text import first_line
from cpis.contract import Unavailable

TIMEOUT_SECONDS = 60
_FORM = "application/x-www-form-urlencoded; charset=utf-8"
Tree = dict[str, Any]
# Of a partition's endpoints, by how its regions begin: those of IPv4, and those of both families. Source: the endpoints of AWS's SDK.
_SUFFIXES = {
    "cn-": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"), "eusc-": ("amazonaws.eu", "api.amazonwebservices.eu"),
    "": ("amazonaws.com", "api.aws"),
}


class _QueryResponse(EC2Response):
    """The answer of a query service, of whatever namespace."""

    def parse_body(self) -> Any:
        """Raises Unavailable for what is no answer, also where the method of Libcloud would not look at it: a page of a proxy may be
        well-formed, and would else say that a thing is done, or that there is none."""
        element = super().parse_body()
        name = _name(element)
        if not name.removesuffix("Response") or not name.endswith("Response"):
            raise Unavailable(f"this is no answer of AWS: it begins with {f'<{name}>' if name else repr(element[:20])}", code=MALFORMED)
        return element

    def parse_error(self) -> str:
        raise ServiceError(int(self.status), **_error_parts(self))


class _StorageResponse(S3Response):
    """The answer of S3. A 404 to a HEAD stays an answer: it has no body, and Libcloud's methods look at it."""

    def success(self) -> bool:
        return 200 <= int(self.status) <= 299 or (int(self.status) == 404 and self.request.method == "HEAD")

    def parse_error(self) -> str:
        raise ServiceError(int(self.status), **_error_parts(self))


def _error_parts(response: Any) -> dict[str, Any]:
    error = ServiceError.read(int(response.status), response.body or response.error or "", response.headers)
    return {"code": error.code, "message": error.message, "request_id": error.request_id, "headers": error.headers}


class _Signed(SignedAWSConnection):
    """What all connections do: sign with the keys of now, and send queries as forms."""

    driver: Any
    used: Credentials | None = None

    def request(
        self, action: Any, params: Any = None, data: Any = None, headers: Any = None, method: Any = "GET", *rest: Any, **more: Any,
    ) -> Any:
        self.used = credentials = self.driver.source.get()
        self.user_id, self.key, self.token = credentials.key, credentials.secret, credentials.token or None
        self.signer.access_key, self.signer.access_secret = credentials.key, credentials.secret
        if params and "Action" in params and method == "GET":
            data, method = urlencode({"Version": self.version, **params}), "POST"
            params, headers = None, {**(headers or {}), "Content-Type": _FORM}
        return super().request(action, params, data, headers, method, *rest, **more)

    def add_default_params(self, params: dict[str, Any]) -> dict[str, Any]:
        return params


class _Ec2Connection(_Signed, EC2Connection):
    responseCls = _QueryResponse


class _ElbConnection(_Signed, ELBConnection):
    responseCls: Any = _QueryResponse


class _AlbConnection(_Signed, ALBConnection):
    responseCls: Any = _QueryResponse


class _StsConnection(_Signed):
    version = "2011-06-15"
    service_name = "sts"
    responseCls = _QueryResponse


class _JsonAnswer(JsonResponse):
    """The answer of a service that speaks JSON."""

    def parse_error(self) -> str:
        try:
            body = json.loads(self.body or "")
            code, message = str(body.get("__type", "")).rpartition("#")[2], str(body.get("message") or body.get("Message") or "")
        except (ValueError, AttributeError):
            code, message = "", first_line(self.body or "")
        raise ServiceError(int(self.status), code, message, self.headers.get("x-amzn-requestid", ""), self.headers)


class _QuotasConnection(_Signed):
    version = "2019-06-24"
    service_name = "servicequotas"
    responseCls = _JsonAnswer


class _S3Connection(_Signed, S3SignatureV4Connection):
    responseCls = _StorageResponse


class Place:
    """Where requests go: the region's endpoints, or others of the configuration, and by which HTTP connections."""

    def __init__(self, config: Mapping[str, Any], ca_file: str = "") -> None:
        self.region = str(config["region"])
        self._config = config
        self._proxy = str(config.get("proxy_url") or "")
        self._http = type("Http", (LibcloudConnection,), {"_setup_ca_cert": lambda connection, **_: setattr(
            connection, "ca_cert", ca_file)}) if ca_file else LibcloudConnection

    def url(self, service: str) -> str:
        """The base URL of a service: ec2, elasticloadbalancing, s3, sts, servicequotas."""
        given = self._config.get({"elasticloadbalancing": "elb"}.get(service, service) + "_endpoint")
        if given:
            return str(given) if "://" in str(given) else f"https://{given}"
        suffix, both = next((found for start, found in _SUFFIXES.items() if self.region.startswith(start)))
        if self._config.get("dualstack"):
            if service == "s3":
                return f"https://s3.dualstack.{self.region}.{suffix}"
            if service in ("ec2", "elasticloadbalancing"):
                return f"https://{service}.{self.region}.{both}"
        return f"https://{service}.{self.region}.{suffix}"

    def connection(self, kind: type) -> Any:
        """The connection class for this place."""
        return type(kind.__name__, (kind,), {"conn_class": self._http, "timeout": TIMEOUT_SECONDS, "proxy_url": self._proxy or None})

    def point(self, connection: Any, service: str) -> None:
        """Make a connection go to the service here."""
        url = urlsplit(self.url(service))
        connection.host = url.hostname
        connection.secure = 0 if url.scheme == "http" else 1
        connection.port = url.port or (443 if connection.secure else 80)
        connection.proxy_url = self._proxy or None
        connection.connect()
        connection.connection.session.trust_env = not self._proxy
        if not self._proxy:
            settle(connection.connection.session, self.url(service))


class Ec2(EC2NodeDriver):
    """EC2, signed by the credentials of `source` at the time of each request."""

    def __init__(self, source: Source, place: Place) -> None:
        self.source = source
        self.connectionCls = place.connection(_Ec2Connection)
        known = place.region if place.region in self.list_regions() else "us-east-1"
        super().__init__("-", "-", region=known, signature_version="4", timeout=TIMEOUT_SECONDS)
        self.region_name = place.region
        place.point(self.connection, "ec2")

    def ask(self, action: str, params: Mapping[str, Any] | None = None) -> Tree:
        """The answer of any action, for which Libcloud has no method or one that sends or reads too little."""
        return tree(self.connection.request(self.path, params={"Action": action, **(params or {})}).object, action)

    @property
    def used(self) -> Credentials | None:
        """The credentials that the last request was signed with."""
        found: Credentials | None = getattr(self.connection, "used", None)
        return found

    def end(self) -> None:
        """Close its connections."""
        session: Any = self.connection.connection
        session.session.close()

    def node(self, cid: str) -> Node:
        """What Libcloud's methods want of an instance: its id."""
        return Node(cid, cid, NodeState.UNKNOWN, [], [], self)

    def storage(self, cid: str) -> StorageVolume:
        """What Libcloud's methods want of a volume: its id."""
        return StorageVolume(cid, cid, 0, self)

    def ex_create_tags(self, resource: Any, tags: Mapping[str, str]) -> bool:
        params = {"ResourceId.1": resource if isinstance(resource, str) else resource.id, **numbered_tags("Tag", tags)}
        self.ask("CreateTags", params)
        return True


class Elb(ElasticLBDriver):
    """Classic load balancers."""

    def __init__(self, source: Source, place: Place) -> None:
        self.source = source
        self.connectionCls = place.connection(_ElbConnection)
        super().__init__("-", "-", place.region)
        place.point(self.connection, "elasticloadbalancing")


class Alb(ApplicationLBDriver):
    """Target groups of application and network load balancers."""

    def __init__(self, source: Source, place: Place) -> None:
        self.source = source
        self.connectionCls = place.connection(_AlbConnection)
        super().__init__("-", "-", place.region)
        place.point(self.connection, "elasticloadbalancing")


class S3(S3StorageDriver):
    """The object store, for images on their way."""

    def __init__(self, source: Source, place: Place) -> None:
        self.source = source
        self.connectionCls = place.connection(_S3Connection)
        host = urlsplit(place.url("s3")).hostname
        super().__init__("-", "-", region="us-east-1", host=host)
        self.region_name = self.region = place.region
        place.point(self.connection, "s3")


class Sts(BaseDriver):
    """Who we are, and roles."""

    name = "AWS STS"
    service = "sts"
    connectionKind: type = _StsConnection

    def __init__(self, source: Source, place: Place) -> None:
        self.source = source
        self.region_name = place.region
        self.connectionCls = place.connection(self.connectionKind)
        super().__init__("-", "-", region=place.region)
        place.point(self.connection, self.service)

    def _ex_connection_class_kwargs(self) -> dict[str, Any]:
        return {"signature_version": "4"}

    def ask(self, action: str, params: Mapping[str, Any] | None = None) -> Tree:
        """The answer of any action."""
        return tree(self.connection.request("/", params={"Action": action, **(params or {})}).object, action)

    def assume(self, role: str) -> Credentials:
        """The keys of a role for an hour."""
        answer = self.ask("AssumeRole", {"RoleArn": role, "RoleSessionName": "caisson", "DurationSeconds": 3600})
        found = answer.get("AssumeRoleResult", {}).get("Credentials", {})
        try:
            expires = datetime.datetime.fromisoformat(found["Expiration"].replace("Z", "+00:00")).timestamp()
            return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], expires)
        except (KeyError, ValueError):
            raise Unavailable(f"AssumeRole: the answer has no keys for {role}", code=MALFORMED) from None


class Quotas(Sts):
    """Service Quotas, which speaks JSON."""

    name = "AWS Service Quotas"
    service = "servicequotas"
    connectionKind = _QuotasConnection

    def value(self, service: str, code: str) -> float:
        """The limit that applies to the account."""
        headers = {"X-Amz-Target": "ServiceQuotasV20190624.GetServiceQuota", "Content-Type": "application/x-amz-json-1.1"}
        data = json.dumps({"ServiceCode": service, "QuotaCode": code})
        return float(self.connection.request("/", data=data, headers=headers, method="POST").object["Quota"]["Value"])


def tree(element: Any, action: str) -> Tree:
    """The answer to an action as dictionaries, lists (of `item` and `member`) and texts, whatever its namespace; what is empty is "".

    Libcloud's own `_to_node` and so on leave out what is needed here: reasons of states, subnets of interfaces, several attachments.
    """
    name = _name(element)
    read = _read(element) if name == f"{action}Response" else ""
    if not isinstance(read, dict):
        raise Unavailable(f"{action}: this is no answer of AWS: it begins with <{name}>", code=MALFORMED)
    return read


def _name(element: Any) -> str:
    """Of an element, without its namespace."""
    return str(getattr(element, "tag", "")).rpartition("}")[2]


def _read(element: ET.Element) -> Any:
    children = list(_children(element))
    if not children:
        return (element.text or "").strip()
    if all(name in ("item", "member") for name, _ in children):
        return [_read(child) for _, child in children]
    return {name: _read(child) for name, child in children}


def _children(element: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    for child in element:
        if isinstance(child.tag, str):
            yield child.tag.rpartition("}")[2], child


def items(answer: Any, name: str) -> list[Any]:
    """The items of a set in an answer; none for an empty or missing one."""
    found = answer.get(name) if isinstance(answer, dict) else None
    return found if isinstance(found, list) else []


def tags_of(thing: Mapping[str, Any]) -> dict[str, str]:
    """The tags of an answer's item."""
    return {tag.get("key", ""): tag.get("value", "") for tag in items(thing, "tagSet")}


def numbered(prefix: str, values: Any) -> dict[str, str]:
    """`{prefix.1: .., prefix.2: ..}`."""
    return {f"{prefix}.{number}": str(value) for number, value in enumerate(values, 1)}


def numbered_tags(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    """`{prefix.1.Key: .., prefix.1.Value: ..}`."""
    result = {}
    for number, (key, value) in enumerate(tags.items(), 1):
        result[f"{prefix}.{number}.Key"] = key
        result[f"{prefix}.{number}.Value"] = value
    return result


def filters(**values: Any) -> dict[str, str]:
    """`Filter.N` parameters; `__` in a name is `-`, `___` is `:` (`tag___director`)."""
    result: dict[str, str] = {}
    for number, (name, value) in enumerate(values.items(), 1):
        result[f"Filter.{number}.Name"] = name.replace("___", ":").replace("__", "-")
        result.update(numbered(f"Filter.{number}.Value", [value] if isinstance(value, str) else value))
    return result
