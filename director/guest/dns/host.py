"""The machine around the resolver: its address on the loopback interface and its line in /etc/resolv.conf.

Source: DNS contract, section 7.2. Our line is the first name server; the others stay behind it, as what to ask for all other names and
for the moments in which the resolver does not run.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import List, Sequence


def add_address(address: str, state: str = "") -> None:
    """Makes the address one of this machine's when it is none yet, and remembers that in `state`. OSError when that fails."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
            return
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    import subprocess  # Needed once at most, and not small.

    length = "128" if family == socket.AF_INET6 else "32"
    done = subprocess.run(["ip", "address", "add", "%s/%s" % (address, length), "dev", "lo"], stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise OSError("cannot add %s to the loopback interface: %s" % (address, done.stderr.decode("utf-8", "replace").strip()))
    if state:
        os.makedirs(os.path.dirname(state) or ".", exist_ok=True)
        with open(state, "a", encoding="utf-8") as file:
            file.write("%s/%s\n" % (address, length))


def remove_addresses(state: str) -> None:
    """Takes those from the loopback interface that we gave to it; those that were there before stay."""
    import subprocess

    for line in dict.fromkeys(read(state).split()):
        subprocess.run(["ip", "address", "del", line, "dev", "lo"], stderr=subprocess.DEVNULL, check=False)
    if os.path.exists(state):
        os.unlink(state)


def nameservers(text: str) -> List[str]:
    """The servers that a resolv.conf names, in its order."""
    words = [line.split() for line in text.splitlines()]
    return [line[1].partition("%")[0] for line in words if len(line) > 1 and line[0] == "nameserver"]


def with_first(text: str, address: str) -> str:
    """The same resolv.conf with `address` as its first name server."""
    lines = without(text, address).splitlines()
    position = next((number for number, line in enumerate(lines) if line.split()[:1] == ["nameserver"]), len(lines))
    lines.insert(position, "nameserver %s" % address)
    return "\n".join(lines) + "\n"


def without(text: str, address: str) -> str:
    """The same resolv.conf without `address`."""
    lines = [line for line in text.splitlines() if line.split()[:2] != ["nameserver", address]]
    return "".join(line + "\n" for line in lines)


def read(path: str) -> str:
    """Its text, empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def take_over(path: str, address: str) -> bool:
    """Puts the address first; whether something had to change."""
    return _write(path, with_first(read(path), address))


def give_back(path: str, addresses: Sequence[str]) -> bool:
    """Takes the addresses out; whether something had to change."""
    text = read(path)
    for address in addresses:
        text = without(text, address)
    return _write(path, text)


def _write(path: str, text: str) -> bool:
    if read(path) == text:
        return False
    target = os.path.realpath(path)
    partial = "%s.bosh-dns" % target
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(partial, 0o644)
        os.rename(partial, target)
    except OSError as error:
        if os.path.exists(partial):
            os.unlink(partial)
        if error.errno not in (errno.EBUSY, errno.EXDEV, errno.EROFS):
            raise
        # A file mounted from outside, as in containers, cannot be replaced, only filled anew.
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
    return True
