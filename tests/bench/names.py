"""The resolver beside Knot (the limit) and dnsmasq (the peer): the same names, the same client, the same minute.

Processor time per query is what counts: it holds on a computer that does other things too. Of three rounds the best is taken, of each.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import dns_servers as dns
from tests.bench.dns_servers import Load, Names, Server
from tests.bench.rows import Row
from tests.bench.world import ROOT, World, free_port, progress

ROUNDS = 3
SECONDS = 1.0
ASKERS = 16
MANY, FEW = Names(10_000), Names(100)
KINDS: tuple[tuple[str, str, float, Callable[[Names], list[str]]], ...] = (
    ("exact name", "NOERROR", 12, Names.exact),
    ("group of 3, shuffled", "NOERROR", 14, lambda names: names.groups("three")),
    ("group of 100, cut to 512 bytes", "NOERROR", 30, lambda names: names.groups("hundred")),
    ("no such name", "NXDOMAIN", 12, Names.nobody),
)
"""What is asked, the code of its answers, the most microseconds it may cost, the names."""


def resolver(world: World) -> list[Row]:
    lacking = dns.missing()
    if lacking:
        raise RuntimeError(f"missing here: {', '.join(lacking)}; install them with `make bench-packages`")
    folder = world.folder / "dns"
    folder.mkdir(exist_ok=True)
    with contextlib.chdir(ROOT):
        rows: list[Row] = []
        for part in (_costs, _processes, _latency, _silence, _start, _stopped):
            with progress(f"dns, {part.__name__.strip('_')}"):
                rows += part(folder)
        return rows


@contextlib.contextmanager
def _ours(folder: Path, names: Names, *more: str) -> Iterator[Server]:
    port = free_port()
    records = folder / f"records-{names.count}.json"
    records.write_text(names.document())
    with dns.running(dns.ours(port, records, *more), port, names.exact()[0]) as server:
        yield server


def _knot(folder: Path) -> contextlib.AbstractContextManager[Server]:
    port = free_port()
    return dns.running(dns.knot(port, MANY, folder), port, MANY.exact()[0])


def _costs(folder: Path) -> list[Row]:
    """Processor time per query of each kind, and answers a second."""
    first = MANY.exact()[0]
    with contextlib.ExitStack() as stack:
        servers = {
            "many": stack.enter_context(_ours(folder, MANY)),
            "few": stack.enter_context(_ours(folder, FEW)),
            "knot": stack.enter_context(_knot(folder)),
            "dnsmasq": stack.enter_context(dns.running(dns.dnsmasq(port := free_port(), MANY, folder), port, first)),
        }
        rows = []
        for kind, code, target, choose in KINDS:
            best = _rounds(folder, servers, choose, code)
            many, few, knot, peer = (best[name] for name in ("many", "few", "knot", "dnsmasq"))
            compared = f"Knot: {knot.cost:.1f} us, dnsmasq: {peer.cost:.1f} us"
            rows.append(Row(f"DNS, {kind}, processor time", many.cost, "us", target, compared, knot.cost))
            rows.append(Row(f"DNS, {kind}, 10,000 records to 100", many.cost / few.cost, "x", 1.2, f"100 records: {few.cost:.1f} us"))
            if kind == "exact name":
                rows.append(Row(
                    f"DNS, {kind}, one process", many.per_second, "1/s", peer.per_second,
                    f"dnsmasq: {peer.per_second:.0f}/s, Knot: {knot.per_second:.0f}/s", peer.per_second, at_least=True))
        whole = [dns.packet(name, 4096) for name in MANY.groups("hundred")]
        costs = {name: min(dns.cost_of(servers[name], whole, SECONDS, least) for _ in range(ROUNDS)) for name, least in (
            ("many", 1300), ("knot", 1600))}
        rows.append(Row("DNS, group of 100, whole", costs["many"], "us", 30, f"Knot: {costs['knot']:.1f} us", costs["knot"]))
        rows.append(Row(
            "DNS, names that nobody asked before", min(_fresh(servers["many"], turn) for turn in range(ROUNDS)), "us", None,
            f"Knot: {min(_fresh(servers['knot'], turn) for turn in range(ROUNDS)):.1f} us"))
        rows.append(Row("DNS, memory with 10,000 records", servers["many"].most_memory_mib(), "MiB", 40,
                        f"dnsmasq: {servers['dnsmasq'].most_memory_mib():.0f} MiB", servers["dnsmasq"].most_memory_mib()))
        return rows


def _fresh(server: Server, turn: int) -> float:
    """Each name is another, none is there: what an answer costs that cannot be prepared."""
    packets = [dns.packet(f"fresh-{turn}-{number}.three-0.{dns.ENDING}") for number in range(60_000)]
    return dns.cost_of(server, packets, 1.0, 40)


def _rounds(folder: Path, servers: dict[str, Server], choose: Callable[[Names], list[str]], code: str) -> dict[str, Load]:
    """The best of all rounds, for each server by itself; servers take turns, so that a noisy minute is everybody's."""
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    files = {}
    for name in servers:
        files[name] = folder / f"questions-{name}"
        files[name].write_text("".join(f"{question} A\n" for question in choose(FEW if name == "few" else MANY)))
        once = ["dnsperf", "-s", "127.0.0.1", "-p", str(servers[name].port), "-d", str(files[name]), "-n", "1"]
        subprocess.run(once, capture_output=True, check=True)
    for _ in range(ROUNDS):
        for name, server in servers.items():
            loads[name].append(dns.dnsperf(server, files[name], SECONDS, code=code))
    return {
        name: Load(max(load.per_second for load in found), min(load.cost for load in found)) for name, found in loads.items()
    }


def _processes(folder: Path) -> list[Row]:
    """A process for each core on one port. Here the client needs a core too, so what they could do together is told by processor time: that
    each does its share, that an answer costs what it costs alone, and what follows from that when every process has a core."""
    # A thousand names, which every process has answered before: each of them prepares its answers itself.
    packets = [dns.packet(name) for name in MANY.exact()[:1000]]

    def cost(server: Server) -> float:
        return dns.cost_of(server, packets, SECONDS, 40, ASKERS)

    with _ours(folder, MANY) as one, _ours(folder, MANY, str(max(2, os.cpu_count() or 2))) as several:
        for _ in range(ASKERS):  # each asks from another port, so that all processes have begun to answer
            dns.first_answer(several.port, MANY.exact()[0], 30)
        cost(several)
        before = several.cpu_each()[1:]
        rounds = [(cost(one), cost(several)) for _ in range(ROUNDS)]
        spent = [after - then for after, then in zip(several.cpu_each()[1:], before, strict=True)]
    alone, together = (min(costs) for costs in zip(*rounds, strict=True))
    share, count = min(spent) / (sum(spent) / len(spent)), len(spent)
    each, computed = f"{count} processes, one for each core", f"computed: a core for each; one process: {1e6 / alone:.0f}/s"
    return [
        Row("DNS, least busy of several processes on one port", share, "of fair", 0.5, each, at_least=True),
        Row(f"DNS, exact name, {count} processes, processor time", together, "us", 12, f"one process: {alone:.1f} us", alone),
        Row(f"DNS, exact name, {count} processes", count * 1e6 / together, "1/s", None, computed, 1e6 / alone),
    ]


def _latency(folder: Path) -> list[Row]:
    """One question outstanding while a thousand records a minute change: seventeen in a new document every second."""
    packets = [dns.packet(name) for name in MANY.exact()]
    with _ours(folder, MANY) as server, _knot(folder) as limit:
        ending = threading.Event()
        documents = [MANY.document(version) for version in range(2, 14)]
        writer = threading.Thread(target=_rewrite, args=(folder / "records-10000.json", documents, ending))
        writer.start()
        try:
            taken = dns.one_after_the_other(server, packets, 10)
        finally:
            ending.set()
            writer.join()
        knot = dns.one_after_the_other(limit, packets, 3)
    micro = [1e6 * dns.at(values, share) for values in (taken, knot) for share in (0.5, 0.99)]
    return [
        Row("DNS, one outstanding, median while records change", micro[0], "us", 100, f"Knot, no change: {micro[2]:.0f} us", micro[2]),
        Row("DNS, one outstanding, p99 while records change", micro[1], "us", 1000, f"Knot, no change: {micro[3]:.0f} us", micro[3]),
    ]


def _rewrite(path: Path, documents: list[str], ending: threading.Event) -> None:
    for document in documents:
        if ending.wait(1.0):
            return
        fresh = path.with_suffix(".new")
        fresh.write_text(document)
        fresh.rename(path)


def _silence(folder: Path) -> list[Row]:
    """Names of ours while others are asked for that nobody answers: two hundred on their way at any time."""
    records = folder / "records-10000.json"
    records.write_text(MANY.document())
    first = MANY.exact()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        recursor = f"127.0.0.1:{silent.getsockname()[1]}"
        port = free_port()
        command = [sys.executable, "-m", "director.guest.dns", "serve", "--records", str(records), "--listen", f"127.0.0.1:{port}"]
        with dns.running([*command, "--recursor", recursor], port, first) as server:
            packets = [dns.packet(name) for name in MANY.exact()]
            alone = dns.one_after_the_other(server, packets, 3)
            ending = threading.Event()
            asker = threading.Thread(target=_ask_in_vain, args=(server.port, ending))
            asker.start()
            try:
                taken = dns.one_after_the_other(server, packets, 5)
            finally:
                ending.set()
                asker.join()
    before, during = (1e6 * dns.at(values, 0.99) for values in (alone, taken))
    return [Row("DNS, one outstanding, p99 while recursors are silent", during, "us", 1000, f"nobody asks them: {before:.0f} us", before)]


def _ask_in_vain(port: int, ending: threading.Event) -> None:
    """A hundred questions a second for names of others, each of which is waited for two seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        number = 0
        while not ending.wait(0.01):
            sock.sendto(dns.packet(f"n{number}.example.com"), ("127.0.0.1", port))
            number += 1


def _start(folder: Path) -> list[Row]:
    records = folder / "records-10000.json"
    records.write_text(MANY.document())
    name = MANY.exact()[0]
    taken = []
    for _ in range(ROUNDS + 2):
        port = free_port()
        began = time.perf_counter()
        with dns.running(dns.ours(port, records), port, name):
            taken.append(1000 * (time.perf_counter() - began))
    bare = min(_bare_start() for _ in range(ROUNDS))
    return [Row("DNS, start to first answer, 10,000 records", min(taken), "ms", 300, f"Python that does nothing: {bare:.0f} ms", bare)]


def _bare_start() -> float:
    began = time.perf_counter()
    subprocess.run(["python3", "-c", ""], check=True)
    return 1000 * (time.perf_counter() - began)


def _stopped(folder: Path) -> list[Row]:
    """Ten seconds of SIGSTOP with questions coming in, then an answer; and what it costs to do nothing."""
    with _ours(folder, MANY) as server:
        name = MANY.exact()[0]
        before = server.cpu()
        time.sleep(5)
        idle = 100 * (server.cpu() - before) / 5
        server.process.send_signal(signal.SIGSTOP)
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                dns.first_answer(server.port, name, 0.1)
        server.process.send_signal(signal.SIGCONT)
        awake = 1000 * dns.first_answer(server.port, name, 10)
    return [
        Row("DNS, first answer after 10 s of SIGSTOP", awake, "ms", 100),
        Row("DNS, idle", idle, "% of a core", 1),
    ]
