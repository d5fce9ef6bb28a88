"""Libcloud's OpenStack driver with what it lacks. Source for what that is: CPI contract, sections 5 and 9.2."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from libcloud.common.openstack import OpenStackResponse
from libcloud.common.openstack_identity import OpenStackIdentity_3_0_Connection, OpenStackIdentityTokenScope
from libcloud.compute.base import Node, NodeState
from libcloud.compute.drivers.openstack import (
    OpenStack_2_Connection,
    OpenStack_2_ImageConnection,
    OpenStack_2_NetworkConnection,
    OpenStack_2_NodeDriver,
    OpenStack_2_VolumeV3Connection,
)

from cpis.openstack.account import Account
from cpis.openstack.errors import ServiceError
from cpis.openstack.session import Session


class Answer(OpenStackResponse):
    """Errors with status, body and headers. Libcloud's text is `404 None ...` (it takes the reason from the wrong place), it loses the
    request id, and it fails on bodies of other forms, such as Octavia's and those of proxies."""

    def parse_error(self) -> str:
        raise ServiceError(self.status, self.body or "", self.headers)


class _Tls:
    """Certificates by CPI config. Libcloud has one setting for the whole process, and builds its connection anew for each endpoint."""

    account: Account
    connection: Any

    def connect(self, *arguments: Any, **named: Any) -> None:
        super().connect(*arguments, **named)  # type: ignore[misc]
        if not self.account.verify:
            self.connection.verify, self.connection.ca_cert = False, None
        elif self.account.ca_cert:
            self.connection.verify, self.connection.ca_cert = True, self.account.ca_cert

    def _tuple_from_url(self, url: str) -> tuple[str, int, int, str]:
        """Libcloud's own fails on IPv6 addresses: it splits at each colon."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = int(parts.scheme == "https")
        return (f"[{host}]" if ":" in host else host, parts.port or (443 if secure else 80), secure, parts.path)


class Identity(_Tls, OpenStackIdentity_3_0_Connection):
    """The login. Libcloud's bodies know no project or user by id and no project domain by name; its errors lack Keystone's words."""

    responseCls = Answer  # type: ignore[assignment]

    def __init__(self, account: Account) -> None:
        self.account = account
        super().__init__(
            account.auth_url, account.user, "", token_scope=OpenStackIdentityTokenScope.UNSCOPED, timeout=account.timeout_seconds,
            proxy_url=account.proxy or None)

    def ask(self, body: str) -> tuple[str, Any]:
        """(token, answer) for the body of a login. Raises ServiceError."""
        answer = self.request("/v3/auth/tokens", data=body, method="POST")
        return answer.headers["x-subject-token"], answer.object

    def close(self) -> None:
        _close(self)


class _Service(_Tls):
    """A connection that takes token and address from the session that all threads share. Libcloud's log in one by one, and find their
    service by one fixed name (`nova`, `cinderv3`) and region."""

    service: ClassVar[str]
    responseCls = Answer
    driver: OpenStackDriver
    auth_token: str

    def connect(self, *arguments: Any, **named: Any) -> None:
        self.account = self.driver.account
        super().connect(*arguments, **named)

    def _populate_hosts_and_request_paths(self) -> None:
        session = self.driver.session
        address = session.address(self.service)
        self.auth_token = self.driver.used_token = session.current().token
        self._set_up_connection_info(url=address)  # type: ignore[attr-defined]

    def get_auth_class(self) -> _Service:
        """What Libcloud tells of a token that was refused; the session hears it from the one who repeats the request."""
        return self

    def clear_cached_auth_context(self) -> None:
        """See `get_auth_class`."""


class ComputeConnection(_Service, OpenStack_2_Connection):  # type: ignore[misc]
    service = "compute"


class ImageConnection(_Service, OpenStack_2_ImageConnection):  # type: ignore[misc]
    service = "image"


class NetworkConnection(_Service, OpenStack_2_NetworkConnection):  # type: ignore[misc]
    service = "network"


class VolumeConnection(_Service, OpenStack_2_VolumeV3Connection):  # type: ignore[misc]
    service = "volume"


class LoadBalancerConnection(_Service, OpenStack_2_NetworkConnection):  # type: ignore[misc]
    """Octavia, which Libcloud does not know."""

    service = "load_balancer"


class OpenStackDriver(OpenStack_2_NodeDriver):
    """For one thread; `session` is shared. `used_token` is what this thread's last request carried."""

    connectionCls = ComputeConnection
    image_connectionCls = ImageConnection
    network_connectionCls = NetworkConnection
    volumev2_connectionCls = VolumeConnection  # type: ignore[assignment]
    volumev3_connectionCls = VolumeConnection
    reservation_connectionCls = ComputeConnection  # type: ignore[assignment]

    def __new__(cls, account: Account, session: Session) -> OpenStackDriver:
        made: OpenStackDriver = object.__new__(cls)
        return made

    def __init__(self, account: Account, session: Session) -> None:
        self.account = account
        self.session = session
        self.used_token = ""
        arguments: dict[str, Any] = {
            "api_version": "2.2", "ex_force_auth_url": account.auth_url, "ex_force_auth_version": "3.x_password",
            "timeout": account.timeout_seconds, "proxy_url": account.proxy or None,
            "ex_force_microversion": f"compute {account.microversion}"}
        original = self.connectionCls
        self.connectionCls = LoadBalancerConnection  # type: ignore[assignment]
        super(OpenStack_2_NodeDriver, self).__init__("unused", "unused", **arguments)
        self.load_balancer_connection = self.connection
        self.connectionCls = original
        super().__init__("unused", "unused", **arguments)
        self.volume_connection = self.volumev3_connection

    def connection_of(self, service: str) -> Any:
        """The connection of a service, by our names."""
        return {
            "compute": self.connection, "image": self.image_connection, "network": self.network_connection,
            "volume": self.volumev3_connection, "load_balancer": self.load_balancer_connection,
        }[service]

    def node(self, cid: str) -> Node:
        """What Libcloud's calls want of a machine, without asking for it: they look at the id only."""
        return Node(cid, cid, NodeState.UNKNOWN, [], [], self)

    def _create_args_to_params(self, node: Any, **arguments: Any) -> dict[str, Any]:
        """Libcloud knows neither ports nor tags; and it turns `config_drive` into a text."""
        params: dict[str, Any] = super()._create_args_to_params(node, **arguments)
        if "ex_ports" in arguments:
            params["networks"] = [{"port": port} for port in arguments["ex_ports"]]
        if arguments.get("ex_tags"):
            params["tags"] = list(arguments["ex_tags"])
        if "config_drive" in params:
            params["config_drive"] = True
        return params

    def close(self) -> None:
        for connection in (
            self.connection, self.image_connection, self.network_connection, self.volumev3_connection, self.volumev2_connection,
            self.reservation_connection, self.load_balancer_connection,
        ):
            _close(connection)


def _close(connection: Any) -> None:
    """Libcloud's own `close` ends an answer only, and leaves the sockets open."""
    if connection.connection is not None:
        connection.connection.session.close()
