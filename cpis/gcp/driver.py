"""Libcloud's driver for Compute Engine, where it has to be otherwise. Line numbers and words are of Libcloud 3.9.1.

    GceConnection   another endpoint; a token that we get; errors with all that the cloud said; operations that we wait for
    GceDriver       GCENodeDriver on that connection
    PlainConnection the JSON API of Cloud Storage, and others of Google's, on the same token
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from libcloud.common.base import ConnectionUserAndKey
from libcloud.common.google import GoogleBaseConnection, GoogleResponse
from libcloud.common.types import LibcloudError
from libcloud.compute.base import Node, NodeImage, StorageVolume, VolumeSnapshot
from libcloud.compute.drivers.gce import GCEConnection, GCENodeDriver
from libcloud.compute.types import NodeState
from libcloud.http import LibcloudConnection

API = "/compute/v1/projects"
HTTP_TIMEOUT_SECONDS = 60.0
WAIT_TIMEOUT_SECONDS = 150.0  # `operations.wait` holds its answer up to two minutes


class Refusal(LibcloudError):
    """An answer of the API that is no success: `status`, the first error's `reason` and `message`, the whole error body, the headers.

    Libcloud keeps one message only, takes a dictionary for it when the error has no code, drops the headers (`Retry-After`), and fails
    with AttributeError when an error has a number only (common/google.py, GoogleResponse._get_error and parse_body).
    """

    def __init__(self, status: int, reason: str, message: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.body = body
        self.headers = headers


class NotJson(LibcloudError):
    """An answer that is not JSON: of a proxy, a load balancer, or cut off."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class GceResponse(GoogleResponse):
    """Raises Refusal for every status above 399, NotJson for what is none."""

    def parse_body(self) -> Any:
        text = self.body.decode("utf-8", "replace") if isinstance(self.body, bytes) else str(self.body)
        if self.status < 400 and not text.strip():
            return {}
        try:
            body = json.loads(text)
        except ValueError as error:
            raise NotJson(self.status, text, dict(self.headers)) from error
        if self.status < 400:
            return body
        found = body.get("error") if isinstance(body, dict) else None
        if not isinstance(found, dict):
            raise Refusal(self.status, "", str(found or text), {}, dict(self.headers))
        errors = found.get("errors")
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        reason = str(first.get("reason") or found.get("status") or "")
        message = str(found.get("message") or first.get("message") or reason or f"HTTP status {self.status}")
        raise Refusal(self.status, reason, message, found, dict(self.headers))


class Tokens(Protocol):
    """What gives the OAuth token of a request; see `cpis.gcp.credentials`."""

    @property
    def access_token(self) -> str: ...


class Place(NamedTuple):
    """Where requests go: scheme, host and port of an endpoint, and the CA file that verifies it (None: the usual ones)."""

    secure: bool
    host: str
    port: int
    ca_file: str | None = None

    @classmethod
    def of(cls, url: str, ca_file: str | None = None) -> Place:
        """Raises ValueError for what is no http or https URL of a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is no URL of an endpoint (https://host)")
        return cls(parts.scheme == "https", parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), ca_file)


def _http_of(place: Place) -> type[LibcloudConnection]:
    """Libcloud keeps the CA file in a global of its module `security`, for all drivers of the process: here it is the endpoint's own."""

    class OwnCa(LibcloudConnection):
        def _setup_ca_cert(self, **kwargs: Any) -> None:
            self.ca_cert = place.ca_file

        @property
        def verification(self) -> Any:
            return place.ca_file or True

    return OwnCa


def _build(connection: Any, place: Place, tokens: Tokens, user_agent: str) -> None:
    """What Libcloud's constructors of connections do, without what GoogleBaseConnection's does besides: that one signs in at once, at a
    fixed host, and writes the token to a file in the home folder.
    """
    base: Any = ConnectionUserAndKey
    base.__init__(connection, "", "", secure=place.secure, host=place.host, port=place.port, timeout=HTTP_TIMEOUT_SECONDS)
    connection.conn_class = _http_of(place)
    connection.oauth2_credential = tokens
    connection.user_agent = user_agent


def _agent(connection: Any, libclouds: str) -> str:
    """The operator's word, then ours, then Libcloud's: audit logs are searched by how it begins."""
    return " ".join(filter(None, [connection.user_agent, "caisson", libclouds]))


def _timed(connection: Any, seconds: float, request: Callable[[], Any]) -> Any:
    if connection.connection is None:
        connection.connect()
    connection.connection.session.timeout = seconds
    return request()


class GceConnection(GCEConnection):
    """`operate(method, action, body)` sends what changes something and waits until it has happened; whoever makes the driver sets it."""

    responseCls = GceResponse  # type: ignore[assignment]

    def __init__(
        self, user_id: str, key: str, secure: bool = True, *, place: Place, tokens: Tokens, project: str, user_agent: str = "",
        **kwargs: Any,
    ) -> None:
        _build(self, place, tokens, user_agent)
        self.request_path = f"{API}/{project}"
        self.gce_params = None
        self.operate: Callable[[str, str, Any], None] | None = None

    def _user_agent(self) -> str:
        return _agent(self, super()._user_agent())  # type: ignore[no-untyped-call]

    def morph_action_hook(self, action: str) -> str:
        """Paths of other projects (Shared VPC, public images) begin with the API's own; Libcloud puts all under our project."""
        return action if action.startswith(API + "/") else str(super().morph_action_hook(action))  # type: ignore[no-untyped-call]

    def request(self, *args: Any, timeout: float = HTTP_TIMEOUT_SECONDS, **kwargs: Any) -> Any:
        """As Libcloud's, with a time-out of the call's own, and without Libcloud's retries, which an environment variable turns on."""
        try:
            return _timed(self, timeout, lambda: super(GceConnection, self).request(*args, retry_failed=False, **kwargs))  # type: ignore[no-untyped-call]
        finally:
            self.gce_params = None  # Libcloud leaves it after an error, and the next request then asks for a page of something else

    def async_request(
        self, action: str, params: Any = None, data: Any = None, headers: Any = None, method: str = "GET", context: Any = None,
    ) -> None:
        """Where Libcloud's own methods (`reboot_node` ...) end. Its own way polls for 180 seconds without `requestId`, then forgets the
        operation's name; ours is sent again safely, waits with a deadline and tells of what.
        """
        if self.operate is None:
            raise TypeError("this connection has nobody to wait for operations")
        self.operate(method, action, None if data == "ignored" else data)


class Named(NamedTuple):
    """A zone or region, as far as Libcloud's methods look at it. Asking for the real object is a request."""

    name: str


class GceDriver(GCENodeDriver):
    """GCENodeDriver that asks nothing while it is built. `node`, `volume` ... name things for its methods without asking for them."""

    connectionCls = GceConnection  # type: ignore[assignment]

    def __init__(self, project: str, place: Place, tokens: Tokens, user_agent: str = "") -> None:
        self._connection_kwargs = {"place": place, "tokens": tokens, "project": project, "user_agent": user_agent}
        super().__init__("", "", project=project)  # type: ignore[no-untyped-call]

    def _ex_connection_class_kwargs(self) -> dict[str, Any]:
        return self._connection_kwargs

    def node(self, zone: str, name: str) -> Node:
        extra = {"zone": Named(zone), "selfLink": f"https://www.googleapis.com{API}/{self.project}/zones/{zone}/instances/{name}"}
        return Node(name, name, NodeState.UNKNOWN, [], [], self, extra=extra)

    def volume(self, zone: str, name: str) -> StorageVolume:
        extra = {"zone": Named(zone), "selfLink": f"https://www.googleapis.com{API}/{self.project}/zones/{zone}/disks/{name}"}
        return StorageVolume(name, name, 0, self, extra=extra)

    def snapshot(self, name: str) -> VolumeSnapshot:
        return VolumeSnapshot(name, self, name=name)

    def image(self, name: str) -> NodeImage:
        return NodeImage(name, name, self)


class PlainConnection(GoogleBaseConnection):
    """The JSON API of Cloud Storage, and of what else of Google's Libcloud has no driver for.

    Libcloud's storage driver speaks the XML API: without resumable uploads, so neither with progress nor able to go on after a lost
    connection, without labels of buckets, and with a token from a fixed host.
    """

    responseCls = GceResponse

    def __init__(self, place: Place, tokens: Tokens, user_agent: str = "") -> None:
        _build(self, place, tokens, user_agent)

    def request(self, *args: Any, timeout: float = HTTP_TIMEOUT_SECONDS, **kwargs: Any) -> Any:
        """As Libcloud's, with a time-out of the call's own."""
        return _timed(self, timeout, lambda: super(PlainConnection, self).request(*args, retry_failed=False, **kwargs))  # type: ignore[no-untyped-call]

    def _user_agent(self) -> str:
        return _agent(self, super()._user_agent())  # type: ignore[no-untyped-call]

    def encode_data(self, data: Any) -> Any:
        return data if isinstance(data, bytes) else json.dumps(data)


def seconds_to_next_minute(now: float) -> float:
    """Rates of Compute Engine are per minute and begin anew with each full one."""
    return math.floor(now / 60.0) * 60.0 + 60.0 - now
