"""Runs inside a privileged machine that has iptables and no nft: networks with the older tool, also where forwarding is closed.

`python3 local_iptables.py HOST PORT`: there a listener tells whose address it sees. What came of it is printed as JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from cpis.contract import Network
from cpis.local.names import Names
from cpis.local.net import Net, Subnet

NAMES = Names(Path("/var/lib/docker/state"))
ASK = "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print(s.recv(100).decode())"


def main(host: str, port: str) -> None:
    networks = [Network(f"net-{number}", ip=f"10.188.{number}.10", gateway=f"10.188.{number}.1", default=("dns", "gateway"))
                for number in (1, 2)]
    subnets = [Subnet.of(network) for network in networks]
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)  # as container engines and firewalls leave it
    told: dict[str, object] = {"nft": shutil.which("nft"), "before": ours()}
    for number, (network, subnet) in enumerate(zip(networks, subnets, strict=True)):
        # A director of its own each time, as after a restart: what is there already is not made twice.
        for _ in range(2):
            net().ensure_bridge(subnet)
        net().ensure_namespace(f"vm-{number}", [(network, subnet)])
    told["rules"] = ours()
    told["seen_as"] = [inside(number, sys.executable, "-c", ASK, host, port) for number in (0, 1)]
    told["between"] = "1 received" in inside(0, "ping", "-c", "1", "-W", "5", networks[1].ip)
    net().remove_namespace("vm-0", 1)
    net().remove_bridge(subnets[0].range)
    told["after_the_first"] = ours()
    told["still"] = inside(1, sys.executable, "-c", ASK, host, port)
    net().remove_namespace("vm-1", 1)
    net().remove_bridge(subnets[1].range)
    told["after_both"] = ours()
    print(json.dumps(told))


def net() -> Net:
    return Net(NAMES, "nested", lambda step: None)


def listed(table: str, chain: str) -> str:
    return subprocess.run(["iptables", "-t", table, "-S", chain], capture_output=True, text=True, check=True).stdout


def ours() -> list[str]:
    """Rules of this director, their interfaces as `BRIDGE`."""
    lines = [line for table, chain in (("nat", "POSTROUTING"), ("filter", "FORWARD")) for line in listed(table, chain).splitlines()]
    found = [line.replace(f" -m comment --comment {NAMES.table}", "") for line in lines if NAMES.table in line]
    bridges = {NAMES.bridge(Subnet.of(Network("n", ip=f"10.188.{number}.10", gateway=f"10.188.{number}.1")).range): f"BRIDGE{number}"
               for number in (1, 2)}
    for name, word in bridges.items():
        found = [line.replace(name, word) for line in found]
    return sorted(found)


def inside(number: int, *command: str) -> str:
    done = subprocess.run(["ip", "netns", "exec", NAMES.namespace(f"vm-{number}"), *command], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip()


if __name__ == "__main__":
    main(*sys.argv[1:])
