"""The resolver as a process: files read again when they change, the host's settings kept, sockets served until it is told to stop.

Source: DNS contract, sections 1 (step 7), 5 and 7.2.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import selectors
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import host
from .aliases import Aliases, BadAliases
from .cache import Cache
from .local import Local
from .records import BadRecords, Records, load
from .server import Loop, Resolver
from .settings import BadSettings, Settings
from .upstream import Server, Upstream

LOOK_EVERY = 0.2
HOST_EVERY = 1.0
_Mark = Tuple[int, int, int]

log = logging.getLogger("bosh-dns")


class Service:
    """`start`, then `turn` again and again, then `stop`."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._own = [address for address, _ in settings.listen]
        self._records = Records()
        self._mark: Optional[_Mark] = None
        self._file_aliases: Dict[str, Any] = {}
        self._alias_marks: Dict[str, Optional[_Mark]] = {}
        self._looked = self._cared = 0.0
        self.upstream: Optional[Upstream] = None
        if not settings.disable_recursors:
            self.upstream = Upstream(
                self._selector, clock, self._recursors(), timeout=settings.recursor_timeout, smart=settings.recursor_selection == "smart"
            )
        self._local = self._made(Records(), {})
        self.resolver = Resolver(self._local, self.upstream, Cache(clock) if settings.cache else None)
        self._loop = Loop(self.resolver, self._selector, self.upstream, clock=clock)

    def _made(self, records: Records, aliases: Dict[str, Any]) -> Local:
        # Without recursors there is nobody to ask about other addresses: reverse names are refused as a whole.
        return Local(
            records, Aliases(aliases, records), upchecks=self._settings.upcheck_domains, reverse=not self._settings.disable_recursors
        )

    def start(self) -> List[Server]:
        """Listens, then takes the name server's place. Returns what it listens on. OSError, BadSettings."""
        self._reload(first=True)
        taken = []
        for server in self._settings.listen:
            if server[1] == 53:
                host.add_address(server[0])
            try:
                taken.append(self._loop.listen(server))
            except OSError as error:
                raise OSError("cannot listen on %s:%d: %s" % (*server, error)) from error
        self._care()
        return taken

    def turn(self) -> None:
        self._loop.turn()
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._reload()
        if now - self._cared >= HOST_EVERY:
            self._cared = now
            self._care()

    def stop(self) -> None:
        if self._settings.override_nameserver:
            host.give_back(self._settings.resolv_conf, self._own)
        self._loop.close()
        if self.upstream is not None:
            self.upstream.close()
        self._selector.close()

    def _care(self) -> None:
        """Others write /etc/resolv.conf too: our line comes back, and their servers become our recursors."""
        try:
            if self._settings.override_nameserver and host.take_over(self._settings.resolv_conf, self._own[0]):
                log.info("%s is now the first name server of %s", self._own[0], self._settings.resolv_conf)
        except OSError as error:
            log.error("%s could not be changed: %s", self._settings.resolv_conf, error)
        if self.upstream is not None:
            self.upstream.use(self._recursors())

    def _recursors(self) -> List[Server]:
        if self._settings.recursors:
            return list(self._settings.recursors)
        left_out = {*self._own, *self._settings.excluded_recursors, "127.0.0.1"}
        return [(address, 53) for address in host.nameservers(host.read(self._settings.resolv_conf)) if address not in left_out]

    def _reload(self, first: bool = False) -> None:
        changed = self._read_records() | self._read_aliases()
        if not changed and not first:
            return
        try:
            self.resolver.replace(self._made(self._records, {**self._file_aliases, **self._settings.aliases}))
        except BadAliases as error:
            if first:
                raise BadSettings(str(error)) from error
            log.error("aliases stay as they were: %s", error)

    def _read_records(self) -> bool:
        mark = _mark_of(self._settings.records)
        if mark is None or mark == self._mark:
            return False
        self._mark = mark
        try:
            with open(self._settings.records, encoding="utf-8") as file:
                records = load(file.read())
        except (OSError, UnicodeDecodeError, BadRecords) as error:
            log.error("%s: %s; version %d stays in use", self._settings.records, error, self._records.version)
            return False
        for warning in records.warnings[:20]:
            log.warning("%s: %s", self._settings.records, warning)
        self._records = records
        log.info("records of version %d: %d of instances", records.version, records.count)
        return True

    def _read_aliases(self) -> bool:
        marks = {path: _mark_of(path) for path in sorted(glob.glob(self._settings.alias_files))} if self._settings.alias_files else {}
        if marks == self._alias_marks:
            return False
        self._alias_marks = marks
        aliases: Dict[str, Any] = {}
        for path in marks:
            try:
                with open(path, encoding="utf-8") as file:
                    tree = json.load(file)
                if not isinstance(tree, dict):
                    raise ValueError("no JSON object")
            except (OSError, ValueError) as error:
                log.error("aliases of %s are left out: %s", path, error)
                continue
            # The first file that names an alias has the say.
            aliases = {**tree, **aliases}
        self._file_aliases = aliases
        return True


def _mark_of(path: str) -> Optional[_Mark]:
    """Changes when the file is replaced or written."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
