"""Handlers of single domains, as jobs or the operator describe them. Source: DNS contract, section 9."""

from __future__ import annotations

from typing import Any, Callable, Iterable, List, Mapping, Optional, Sequence

from .cache import Cache
from .forwarding import Forwarder
from .handlers import Handler
from .handlers.deny import Deny
from .handlers.forward import Forward
from .handlers.http import Http
from .loop import Loop
from .servers import Server, server_of
from .upstream import Pool
from .web import WebPool
from .wire import NXDOMAIN, REFUSED, Labels, labels_of

_CODES = {"NXDOMAIN": NXDOMAIN, "REFUSED": REFUSED}


class BadHandlers(Exception):
    """A handler that cannot be made; the text names its domain and says why."""


class Domains:
    """Makes handlers; `pool` makes what asks name servers, `cache` what remembers their answers."""

    def __init__(self, loop: Loop, pool: Callable[[Sequence[Server]], Pool], cache: Callable[[], Cache], *, denies_failures: bool) -> None:
        self._loop = loop
        self._pool = pool
        self._cache = cache
        self._denies_failures = denies_failures

    def make(self, specs: Iterable[Any]) -> List[Handler]:
        """In the order of `specs`. Raises BadHandlers with all that is wrong."""
        handlers: List[Handler] = []
        problems: List[str] = []
        for spec in specs:
            if not isinstance(spec, dict) or not isinstance(spec.get("domain"), str) or not labels_of(spec["domain"]):
                problems.append("a handler has no domain: %s" % (spec,))
                continue
            try:
                handlers.append(self._one(labels_of(spec["domain"]), spec))
            except ValueError as error:
                problems.append('Configuring handler for "%s": %s' % (spec["domain"], error))
        if problems:
            raise BadHandlers("; ".join(problems))
        return handlers

    def _one(self, zone: Labels, spec: Mapping[str, Any]) -> Handler:
        source = spec.get("source")
        if not isinstance(source, dict):
            raise ValueError("Unexpected handler source type: ")
        kind = source.get("type")
        if kind == "deny":
            response = source.get("response") or "NXDOMAIN"
            if response not in _CODES:
                raise ValueError('Invalid response type "%s", must be NXDOMAIN or REFUSED' % response)
            return Deny(zone, _CODES[response])
        if kind == "dns":
            if not source.get("recursors"):
                raise ValueError("No recursors present")
            pool = self._pool([server_of(str(text)) for text in source["recursors"]])
            return Forward(zone, Forwarder(self._loop, pool, self._cache_of(spec), denies_failures=self._denies_failures))
        if kind == "http":
            url = source.get("url")
            if not isinstance(url, str) or not url.startswith(("http://", "https://")):
                raise ValueError("HTTP handler must receive a URL")
            return Http(zone, Forwarder(self._loop, WebPool(self._loop, url), self._cache_of(spec)))
        raise ValueError("Unexpected handler source type: %s" % kind)

    def _cache_of(self, spec: Mapping[str, Any]) -> Optional[Cache]:
        cache = spec.get("cache")
        return self._cache() if isinstance(cache, dict) and cache.get("enabled") else None
