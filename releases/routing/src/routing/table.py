"""Which endpoints serve which URI, and until when.

Source: the foundation contract, section 8.1.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Set

PRUNE_AFTER = 120.0

# Keys travel in commands to HAProxy, where `;`, blanks and backslashes have a meaning of their own.
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PATH = re.compile(r"[A-Za-z0-9._~%!$&'()*+,=:@/-]*")


class Endpoint(NamedTuple):
    """Where a request goes: the address of an instance and its port."""

    host: str
    port: int

    @property
    def name(self) -> str:
        """The server's name in HAProxy; it holds all there is to know, so that a live HAProxy can be read back."""
        return "%s_%d" % (self.host.replace(":", "-"), self.port)

    @classmethod
    def from_name(cls, name: str) -> Endpoint:
        host, port = name.rsplit("_", 1)
        return cls(host.replace("-", ":"), int(port))


class BadRoute(Exception):
    """A message names no usable endpoint or URI."""


def key_of(uri: str) -> str:
    """The map's key: host in lower case without port, path, one slash at the end, so that prefixes end at segments."""
    host, _, path = uri.partition("/")
    host = host.partition(":")[0].lower()
    path = path.strip("/")
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise BadRoute("URI %r has no host or characters that none may have" % uri)
    return "%s/%s/" % (host, path) if path else host + "/"


def endpoint_of(message: Mapping[str, Any]) -> Endpoint:
    try:
        host = str(ipaddress.ip_address(message["host"]))
        port = int(message["port"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRoute("host must be an IP address and port a number: %s" % error) from error
    if not 0 < port < 65536:
        raise BadRoute("port %d is out of range" % port)
    return Endpoint(host, port)


def keys_of(message: Mapping[str, Any]) -> List[str]:
    uris = message.get("uris")
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise BadRoute("uris must be a list of texts")
    return [key_of(uri) for uri in uris]


class Table:
    """Times are seconds of the caller's clock. Methods answer the keys whose endpoints changed."""

    def __init__(self) -> None:
        self._routes: Dict[str, Dict[Endpoint, float]] = {}

    def endpoints(self, key: str) -> Set[Endpoint]:
        return set(self._routes.get(key, ()))

    def keys(self) -> List[str]:
        return list(self._routes)

    def register(self, key: str, endpoint: Endpoint, now: float, keep: float = PRUNE_AFTER) -> bool:
        endpoints = self._routes.setdefault(key, {})
        new = endpoint not in endpoints
        endpoints[endpoint] = now + keep
        return new

    def unregister(self, key: str, endpoint: Endpoint) -> bool:
        endpoints = self._routes.get(key, {})
        known = endpoints.pop(endpoint, None) is not None
        if known and not endpoints:
            del self._routes[key]
        return known

    def prune(self, now: float) -> Set[str]:
        stale = [(key, endpoint) for key, endpoints in self._routes.items() for endpoint, until in endpoints.items() if until <= now]
        for key, endpoint in stale:
            self.unregister(key, endpoint)
        return {key for key, _ in stale}

    def postpone(self, seconds: float) -> None:
        """Gives every route that much more time, for time in which no refresh could have arrived."""
        for endpoints in self._routes.values():
            for endpoint in endpoints:
                endpoints[endpoint] += seconds
