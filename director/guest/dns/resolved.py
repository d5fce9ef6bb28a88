"""systemd-resolved beside the resolver: it keeps /etc/resolv.conf and asks us for names of ours, at an interface that carries our address.

Source: DNS contract, section 7.2 (mode `configure_systemd_resolved`). The interface is all there is to undo: systemd-resolved forgets what
it was told of an interface together with it.
"""

from __future__ import annotations

import logging
import subprocess
from typing import Callable, Iterable, List, Sequence, Tuple

INTERFACE, PEER = "bosh-dns", "bosh-dns-peer"
MOST_ZONES = 1000
PATIENCE = 10.0

log = logging.getLogger("bosh-dns")

Run = Callable[[Sequence[str]], Tuple[int, str]]
"""A command to its exit code and what it complained of."""


def run(command: Sequence[str]) -> Tuple[int, str]:
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stderr.decode("utf-8", "replace").strip()


def add_address(address: str, run: Run = run) -> None:
    """The interface with the address; one that was left over is taken as it is. OSError when that fails.

    Of a kernel without dummy interfaces, as containers may have that can load no module, one end of a pair does: systemd-resolved wants an
    interface that is up, which one end is while the other is.
    """
    length = "128" if ":" in address else "32"
    if run(["ip", "link", "show", "dev", INTERFACE])[0] != 0 and run(["ip", "link", "add", INTERFACE, "type", "dummy"])[0] != 0:
        _must(run, ["ip", "link", "add", INTERFACE, "type", "veth", "peer", "name", PEER])
        _must(run, ["ip", "link", "set", "dev", PEER, "up"])
    _must(run, ["ip", "link", "set", "dev", INTERFACE, "up"])
    _must(run, ["ip", "address", "replace", "%s/%s" % (address, length), "dev", INTERFACE])


def release(run: Run = run) -> None:
    """The interface goes, and with it what systemd-resolved knows of us. Gone before is fine."""
    if run(["ip", "link", "show", "dev", INTERFACE])[0] == 0:
        code, why = run(["ip", "link", "delete", "dev", INTERFACE])
        if code:
            log.error("the interface %s stays: %s", INTERFACE, why)


class Resolved:
    """`keep` tells systemd-resolved which zones are ours, when they are others than before; names of others it asks elsewhere."""

    def __init__(self, address: str, run: Run = run) -> None:
        self._address = address
        self._run = run
        self._told: List[str] = []

    def keep(self, zones: Iterable[str]) -> None:
        wanted = sorted({"~" + zone for zone in zones if zone})
        if len(wanted) > MOST_ZONES:
            log.error("%d zones are too many for systemd-resolved; it is told of the first %d", len(wanted), MOST_ZONES)
            wanted = wanted[:MOST_ZONES]
        if wanted == self._told:
            return
        for command in (
            ["resolvectl", "dns", INTERFACE, self._address], ["resolvectl", "domain", INTERFACE, *wanted],
            ["resolvectl", "default-route", INTERFACE, "no"],
        ):
            code, why = self._run(command)
            if code:
                log.error("systemd-resolved was not told of us (%s): %s", " ".join(command[:2]), why)
                return
        self._told = wanted
        log.info("systemd-resolved asks us for %s", ", ".join(wanted[:20]))


def _must(run: Run, command: Sequence[str]) -> None:
    code, why = run(command)
    if code:
        raise OSError("`%s` failed: %s" % (" ".join(command), why))
