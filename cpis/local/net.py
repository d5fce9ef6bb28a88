"""Networks of machines: one bridge per subnet, one network namespace per machine, a way out through the host."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from cpis.contract import Conflict, Invalid, Network, NotSupported
from cpis.local.names import Names
from cpis.local.records import locked
from cpis.local.run import CommandFailed, environment, run

# One lock for the whole computer: two directors that want the same range must not both find it free.
HOST_LOCK = Path("/run/caisson.lock")
_ALIAS_LIMIT = 255


@dataclasses.dataclass(frozen=True)
class Subnet:
    """A range with the host's own address in it."""

    range: IPv4Network
    host: IPv4Address

    @classmethod
    def of(cls, network: Network) -> Subnet:
        """The subnet of a machine's network. Raises Invalid, NotSupported."""
        if network.type == "vip":
            raise NotSupported("this computer has no floating addresses (network type vip)", resource=network.name)
        if ":" in network.ip or ":" in network.gateway:
            raise NotSupported("machines on this computer have IPv4 addresses only", resource=network.name)
        try:
            span = network.cloud_properties.get("range") or f"{network.ip or network.gateway}/{network.prefix_length}"
            subnet = IPv4Network(span, strict=False)
            host = IPv4Address(network.gateway) if network.gateway else subnet[1]
            address = IPv4Address(network.ip) if network.ip else None
        except (AddressValueError, ValueError) as error:
            raise Invalid(f"network '{network.name}': {error}", resource=network.name) from error
        if not 8 <= subnet.prefixlen <= 30:
            raise Invalid(f"network '{network.name}': {subnet} is not between /8 and /30", resource=network.name)
        if host not in subnet or host in (subnet.network_address, subnet.broadcast_address):
            raise Invalid(f"network '{network.name}': the gateway {host} is no host address of {subnet}", resource=network.name)
        if address is not None:
            if address not in subnet or address in (subnet.network_address, subnet.broadcast_address):
                raise Invalid(f"network '{network.name}': {address} is no host address of {subnet}", resource=network.name)
            if address == host:
                raise Conflict(f"network '{network.name}': {address} is the gateway of {subnet}", resource=str(address))
        return cls(subnet, host)


def mac_of(ip: str) -> str:
    """A MAC address that follows from the address, so that no neighbour keeps a stale one when a machine is made anew."""
    return "02:ca:" + ":".join(f"{int(part):02x}" for part in ip.split("."))


def name_servers() -> list[str]:
    """The host's own resolvers that a machine can reach, too."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        with contextlib.suppress(OSError):
            lines = [line.split() for line in Path(path).read_text().splitlines()]
            found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
            if reachable := [server for server in found if not server.startswith(("127.", "::1"))]:
                return reachable
    return []


class Net:
    """Makes and removes networks of one director. All methods can be repeated; each ends in the state that it names."""

    def __init__(self, names: Names, owner: str, checkpoint: Callable[[str], None]) -> None:
        """`owner` is told to other directors that want the same range."""
        self._names = names
        self._owner = owner
        self._checkpoint = checkpoint
        self._nat: str | None = None
        self._ready: set[str] = set()

    def ensure_bridge(self, subnet: Subnet) -> str:
        """Make the bridge of a subnet, with the way out. Raises Conflict when someone else on this computer has the range."""
        bridge = self._names.bridge(subnet.range)
        if f"{bridge} {subnet.host}" in self._ready and Path("/sys/class/net", bridge).exists():
            return bridge
        with locked(HOST_LOCK):
            links = _links()
            held = self._check_free(subnet, bridge, links)
            if not held:
                self._checkpoint("bridge")
                alias = f"caisson {self._owner} {subnet.range}"[:_ALIAS_LIMIT]
                # An address of its own: else it takes that of a port, another one whenever machines come and go, and all who remember
                # the old one send into the void until they ask again, for a quarter of a minute.
                made = any(link["ifname"] == bridge for link in links)
                batch = [] if made else [f"link add {bridge} address {mac_of(str(subnet.host))} type bridge"]
                batch += [f"addr replace {subnet.host}/{subnet.range.prefixlen} dev {bridge}", f"link set {bridge} mtu {_mtu()} up"]
                _batch(batch)
                run(["ip", "link", "set", bridge, "alias", alias])
            self._checkpoint("way-out")
            self._ensure_way_out(bridge, subnet)
            self._ready.add(f"{bridge} {subnet.host}")
        return bridge

    def _check_free(self, subnet: Subnet, bridge: str, links: Sequence[dict[str, Any]]) -> bool:
        """Whether our bridge is whole already."""
        whole = False
        for link in links:
            for info in link.get("addr_info", ()):
                if info.get("family") != "inet":
                    continue
                theirs = IPv4Network(f"{info['local']}/{info['prefixlen']}", strict=False)
                if link["ifname"] == bridge:
                    if IPv4Address(info["local"]) != subnet.host:
                        text = f"{subnet.range} has the gateway {info['local']} already, not {subnet.host}"
                        raise Conflict(text, resource=str(subnet.range))
                    whole = bool(_alias(bridge)) and "UP" in link.get("flags", ())
                elif theirs.overlaps(subnet.range) and theirs.prefixlen != 32:
                    alias = _alias(link["ifname"])
                    ours = alias.startswith("caisson ")
                    holder = alias.removeprefix("caisson ") if ours else f"the interface {link['ifname']} ({theirs})"
                    raise Conflict(
                        f"the range {subnet.range} is held by {holder}", resource=str(subnet.range),
                        suggestion="take another range in the cloud config, or delete what holds it",
                    )
        return whole

    def _ensure_way_out(self, bridge: str, subnet: Subnet) -> None:
        """Let machines out through the host (when it has a way out itself), and between bridges."""
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        if forward.read_text().strip() != "1":
            forward.write_text("1\n")
        if self._nat is None:
            self._nat = _nat_tool()
        table = self._names.table
        if self._nat == "nft":
            text = (
                f"table ip {table} {{ set ranges {{ type ipv4_addr; flags interval; }}; "
                "chain out { type nat hook postrouting priority 100; policy accept; }; }\n"
                f"flush chain ip {table} out\n"
                f"add element ip {table} ranges {{ {subnet.range} }}\n"
                f"add rule ip {table} out ip saddr @ranges ip daddr != @ranges masquerade\n"
            )
            run(["nft", "-f", "-"], stdin=text)
        elif self._nat == "iptables":
            _iptables_once("nat", "POSTROUTING", ["-s", str(subnet.range), "!", "-o", "cb+", *_comment(table), "-j", "MASQUERADE"])
        # A container engine on this host may have closed forwarding; only then rules of ours are needed in its chain.
        if _forwarding_closed():
            _iptables_once("filter", "FORWARD", ["-i", bridge, *_comment(table), "-j", "ACCEPT"])
            _iptables_once("filter", "FORWARD", ["-o", bridge, *_comment(table), "-j", "ACCEPT"])

    def remove_bridge(self, subnet: IPv4Network) -> None:
        """Take a bridge away; with the last one goes the table."""
        bridge = self._names.bridge(subnet)
        with locked(HOST_LOCK):
            self._ready.clear()
            self._checkpoint("remove-bridge")
            _quietly(["ip", "link", "delete", bridge])
            if any(link["ifname"].startswith(f"cb{self._names.mark}") for link in _links()):
                if shutil.which("nft", path=environment()["PATH"]):
                    _quietly(["nft", "delete", "element", "ip", self._names.table, "ranges", f"{{ {subnet} }}"])
                _iptables_clean(self._names.table, only=(bridge, str(subnet)))
            else:
                self._remove_tables()

    def _remove_tables(self) -> None:
        if shutil.which("nft", path=environment()["PATH"]):
            _quietly(["nft", "delete", "table", "ip", self._names.table])
        _iptables_clean(self._names.table)

    def ensure_namespace(self, cid: str, networks: Sequence[tuple[Network, Subnet]]) -> str:
        """Make the machine's namespace anew, with an interface per network."""
        namespace = self._names.namespace(cid)
        self.remove_namespace(cid, len(networks))
        self._checkpoint("namespace")
        gateway = next((n for n, _ in networks if "gateway" in n.default), networks[0][0])
        mtu = _mtu()
        outside, inside = [f"netns add {namespace}"], ["link set lo up"]
        for index, (network, subnet) in enumerate(networks):
            veth = self._names.veth(cid, index)
            peer = f"peer name eth{index} mtu {mtu} address {mac_of(network.ip)} netns {namespace}"
            outside += [f"link add {veth} mtu {mtu} type veth {peer}", f"link set {veth} master {self._names.bridge(subnet.range)} up"]
            inside += [f"addr add {network.ip}/{subnet.range.prefixlen} broadcast + dev eth{index}", f"link set eth{index} up"]
            if network is gateway and network.gateway:
                inside.append(f"route add default via {network.gateway}")
        _batch(outside)
        self._checkpoint("addresses")
        _batch(inside, namespace)
        return namespace

    def remove_namespace(self, cid: str, interfaces: int) -> None:
        """Take the machine's namespace and interfaces away."""
        present = {entry.name for entry in os.scandir("/sys/class/net")}
        veths = [name for index in range(max(interfaces, 1)) if (name := self._names.veth(cid, index)) in present]
        if veths:
            self._checkpoint("remove-interfaces")
            for veth in veths:
                _quietly(["ip", "link", "delete", veth])
        namespace = self._names.namespace(cid)
        if Path("/run/netns", namespace).exists():
            self._checkpoint("remove-namespace")
            run(["ip", "netns", "delete", namespace])

    def namespaces(self) -> list[str]:
        """CIDs that have a namespace of this director."""
        folder = Path("/run/netns")
        prefix = self._names.namespaces
        return sorted(e.name.removeprefix(prefix) for e in folder.iterdir() if e.name.startswith(prefix)) if folder.is_dir() else []

    def clean(self) -> None:
        """Remove every interface, rule and namespace of this director."""
        for cid in self.namespaces():
            self.remove_namespace(cid, 4)
        with locked(HOST_LOCK):
            for entry in list(os.scandir("/sys/class/net")):
                if entry.name.startswith((f"cb{self._names.mark}", f"cv{self._names.mark}")):
                    _quietly(["ip", "link", "delete", entry.name])
            self._remove_tables()


def _links() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(["ip", "-json", "address", "show"]) or "[]")
    return found


def _alias(interface: str) -> str:
    """The note on an interface; `ip address` does not tell it."""
    try:
        return Path("/sys/class/net", interface, "ifalias").read_text().strip()
    except OSError:
        return ""


def _default_device() -> str:
    """The interface of the host's default route, or the empty string."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == "00000000" and words[7] == "00000000":
            return words[0]
    return ""


def _mtu() -> int:
    """That of the way out where it is smaller than Ethernet's: a larger one would lose packets on tunnels."""
    device = _default_device()
    try:
        return min(1500, int(Path(f"/sys/class/net/{device}/mtu").read_text())) if device else 1500
    except OSError:
        return 1500


def _nat_tool() -> str:
    """The command that translates addresses here: nft, iptables, or none where machines cannot get out."""
    if not _default_device():
        return ""
    path = environment()["PATH"]
    if shutil.which("nft", path=path):
        with contextlib.suppress(CommandFailed):
            run(["nft", "--check", "-f", "-"], stdin="table ip caisson_probe { chain out { type nat hook postrouting priority 100; }; }\n")
            return "nft"
    if shutil.which("iptables", path=path):
        with contextlib.suppress(CommandFailed):
            run(["iptables", "-w", "-t", "nat", "-S", "POSTROUTING"])
            return "iptables"
    return ""


def _forwarding_closed() -> bool:
    if not shutil.which("iptables", path=environment()["PATH"]):
        return False
    try:
        return "-P FORWARD DROP" in run(["iptables", "-w", "-S", "FORWARD"])
    except CommandFailed:
        return False


def _comment(text: str) -> list[str]:
    return ["-m", "comment", "--comment", text]


def _iptables_once(table: str, chain: str, rule: list[str]) -> None:
    try:
        run(["iptables", "-w", "-t", table, "-C", chain, *rule])
    except CommandFailed:
        run(["iptables", "-w", "-t", table, "-I", chain, *rule])


def _iptables_clean(comment: str, only: Sequence[str] = ()) -> None:
    """Delete the rules with this comment, or those of them that name one of the given words."""
    if not shutil.which("iptables", path=environment()["PATH"]):
        return
    for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        for words in _iptables_rules(table, chain):
            if comment in words and (not only or any(word in words for word in only)):
                _quietly(["iptables", "-w", "-t", table, "-D", *words[1:]])


def _iptables_rules(table: str, chain: str) -> Iterator[list[str]]:
    with contextlib.suppress(CommandFailed):
        for line in run(["iptables", "-w", "-t", table, "-S", chain]).splitlines():
            words = [word.strip('"') for word in line.split()]
            if words[:1] == ["-A"]:
                yield words


def _batch(lines: Sequence[str], namespace: str = "") -> None:
    run(["ip", *(["-netns", namespace] if namespace else []), "-batch", "-"], stdin="\n".join(lines) + "\n")


def _quietly(args: Sequence[str]) -> None:
    """Run a deletion of what may be gone already; anything else that goes wrong is raised."""
    try:
        run(args)
    except CommandFailed as error:
        gone = (
            "Cannot find device", "No such file", "No such process", "does not exist", "No such device", "Bad rule", "does a matching rule",
        )
        if not any(sentence in error.output for sentence in gone):
            raise
