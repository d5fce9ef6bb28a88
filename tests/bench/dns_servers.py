"""Servers that know the same names, and clients that ask them: ours, Knot as the limit, dnsmasq as the peer, dnsperf from Debian."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

TOOLS = {"dnsperf": "dnsperf", "knotd": "knot", "dnsmasq": "dnsmasq-base"}
KEYS = [
    "id", "num_id", "instance_group", "group_ids", "az", "az_id", "network", "network_id", "deployment", "ip", "domain", "agent_id",
    "instance_index",
]
ENDING = "default.cf.bosh"


def missing() -> list[str]:
    """Debian packages that are wanted and not here."""
    return [package for tool, package in TOOLS.items() if shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]


@dataclasses.dataclass(frozen=True)
class Names:
    """`count` instances: half of them in groups of three, half in groups of a hundred (one such group, when there are few)."""

    count: int

    def rows(self, version: int = 1) -> Iterator[tuple[str, str, str, int]]:
        """(id, group, address, number); with a later version some addresses are others."""
        small = self.count // 2
        for number in range(self.count):
            group = f"three-{number // 3}" if number < small else f"hundred-{(number - small) // 100}"
            changed = version if number < small and number % (small // 17 or 1) == 0 else 1
            yield str(uuid.UUID(int=number + (7 << 100), version=4)), group, f"10.{changed & 255}.{number >> 8}.{number & 255}", number

    def document(self, version: int = 1) -> str:
        infos, hosts = [], []
        for id_, group, address, number in self.rows(version):
            group_id = str(number // 3 if group.startswith("three") else 100_000 + number // 100)
            infos.append([
                id_, str(number), group, [group_id], "z1", "1", "default", "3", "cf", address, "bosh", f"agent-{id_}", number % 3])
            hosts.append([address, f"{id_}.{group}.{ENDING}"])
        return json.dumps({"version": version, "records": hosts, "record_keys": KEYS, "record_infos": infos, "aliases": {}})

    def exact(self) -> list[str]:
        # In an order of its own: neighbours in the file are not neighbours in time.
        return sorted((f"{id_}.{group}.{ENDING}" for id_, group, _, _ in self.rows()), key=hash)

    def groups(self, kind: str) -> list[str]:
        return sorted({f"q-s0.{group}.{ENDING}" for _, group, _, _ in self.rows() if group.startswith(kind)})

    def nobody(self) -> list[str]:
        return [f"nobody-{number}.three-0.{ENDING}" for number in range(self.count)]

    def addresses(self) -> Iterator[tuple[str, str]]:
        for id_, group, address, _ in self.rows():
            yield f"{id_}.{group}.{ENDING}", address
            yield f"q-s0.{group}.{ENDING}", address


@dataclasses.dataclass
class Server:
    """A process that answers on a port of this computer; its children count as its own."""

    process: subprocess.Popen[bytes]
    port: int

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu(self) -> float:
        """Seconds of processor time, user and system."""
        return sum(self.cpu_each())

    def cpu_each(self) -> list[float]:
        found = []
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found.append((int(fields[11]) + int(fields[12])) / 100)
        return found

    def most_memory_mib(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) / 1024


@contextlib.contextmanager
def running(command: Sequence[str], port: int, name: str) -> Iterator[Server]:
    """Started, and answering `name`. Ends with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first_answer(port, name, 30)
        yield Server(process, port)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)


def ours(port: int, records: Path, *more: str) -> list[str]:
    """With health on: every instance is known to run but for one in each seven."""
    return [sys.executable, "-m", "tests.bench.dns_resolver", str(records), str(port), *more]


def dnsmasq(port: int, names: Names, folder: Path) -> list[str]:
    hosts = folder / f"hosts-{names.count}"
    hosts.write_text("".join(f"{address} {name}\n" for name, address in names.addresses()))
    return ["/usr/sbin/dnsmasq", "--no-daemon", "--conf-file=/dev/null", f"--port={port}", "--listen-address=127.0.0.1",
            "--bind-interfaces", "--no-resolv", "--no-hosts", "--local=/bosh/", f"--addn-hosts={hosts}", "--dns-forward-max=10"]


def knot(port: int, names: Names, folder: Path) -> list[str]:
    zone = folder / "bosh.zone"
    zone.write_text("$ORIGIN bosh.\n$TTL 0\n@ SOA ns x 1 2 3 4 5\n@ NS ns\nns A 127.0.0.1\n" + "".join(
        f"{name}. A {address}\n" for name, address in names.addresses()))
    config = folder / "knot.conf"
    config.write_text(
        f"server:\n    rundir: {folder}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
        "    udp-max-payload: 4096\n"
        f"database:\n    storage: {folder}\n"
        f"zone:\n  - domain: bosh\n    storage: {folder}\n    file: {zone.name}\n    zonefile-sync: -1\n    journal-content: none\n")
    return ["/usr/sbin/knotd", "--config", str(config)]


@dataclasses.dataclass(frozen=True)
class Load:
    """What dnsperf saw: answers a second, and the server's processor time for each in microseconds."""

    per_second: float
    cost: float


def dnsperf(server: Server, questions: Path, seconds: float, *, code: str, clients: int = 1) -> Load:
    """All answers must have that code. RuntimeError when not, or when answers were lost on the way for no reason."""
    before = server.cpu()
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(questions), "-c", str(clients), "-q", "100"]
    told = subprocess.run([*command, "-l", str(seconds)], capture_output=True, text=True, check=True).stdout
    cost = server.cpu() - before
    answered = int(_figure(r"Queries completed:\s+(\d+)", told))
    codes = _figure(r"Response codes:\s+(.*)", told)
    if codes.strip() != f"{code} {answered} (100.00%)":
        raise RuntimeError(f"not all answers are {code}: {codes}")
    return Load(float(_figure(r"Queries per second:\s+([\d.]+)", told)), 1e6 * cost / answered)


def _figure(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"dnsperf says nothing like {pattern}")
    return found.group(1)


def packet(name: str, edns: int = 0) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    opt = b"\0" + struct.pack("!HHIH", 41, edns, 0, 0) if edns else b""
    return struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, int(bool(edns))) + labels + b"\0" + struct.pack("!HH", 1, 1) + opt


def first_answer(port: int, name: str, seconds: float) -> float:
    """Seconds until the server answers. TimeoutError."""
    began = time.perf_counter()
    asked = packet(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.01)
        sock.connect(("127.0.0.1", port))
        while time.perf_counter() - began < seconds:
            with contextlib.suppress(OSError):
                sock.send(asked)
                sock.recv(65535)
                return time.perf_counter() - began
            time.sleep(0.001)
    raise TimeoutError(f"nothing answers on port {port}")


def one_after_the_other(server: Server, packets: Sequence[bytes], seconds: float) -> list[float]:
    """Seconds from question to answer, one outstanding; sorted."""
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect(("127.0.0.1", server.port))
        until = time.perf_counter() + seconds
        number = 0
        while (began := time.perf_counter()) < until:
            sock.send(packets[number % len(packets)])
            sock.recv(65535)
            taken.append(time.perf_counter() - began)
            number += 1
    return sorted(taken)


def cost_of(server: Server, packets: Sequence[bytes], seconds: float, least_bytes: int, askers: int = 1) -> float:
    """Microseconds of the server's processor time for each answer, with up to 32 outstanding from each of so many sockets; answers must
    have so many bytes."""
    before, answered = server.cpu(), 0
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(askers)]
        for sock in sockets:
            sock.settimeout(2)
            sock.connect(("127.0.0.1", server.port))
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for number in range(32 * askers):
                sockets[number % askers].send(packets[(answered + number) % len(packets)])
            for number in range(32 * askers):
                if len(sockets[number % askers].recv(65535)) < least_bytes:
                    raise RuntimeError("an answer is not whole")
            answered += 32 * askers
    return 1e6 * (server.cpu() - before) / answered


def at(sorted_values: Sequence[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)
