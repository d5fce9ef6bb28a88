"""Entry points of the executables: `caisson-cpi-aws --config FILE`, the request on stdin, the answer on stdout, the log on stderr."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpis import registry
from cpis.contract import Cpi, CpiError, Invalid
from cpis.wire import errors
from cpis.wire.config import Configuration
from cpis.wire.server import Cloud, answer

# As BOSH's CPIs take it: those in Ruby as the only argument, those in Go with one dash.
_FLAGS = ("--config", "-c", "-configFile", "--configFile")


def main(cloud: str, arguments: Sequence[str]) -> int:
    """Serve one call. Answers 0 whenever an answer was printed, as BOSH's CPIs do."""
    if "--help" in arguments or "-h" in arguments:
        print(f"usage: caisson-cpi-{cloud} [--config FILE] < REQUEST.json\n\n{__doc__}")
        return 0
    try:
        path = _config_path(arguments)
        configuration = Configuration.read(path, cloud) if path else Configuration()
    except CpiError as error:
        wrong = {**errors.error_to(error, "", cloud), "type": "Bosh::Clouds::CpiError"}
        reply: dict[str, Any] = {"result": None, "error": wrong, "log": ""}
    else:
        reply = answer(sys.stdin.read(), Cloud(cloud, lambda config: _make(cloud, config), configuration))
    sys.stderr.write(reply["log"])
    json.dump(reply, sys.stdout)
    sys.stdout.write("\n")
    return 0


def _make(cloud: str, config: Mapping[str, Any]) -> Cpi:
    """The fake cloud is a file that each process reads and writes whole: one process at a time, until it ends."""
    file = config.get("state_file")
    if cloud == "fake" and file:
        lock = Path(f"{file}.lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        fcntl.flock(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    return registry.load(cloud, config)


def _config_path(arguments: Sequence[str]) -> str:
    """Raises Invalid for what is no such command line."""
    rest = list(arguments)
    if not rest:
        return ""
    flag, equals, value = rest[0].partition("=")
    if flag in _FLAGS and equals and len(rest) == 1:
        return value
    if flag in _FLAGS and not equals and len(rest) == 2:
        return rest[1]
    if len(rest) == 1 and not flag.startswith("-"):
        return rest[0]
    raise Invalid(f"unknown arguments: {' '.join(rest)}", suggestion="Give --config FILE, or nothing.")


def aws() -> int:
    return main("aws", sys.argv[1:])


def azure() -> int:
    return main("azure", sys.argv[1:])


def gcp() -> int:
    return main("gcp", sys.argv[1:])


def openstack() -> int:
    return main("openstack", sys.argv[1:])


def vsphere() -> int:
    return main("vsphere", sys.argv[1:])


def local() -> int:
    return main("local", sys.argv[1:])


def fake() -> int:
    return main("fake", sys.argv[1:])
