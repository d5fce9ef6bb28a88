"""Who may ask: this machine and the networks it is in, unless told otherwise. Strangers get less than they sent, or nothing."""

from __future__ import annotations

import ipaddress
import re
from typing import Callable, List, Sequence, Set, Tuple

from .records import packed_of

OWN, EVERYBODY = "own", "any"
MOST_KNOWN = 4096
LOOK_EVERY = 1.0
Network = Tuple[int, int, int]
"""Bytes of the address, the network's number, its mask."""

_LOOPBACK: Tuple[Network, ...] = ((4, 0x7F000000, 0xFF000000), (16, 1, (1 << 128) - 1))
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


class Access:
    """`allowed` holds networks and the word `own`, or `any`. What `own` means is read again when a stranger asks: networks come and go."""

    def __init__(self, allowed: Sequence[str], clock: Callable[[], float], own: "Callable[[], List[Network]] | None" = None) -> None:
        """ValueError for what is no network."""
        self._everybody = EVERYBODY in allowed
        self._fixed = [*_LOOPBACK, *(network_of(text) for text in allowed if text not in (OWN, EVERYBODY))]
        self._with_own = OWN in allowed
        self._own = own or own_networks
        self._clock = clock
        self._networks: List[Network] = list(self._fixed)
        self._looked = float("-inf")
        self.known: Set[str] = set()
        """Addresses that were found to be allowed; the loop over datagrams looks here first."""

    def admits(self, address: str) -> bool:
        if address in self.known:
            return True
        if not self._everybody and not self._inside(address):
            if not self._with_own or self._clock() - self._looked < LOOK_EVERY:
                return False
            self._looked = self._clock()
            self._networks = [*self._fixed, *self._own()]
            self.known.clear()
            if not self._inside(address):
                return False
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known.add(address)
        return True

    def _inside(self, address: str) -> bool:
        packed = packed_of(address.partition("%")[0])
        number = int.from_bytes(packed, "big")
        return any(len(packed) == size and number & mask == network for size, network, mask in self._networks)


def network_of(text: str) -> Network:
    """ValueError for what is none."""
    network = ipaddress.ip_network(text, strict=False)
    return network.max_prefixlen // 8, int(network.network_address), int(network.netmask)


def own_networks(folder: str = "/proc/net") -> List[Network]:
    """This machine's addresses and the networks that it reaches without a router."""
    found: List[Network] = []
    for line in _lines(folder + "/route")[1:]:
        words = line.split()
        if len(words) > 7:
            destination, gateway, mask = (int.from_bytes(bytes.fromhex(words[column]), "little") for column in (1, 2, 7))
            if not gateway and mask:
                found.append((4, destination, mask))
    for match in _LOCAL.finditer("\n".join(_lines(folder + "/fib_trie"))):
        found.append(network_of(match.group(1)))
    for line in _lines(folder + "/ipv6_route"):
        words = line.split()
        if len(words) > 4 and not int(words[4], 16) and int(words[1], 16) and not words[0].startswith("ff"):
            length = int(words[1], 16)
            found.append((16, int(words[0], 16), ((1 << length) - 1) << (128 - length)))
    return found


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []  # A machine without IPv6, or without /proc.
