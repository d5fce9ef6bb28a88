"""`agent.pyz [serve]` answers requests on standard input; `agent.pyz boot` does what follows a reboot."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from .host import Host


def main() -> None:
    host = Host(agent_digest=digest_of(sys.argv[0]))
    if sys.argv[1:2] == ["boot"]:
        from . import boot

        boot.run(host)
        return
    serve(host)


def serve(host: Host) -> None:
    """Give the protocol the two descriptors, so that nothing else, no stray print and no child, can write into it."""
    from .server import Server

    out = os.fdopen(os.dup(1), "wb", buffering=0)
    lines = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)

    def end(*unused: Any) -> None:
        raise EOFError  # leaves the reading of lines, as their end does

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    Server(host, out).serve(until_end(lines))
    os._exit(0)


def until_end(lines: Any) -> Any:
    """The lines, until they end or the process is told to."""
    try:
        for line in lines:
            yield line
    except (EOFError, OSError):
        return


def digest_of(name: str) -> str:
    """The digest in the agent's own file name, `agent-DIGEST.pyz`."""
    stem = Path(os.path.realpath(name)).stem
    return stem[len("agent-"):] if stem.startswith("agent-") else ""


if __name__ == "__main__":
    main()
