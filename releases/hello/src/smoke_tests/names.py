"""Every component is found by its BOSH DNS name."""

from __future__ import annotations

import socket

from .checks import Config, expect


def group_names_resolve(config: Config) -> str:
    found = []
    for label, link in sorted(config["links"].items()):
        infos = socket.getaddrinfo(link["address"], None, socket.AF_INET, socket.SOCK_STREAM)
        addresses = {info[4][0] for info in infos}
        expect(bool(addresses), "%s has no address" % link["address"])
        found.append("%s %d" % (label, len(addresses)))
    return "addresses: " + ", ".join(found)


def instance_names_resolve(config: Config) -> str:
    names = sorted({name for link in config["links"].values() for name in link["instances"]})
    for name in names:
        socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    return "%d names of instances" % len(names)


def unknown_names_do_not(config: Config) -> str:
    first, _, rest = config["links"]["nats"]["address"].partition(".")
    name = "%s.no-such-group.%s" % (first, rest.partition(".")[2])
    try:
        socket.getaddrinfo(name, None)
    except socket.gaierror as error:
        expect(error.errno == socket.EAI_NONAME, "%s: %s instead of `Name or service not known`" % (name, error))
        return "%s is not known" % name
    expect(False, "%s resolved" % name)
    return ""
