"""Sockets of one address, and who has them when we cannot. Source: DNS contract, section 7.1."""

from __future__ import annotations

import errno
import glob
import os
import socket
from typing import List, Tuple

from . import host, resolved
from .files import JobFiles
from .servers import Server, server_of, text_of
from .settings import BadSettings, Settings

BACKLOG = 128

Sockets = Tuple[socket.socket, socket.socket]
"""UDP and TCP of one address."""


def open_all(settings: Settings) -> List[Sockets]:
    """Takes all addresses to listen on, those that jobs ask for too. OSError, BadSettings."""
    found = []
    for server in _addresses(settings):
        if server[1] == 53:
            if settings.configure_systemd_resolved and server == settings.listen[0]:
                resolved.add_address(server[0])
            else:
                host.add_address(server[0], settings.host_state)
        found.append(open_sockets(server, shared=settings.processes > 1))
    return found


def _addresses(settings: Settings) -> List[Server]:
    found = list(settings.listen)
    files = JobFiles(settings.address_files, list)
    files.changed()
    for path, entries in files.contents:
        for entry in entries:
            try:
                found.append((server_of(str(entry["address"]))[0], int(entry.get("port", 53))))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise BadSettings("%s: an entry has no address and port: %s" % (path, error)) from error
    return list(dict.fromkeys(found))


def open_sockets(server: Server, *, shared: bool = False) -> Sockets:
    """UDP and TCP of one address; port 0 takes any that is free. `shared` lets other processes of ours take it too.

    OSError says whose it is when it is somebody else's.
    """
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    stream, datagram = socket.socket(family, socket.SOCK_STREAM), socket.socket(family, socket.SOCK_DGRAM)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (stream, datagram):
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stream.bind(server)
        datagram.bind(stream.getsockname())
        stream.listen(BACKLOG)
    except OSError as error:
        stream.close()
        datagram.close()
        raise OSError("cannot listen on %s: %s%s" % (text_of(server), error.strerror or error, _whose(server, error))) from error
    return datagram, stream


def _whose(server: Server, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        names = holders(server[1])
        return "; it is held by %s" % ", ".join(names) if names else ""
    if error.errno == errno.EACCES:
        return "; ports below 1024 need root"
    if error.errno == errno.EADDRNOTAVAIL:
        return "; no interface of this computer has that address"
    return ""


def holders(port: int) -> List[str]:
    """Programs that hold that port, as `NAME (pid N)`; only one's own, without root."""
    inodes = set()
    for table in ("udp", "udp6", "tcp", "tcp6"):
        for line in _lines("/proc/net/" + table)[1:]:
            words = line.split()
            if len(words) > 9 and int(words[1].rpartition(":")[2], 16) == port and (table[:3] == "udp" or words[3] == "0A"):
                inodes.add("socket:[%s]" % words[9])
    found = []
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            files = os.listdir(folder + "/fd")
        except OSError:
            continue  # It ended meanwhile, or is another user's.
        if any(_link(folder + "/fd/" + file) in inodes for file in files):
            name = (_lines(folder + "/comm") or ["?"])[0]
            found.append("%s (pid %s)" % (name, os.path.basename(folder)))
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
