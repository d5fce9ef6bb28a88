"""The peer of everything that boots: systemd-nspawn on the same image, with a network and a key, and nothing of a director."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cpis.contract import Login, Network
from cpis.local.host import Host, Limits, detect, ensure_kernel_limits
from cpis.local.images import DEFAULT_CACHE, Images, recipe_of
from cpis.local.launch import Launch, script
from cpis.local.names import Names
from cpis.local.net import mac_of
from cpis.local.seed import write_seed
from director.machine import keys
from tests.bench.world import BARE_PREFIX, World, seconds

AT_ONCE = 16
UP_SECONDS = 120.0
BRIDGE = "cbbench"


def boot_seconds(world: World, count: int) -> float:
    """From nothing to sshd's greeting on all of them; measured once for each count."""
    return world.once(f"bare {count}", lambda: _boot_seconds(world.folder / f"bare-{count}", count))


def boot_again(world: World, count: int) -> float:
    """Measured anew."""
    return _boot_seconds(world.folder / f"bare-{count}-again", count)


def _boot_seconds(folder: Path, count: int) -> float:
    image = Images(DEFAULT_CACHE).build(recipe_of("debian-12"))
    with _machines(folder, image, count) as machines:
        return seconds(machines.boot)


@contextlib.contextmanager
def _machines(folder: Path, image: Path, count: int) -> Iterator[_Machines]:
    made = _Machines(folder, image, count)
    try:
        made.prepare()
        yield made
    finally:
        made.remove()


class _Machines:
    def __init__(self, folder: Path, image: Path, count: int) -> None:
        self._folder, self._image = folder, image
        self._names = Names(folder)
        self._host: Host = detect(self._names)
        self._cids = [f"bare-{number}" for number in range(count)]
        self._login = keys.generate()
        self._host_key = keys.generate()

    def prepare(self) -> None:
        ensure_kernel_limits()
        _ip(f"link add {BRIDGE} address {mac_of(BARE_PREFIX + '1')} type bridge", f"addr add {BARE_PREFIX}1/24 dev {BRIDGE}",
            f"link set {BRIDGE} up")

    def boot(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._start, range(len(self._cids))))
        waiting = [f"{BARE_PREFIX}{number + 2}" for number in range(len(self._cids))]
        deadline = time.monotonic() + UP_SECONDS
        while waiting:
            waiting = [address for address in waiting if not greets(address)]
            if time.monotonic() > deadline:
                raise TimeoutError(f"no sshd at {', '.join(waiting)}")
            time.sleep(0.02)

    def _start(self, number: int) -> None:
        cid, address = self._cids[number], f"{BARE_PREFIX}{number + 2}"
        home, namespace, devices = self._folder / cid, self._names.namespace(cid), self._names.devices / cid
        devices.mkdir(parents=True)
        for name in ("upper", "work", "root"):
            (home / name).mkdir(parents=True)
        login = Login("caisson", self._login.public_line, self._host_key.public_line, self._host_key.private_pem)
        write_seed(home / "seed", self._image, cid, login, [Network("default", ip=address, prefix_length=24)], [])
        veth = self._names.veth(cid, 0)
        _ip(f"netns add {namespace}", f"link add {veth} type veth peer name eth0 netns {namespace}", f"link set {veth} master {BRIDGE} up")
        _ip("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up", namespace=namespace)
        launch = Launch(cid, self._names.machine(cid), home, self._image, namespace, devices)
        (home / "run.sh").write_text(script(launch))
        self._host.start(cid, home / "run.sh", Limits(memory_mib=512, cpus=1), [])

    def remove(self) -> None:
        self._host.clean()
        for cid in self._cids:
            subprocess.run(["ip", "netns", "delete", self._names.namespace(cid)], capture_output=True, check=False)
            subprocess.run(["ip", "link", "delete", self._names.veth(cid, 0)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", str(self._folder), str(self._names.devices)], check=False)
        for cid in self._cids:
            with contextlib.suppress(OSError):
                Path("/run/systemd/nspawn/propagate", self._names.machine(cid)).rmdir()


def greets(address: str) -> bool:
    """Whether sshd says its name there."""
    try:
        with socket.create_connection((address, 22), timeout=0.25) as connection:
            connection.settimeout(5.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _ip(*lines: str, namespace: str = "") -> None:
    command = ["ip", *(["-netns", namespace] if namespace else []), "-batch", "-"]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)
