"""How soon and at what cost names spread: records from the director to machines, health from machines to those who ask after them.

Machines are simulated where the question is what the director costs, and real sockets of this computer where it is what a resolver costs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpis.contract import Network
from director.blobs import LocalBlobstore
from director.execute import context, dns
from director.guest.dns.loop import Loop
from director.guest.dns.peers.exchange import Peers
from director.guest.dns.peers.keys import Ring, pair
from director.guest.dns.records import Record, Records, packed_of
from director.machine import keys
from director.machine.agent import Agent
from director.machine.machines import Machines
from director.state import Store
from director.state.instances import InstanceRow
from director.state.vms import VmRow
from tests.bench.rows import Row
from tests.bench.world import ROOT, World

MACHINES = 1000
FOLLOWED = 100
FOLLOWERS = 20
CHANGES = 60
PORT = 8853
IDLE_SECONDS = 20.0
SECRET = b"a bench's"


def spread(world: World) -> list[Row]:
    folder = world.folder / "spread"
    folder.mkdir(exist_ok=True)
    return [*_records(folder), *_health(folder), *_idle(folder)]


class _Machine:
    """A machine that takes whatever it is given; what travels is written as JSON, as it would be."""

    host_public_key = ""
    is_alive = True

    def __init__(self) -> None:
        self.sent = 0

    def call(self, action: str, arguments: Mapping[str, Any] | None = None, **_: Any) -> Any:
        assert arguments is not None
        self.sent += len(json.dumps({"method": action, "arguments": dict(arguments)}))
        return {"version": arguments["version"], "result": "synced", "in_use": None}

    def put_file(self, source: Path | bytes, target: str) -> str:
        raise NotImplementedError

    def get_file(self, path: str, target: Path) -> str:
        raise NotImplementedError

    def close(self) -> None:
        return None


class _Log:
    def warning(self, message: str) -> None:
        raise AssertionError(message)

    debug = result = warning


def _records(folder: Path) -> list[Row]:
    """One change of one machine, to all others: processor time of the director, all of which it would have on one core."""
    store = Store(folder / "names.db")
    machine = _Machine()
    ctx = context.Context(  # type: ignore[call-arg]
        **{field.name: None for field in dataclasses.fields(context.Context) if field.default is dataclasses.MISSING})
    ctx = dataclasses.replace(
        ctx, director=context.Director("bench", "uuid", keys.generate(), b"s" * 32), store=store, blobs=LocalBlobstore(folder / "blobs"),
        machines=Machines(lambda endpoint: Agent(machine)), log=_Log(), clock=time.time, check=lambda: None)  # type: ignore[arg-type]
    with store.transaction():
        store.deployments.ensure("many")
        for number in range(MACHINES):
            store.instances.add(InstanceRow(f"i-{number}", "many", f"g{number % 20}", number, "z1"))
            store.vms.add(_vm(number, f"10.1.{number // 250}.{number % 250 + 1}"))
    began = time.process_time()
    dns.publish(ctx)
    whole, sent = time.process_time() - began, machine.sent
    store.vms.update("vm-500", networks=[_network("10.1.9.9")])
    began = time.process_time()
    version = dns.publish(ctx)
    delta, small = time.process_time() - began, machine.sent - sent
    works = store.dns.behind(version) == []
    store.close()
    peer = f"the whole document, {sent / MACHINES / 1024:.0f} KiB each, in {whole:.1f} s; a change is {small / MACHINES:.0f} bytes"
    return [Row(f"records: a change reaches {MACHINES} simulated machines", delta, "s", 10, peer, whole, works)]


def _vm(number: int, ip: str) -> VmRow:
    return VmRow(
        f"vm-{number}", f"t-{number}", "many", f"agent-{number}", f"i-{number}", active=True, address=ip, notes={"ready": True},
        networks=[_network(ip)])


def _network(ip: str) -> dict[str, Any]:
    return dataclasses.asdict(Network("default", "manual", ip, 16, "10.1.0.1"))


def _speaker(agent: str) -> bytes:
    return hmac.digest(SECRET, agent.encode(), "sha256")


def _ring(folder: Path, agent: str, others: list[str]) -> Ring:
    lines = [f"self {agent}", f"speaker {_speaker(agent).hex()}", f"records {hashlib.sha256(b'r').hexdigest()}"]
    lines += [f"peer {other} {pair(_speaker(other), agent).hex()}" for other in others]
    path = folder / f"ring-{agent}"
    path.write_text("\n".join(lines) + "\n")
    return Ring(str(path))


def _record(agent: str, ip: str) -> Record:
    return Record(f"i-{agent}", "1", "web", ("1",), "1", "default", "1", "app", packed_of(ip), ("bosh",), agent, 0)


def _peers(loop: Loop, folder: Path, agent: str, ip: str, others: list[str], records: Records) -> Peers:
    made = Peers(loop, _ring(folder, agent, others), lambda: records, address=ip, port=PORT)
    made.start()
    made.local.running = True
    return made


def _health(folder: Path) -> list[Row]:
    """A machine's state changes; the time until each of those who follow it knows."""
    loop = Loop()
    rows = [_record("told", "127.0.81.1"), *(_record(f"f{number}", f"127.0.82.{number + 1}") for number in range(FOLLOWERS))]
    records = Records(rows)
    agents = [row.agent_id for row in rows]
    all_of_them = [_peers(loop, folder, row.agent_id, row.ip, agents, records) for row in rows]
    told, followers = all_of_them[0], all_of_them[1:]
    took: list[float] = []
    changed = [0.0]

    def heard(peers: Peers) -> None:
        if peers.state(rows[0], "") == ("running" if told.local.running else "failing"):
            took.append(time.monotonic() - changed[0])

    for peers in followers:
        peers.interested([rows[0]], ("told",))
    _turn(loop, 2.0)
    for peers in followers:
        peers.subscribe(lambda peers=peers: heard(peers))  # type: ignore[misc]
    for _ in range(CHANGES):
        changed[0] = time.monotonic()
        told.local.running = not told.local.running
        told.changed_here()
        _turn(loop, random.uniform(0.05, 0.15))
    loop.close()
    works = len(took) == CHANGES * FOLLOWERS
    p99 = statistics.quantiles(took, n=100)[98] if works else max(took, default=0.0)
    note = f"median {statistics.median(took) * 1000:.2f} ms, {len(took)} of {CHANGES * FOLLOWERS}; what finds it out looks twice a second"
    return [Row(f"health: a change reaches {FOLLOWERS} resolvers, p99", p99, "s", 3, note, works=works)]


def _turn(loop: Loop, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        loop.turn(0.02)


def _idle(folder: Path) -> list[Row]:
    """A resolver's share of a core while it follows a hundred machines that all follow it."""
    own = _record("own", "127.0.83.1")
    others = [_record(f"o{number}", f"127.0.84.{number + 1}") for number in range(FOLLOWED)]
    records = Records([own, *others])
    crowd = subprocess.Popen([sys.executable, "-m", "tests.bench.spread", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert crowd.stdout is not None
    try:
        assert crowd.stdout.readline() == "ready\n"
        loop = Loop()
        peers = _peers(loop, folder, "own", own.ip, [other.agent_id for other in others], records)
        peers.interested(others, ("all",))
        _turn(loop, 6.0)
        running = peers.follower.count()["running"]
        began, end = time.process_time(), time.monotonic() + IDLE_SECONDS
        while time.monotonic() < end:
            loop.turn()
        share = (time.process_time() - began) / IDLE_SECONDS * 100
        works = running == FOLLOWED and len(peers.speaker or ()) == FOLLOWED
        loop.close()
    finally:
        crowd.terminate()
        crowd.wait()
        crowd.stdout.close()
    bare = _bare() * (FOLLOWED * 2 / 1.4) * 100
    return [Row(f"health: idle on {FOLLOWED} followed machines that follow back", share, "% of a core", 1,
                "as many datagrams sent and received by a bare loop", bare, works)]


def _bare() -> float:
    """Seconds of processor time for one datagram, sent or received."""
    one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    one.bind(("127.0.0.1", 0))
    packet, target, count = os.urandom(140), one.getsockname(), 20000
    began = time.process_time()
    for _ in range(count):
        other.sendto(packet, target)
        one.recvfrom(2048)
    spent = time.process_time() - began
    one.close()
    other.close()
    return spent / count / 2


def _crowd(folder: Path) -> None:
    """All the others, in one process: each with a socket and keys of its own."""
    loop = Loop()
    own = _record("own", "127.0.83.1")
    others = [_record(f"o{number}", f"127.0.84.{number + 1}") for number in range(FOLLOWED)]
    records = Records([own, *others])
    for other in others:
        _peers(loop, folder, other.agent_id, other.ip, ["own"], records).interested([own], ("own",))
    print("ready", flush=True)
    while True:
        loop.turn()


if __name__ == "__main__":
    _crowd(Path(sys.argv[1]))
