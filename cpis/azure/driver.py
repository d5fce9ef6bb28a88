"""Libcloud's driver, made to speak to any Azure, and one for each thread.

What of Libcloud 3.9.1's connection is wrong, and so replaced here (CPI contract, sections 5 and 7.2):

* `host`, `port` and `secure` are ignored, and tokens are asked at port 443 whatever the endpoint says;
* only a client's secret is known, no certificate and no managed identity, and each driver asks for a token of its own;
* 204, the answer to the deletion of what is gone, is an error;
* of a 429 only the number stays, and `Retry-After` as a date is a ValueError;
* the certificates to trust are a global of the module.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from libcloud.common.azure_arm import AzureJsonResponse, AzureResourceManagementConnection
from libcloud.common.types import MalformedResponseError
from libcloud.compute.drivers.azure_arm import AzureNodeDriver
from libcloud.http import LibcloudConnection

from cpis.azure.errors import answered
from cpis.azure.login import Tokens
from cpis.azure.settings import Place, Settings
from cpis.cloud.drivers import PerThread

# The metadata service is on the same host; where there is none, nothing answers.
_METADATA_SECONDS = 5


class Trust:
    """The file with the certificates that a connection trusts; empty for the usual ones. PEM text is written to one of its own."""

    def __init__(self, ca_cert: str) -> None:
        self._ca_cert = ca_cert
        self._lock = threading.Lock()
        self._written = ""

    def path(self) -> str:
        if "-----BEGIN" not in self._ca_cert:
            return self._ca_cert
        with self._lock:
            if not self._written:
                descriptor, self._written = tempfile.mkstemp(prefix="caisson-ca-", suffix=".pem")
                with os.fdopen(descriptor, "w") as stream:
                    stream.write(self._ca_cert)
            return self._written

    def close(self) -> None:
        with self._lock:
            if self._written:
                os.unlink(self._written)
                self._written = ""


def connected(url: str, place: Place, trust: Trust, *, proxied: bool = True) -> LibcloudConnection:
    """A connection to the server of a URL, with the config's trust, proxy and time-out."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    more = {"proxy_url": place.proxy_url} if place.proxy_url and proxied else {}
    found = LibcloudConnection(
        parts.hostname, parts.port or (443 if secure else 80), secure=secure, timeout=place.timeout, **more)
    if trust.path():
        found.ca_cert = trust.path()
    return found


class Response(AzureJsonResponse):
    """An answer of ARM. An error keeps Azure's code and all headers."""

    def success(self) -> bool:
        return 200 <= self.status < 300

    def parse_error(self) -> str:
        raise answered(self.status, self.body or "", self.headers)

    def parse_body(self) -> Any:
        found = super().parse_body()
        if not isinstance(found, str | dict | list):
            raise MalformedResponseError("neither an object nor a list", body=self.body, driver=None)
        return found or {}


class Connection(AzureResourceManagementConnection):
    """One thread's connection to ARM."""

    responseCls = Response

    def __init__(self, *args: Any, place: Place, tokens: Tokens, trust: Trust, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        url = urlsplit(place.arm)
        self.secure = int(url.scheme == "https")
        self.host, self.port = str(url.hostname), url.port or (443 if self.secure else 80)
        self.request_path = url.path.rstrip("/")
        self.place = place
        self.tokens = tokens
        self.trust = trust
        self.used_token = ""

    def get_token_from_credentials(self) -> None:
        """Tokens are shared by all threads."""
        self.access_token = self.used_token = self.tokens.get()
        self.expires_on = self.tokens.expires_at

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is asked before there is something to ask: the first request gets the token."""
        self.connection = connected(self.place.arm, self.place, self.trust)

    def request(self, action: str, *args: Any, **kwargs: Any) -> Any:
        self.get_token_from_credentials()
        return super().request(action, *args, **kwargs)

    def close(self) -> None:
        if self.connection is not None and self.connection.session is not None:
            self.connection.session.close()


class Driver(AzureNodeDriver):
    """Libcloud's driver over our connection."""

    connectionCls = Connection  # type: ignore[assignment]

    def __init__(self, settings: Settings, tokens: Tokens, trust: Trust) -> None:
        self._more = {"place": settings.place, "tokens": tokens, "trust": trust}
        super().__init__(
            tenant_id="", subscription_id=settings.subscription, key="caisson", secret="", region=settings.config.get("location"),
            cloud_environment=settings.place.libcloud)

    @property
    def line(self) -> Connection:
        """The connection, by its own type."""
        found: Any = self.connection
        assert isinstance(found, Connection)
        return found

    def _ex_connection_class_kwargs(self) -> dict[str, Any]:
        return {**super()._ex_connection_class_kwargs(), **self._more}


class Drivers:
    """A driver for each thread, with the tokens that they share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.trust = Trust(settings.place.ca_cert)
        self.tokens = Tokens(settings, self._send)
        self._each: PerThread[Driver] = PerThread(
            lambda: Driver(settings, self.tokens, self.trust), lambda driver: driver.line.close())

    def get(self) -> Driver:
        """This thread's."""
        return self._each.get()

    def _send(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, str]:
        place = self._settings.place
        to_login = url.startswith(place.login)
        connection = connected(url, place, self.trust if to_login else Trust(""), proxied=to_login)
        if not to_login and connection.session is not None:
            connection.session.timeout = _METADATA_SECONDS  # type: ignore[attr-defined]
        try:
            parts = urlsplit(url)
            connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, dict(headers))
            response = connection.getresponse()
            return int(response.status_code), str(response.text)
        finally:
            if connection.session is not None:
                connection.session.close()

    def close(self) -> None:
        self._each.close()
        self.trust.close()
