"""The resolver as a process: all parts put together, files read again when they change, the host's settings kept.

Source: DNS contract, sections 1 (step 7), 5, 7 and 9.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, List, Optional, Sequence

from . import host
from .access import Access
from .aliases import Aliases, BadAliases, follows_instances
from .cache import Cache
from .chain import Chain, Parts
from .control import Control
from .datagrams import Datagrams
from .domains import BadHandlers, Domains
from .files import JobFiles
from .forwarding import Forwarder
from .handlers import Handler
from .handlers.recursion import Recursion
from .health import Health, Off
from .instances import Instances
from .limits import Limiter
from .listening import Sockets, open_all
from .loading import loading
from .lookup import Lookup
from .loop import Loop
from .peers.keys import Ring
from .records import Records
from .resolved import Resolved
from .sealed import Seal
from .server import Resolver
from .servers import Server, Servers
from .settings import BadSettings, Settings
from .sources import FileSource, RecordSource
from .streams import Streams
from .upstream import Pool

LOOK_EVERY = 0.2
HOST_EVERY = 1.0
REFRESH = 30.0
"""Prepared answers that depend on health are made anew this often, so that health knows who is still asked for."""

log = logging.getLogger("bosh-dns")


class Service:
    """`start`, then `turn` again and again, then `stop`. Records and health come from whoever is given, else from the file and nobody."""

    def __init__(
        self, settings: Settings, loop: Optional[Loop] = None, *, source: Optional[RecordSource] = None, health: Optional[Health] = None,
    ) -> None:
        """Raises BadSettings for aliases and handlers that cannot be used."""
        self.settings = settings
        self.loop = loop or Loop()
        self.source: RecordSource = source or FileSource(
            settings.records, accept_older=settings.accept_older_records,
            reading=Seal(Ring(settings.keys), settings.records_word).reading if settings.records_word else loading)
        self._instances = Instances(settings, self.loop, lambda: self.source.records) if settings.health and health is None else None
        self.health: Health = health or self._instances or Off()
        self._own = [address for address, _ in settings.listen]
        self._nameserver = settings.nameserver or self._own[0]
        self._resolved = Resolved(self._own[0]) if settings.configure_systemd_resolved else None
        self._alias_files = JobFiles(settings.alias_files, dict)
        self._handler_files = JobFiles(settings.handler_files, list)
        self.access = Access(settings.access, self.loop.clock)
        self.limiter = Limiter(settings.rate_limit, self.loop.clock) if settings.rate_limit else None
        self.servers = Servers(self._recursors(), self.loop.clock, smart=settings.recursor_selection == "smart")
        self.forwarder: Optional[Forwarder] = None
        if not settings.disable_recursors:
            self.forwarder = Forwarder(
                self.loop, self._pool_of(self.servers), self._cache() if settings.cache else None, denies_failures=self._denies_failures)
        self._recursion = Recursion(self.forwarder) if self.forwarder is not None else None
        self._domains = Domains(
            self.loop, lambda servers: self._pool_of(Servers(servers, self.loop.clock)), self._cache,
            denies_failures=self._denies_failures)
        self._handler_files.changed()
        self._alias_files.changed()
        try:
            self._handlers: List[Handler] = self._domains.make(self._specs())
            self._aliases = Aliases(self._named(), Records())
        except (BadHandlers, BadAliases) as error:
            raise BadSettings(str(error)) from error
        self.resolver = Resolver(self._chain(Records()))
        self.control = Control(self.loop, self)
        self.datagrams: List[Datagrams] = []
        self.streams: List[Streams] = []

    @property
    def _denies_failures(self) -> bool:
        return self.settings.recursor_failure == "NXDOMAIN"

    def _cache(self) -> Cache:
        return Cache(self.loop.clock, self.settings.cache_entries, self.settings.cache_stale_seconds)

    def _pool_of(self, servers: Servers) -> Pool:
        settings = self.settings
        return Pool(
            self.loop, servers, timeout=settings.recursor_timeout, retries=settings.recursor_max_retries,
            parallel=settings.recursor_parallel, mixed_case=settings.recursor_mixed_case)

    def _chain(self, records: Records) -> Chain:
        lookup = Lookup(records, self._aliases, self.health, self.loop.later, self.settings.synchronous_check_timeout)
        return Chain(Parts(lookup, self.settings.upcheck_domains, self._recursion, self._handlers))

    def start(self, sockets: Optional[Sequence[Sockets]] = None) -> List[Server]:
        """Reads records, serves, then takes the name server's place. Returns what it listens on. OSError."""
        taken = open_all(self.settings) if sockets is None else sockets
        if self._instances is not None:
            self._instances.start()
        self.source.start(self.loop, self._records_changed)
        self._records_changed()
        self.health.subscribe(self.resolver.forget)
        for datagram, stream in taken:
            self.datagrams.append(Datagrams(
                self.loop, datagram, self.resolver, self.access, limiter=self.limiter, silent=self.settings.strangers == "drop"))
            self.streams.append(Streams(self.loop, stream, self.resolver, self.access))
        if self.settings.metrics is not None:
            self.control.listen_tcp(*self.settings.metrics)
        if self.settings.control:
            self.control.listen_unix(self.settings.control)
        self._care()
        self.loop.every(LOOK_EVERY, self._look)
        self.loop.every(HOST_EVERY, self._care)
        if self.health.enabled:
            self.loop.every(REFRESH, self.resolver.forget)
        return [stream.getsockname()[:2] for _, stream in taken]

    def turn(self) -> None:
        self.loop.turn()

    def stop(self) -> None:
        if self.settings.override_nameserver:
            host.give_back(self.settings.resolv_conf, [*self._own, self._nameserver])
        self.control.close()
        if self._instances is not None:
            self._instances.close()
        for streams in self.streams:
            streams.close()
        if self.forwarder is not None:
            self.forwarder.pool.close()
        self.loop.close()

    def _care(self) -> None:
        """Others write /etc/resolv.conf too: our line comes back, and their servers become our recursors."""
        if self._resolved is not None:
            self._resolved.keep(self.resolver.chain.names)
        try:
            if self.settings.override_nameserver and host.take_over(self.settings.resolv_conf, self._nameserver):
                log.info("%s is now the first name server of %s", self._nameserver, self.settings.resolv_conf)
        except OSError as error:
            log.error("%s could not be changed: %s", self.settings.resolv_conf, error)
        self.servers.use(self._recursors())

    def _recursors(self) -> List[Server]:
        left_out = {*self._own, *self.settings.excluded_recursors, "127.0.0.1"}
        if self.settings.recursors:
            excluded = set(self.settings.excluded_recursors)
            return [server for server in self.settings.recursors if server[0] not in excluded]
        return [(address, 53) for address in host.nameservers(host.read(self.settings.resolv_conf)) if address not in left_out]

    def _records_changed(self) -> None:
        records = self.source.records
        # Aliases hold on to records only where each instance has an alias of its own.
        if records.raw_aliases or self.resolver.chain.parts.lookup.records.raw_aliases or follows_instances(records):
            self._try_aliases()
        self.resolver.replace(self._chain(records))
        self.health.renewed(self.resolver.chain.parts.lookup.followed)

    def _named(self) -> Dict[str, Any]:
        """Aliases of files and settings: settings win, then the first file that names one has the say."""
        named: Dict[str, Any] = {}
        for _, tree in self._alias_files.contents:
            named = {**tree, **named}
        return {**named, **self.settings.aliases}

    def _specs(self) -> List[Any]:
        return [*self.settings.handlers, *(spec for _, specs in self._handler_files.contents for spec in specs)]

    def _look(self) -> None:
        changed = False
        if self._alias_files.changed():
            changed = self._try_aliases()
        if self._handler_files.changed():
            try:
                self._handlers = self._domains.make(self._specs())
                changed = True
            except BadHandlers as error:
                log.error("handlers stay as they were: %s", error)
        if changed:
            self.resolver.replace(self._chain(self.source.records))

    def _try_aliases(self) -> bool:
        try:
            self._aliases = Aliases(self._named(), self.source.records)
        except BadAliases as error:
            log.error("aliases stay as they were: %s", error)
            return False
        return True
