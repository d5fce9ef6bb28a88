"""Names on this computer. Each carries a short hash of the director's state folder, so that directors do not collide."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from ipaddress import IPv4Network
from pathlib import Path


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@dataclasses.dataclass(frozen=True)
class Names:
    """All names that one director uses. Interface names have at most 15 characters."""

    state_dir: Path

    @property
    def mark(self) -> str:
        return _short(os.path.realpath(self.state_dir), 5)

    def bridge(self, subnet: IPv4Network) -> str:
        return f"cb{self.mark}{_short(str(subnet), 6)}"

    def veth(self, cid: str, index: int) -> str:
        return f"cv{self.mark}{_short(f'{cid}/{index}', 7)}"

    @property
    def namespaces(self) -> str:
        """What the names of all network namespaces of this director begin with."""
        return f"caisson-{self.mark}-"

    def namespace(self, cid: str) -> str:
        return f"{self.namespaces}{cid}"

    def machine(self, cid: str) -> str:
        """What systemd-nspawn calls the machine; it keeps a folder by this name for the whole computer."""
        return f"{self.namespaces}{cid}"

    @property
    def table(self) -> str:
        """The nftables table, and the comment on iptables rules."""
        return f"caisson_{self.mark}"

    @property
    def group(self) -> str:
        """The control group, or slice, that holds the machines' own."""
        return f"caisson-{self.mark}"

    def unit(self, cid: str) -> str:
        return f"{self.group}-{cid}.service"

    @property
    def devices(self) -> Path:
        """Where device nodes of machines are made: below /dev, since other file systems may be mounted without devices."""
        return Path("/dev/caisson") / self.mark
