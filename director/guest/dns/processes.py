"""Several resolvers on one address, one for each core. The parent holds the sockets, so that a process that dies loses no question that
waits in another's queue, and its own are there for the one that follows it."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Callable, Dict, Iterable, List, Optional

from .health import Health
from .listening import Sockets, open_all
from .service import Service
from .settings import Settings

REST = 1.0

log = logging.getLogger("bosh-dns")

Serve = Callable[[Service, List[Sockets]], int]


def serve_all(
    settings: Settings, serve: Serve, ready: Callable[[List[Sockets]], None], health: Callable[[], Optional[Health]] = lambda: None,
) -> int:
    """Forks `settings.processes` children that `serve`; starts those anew that die; ends with them on TERM or INT. Each has a `health`,
    the usual one where that is None.

    The first child keeps the host's settings, figures and control socket; the others only answer.
    """
    sockets = _open(settings)
    ready(sockets[0])
    children: Dict[int, int] = {}
    stopping: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    signal.signal(signal.SIGUSR1, lambda got, _frame: _pass_on(children, got))
    for index in range(settings.processes):
        children[_fork(settings, index, sockets[index], serve, health)] = index
    while not stopping:
        ended = _wait(children)
        if ended is None:
            time.sleep(0.1)
        elif not stopping:
            log.error("process %d of %d ended; another takes its place", ended + 1, settings.processes)
            time.sleep(REST)
            children[_fork(settings, ended, sockets[ended], serve, health)] = ended
    _pass_on(children, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)
    return 0


def _open(settings: Settings) -> List[List[Sockets]]:
    """For each process its own sockets on the same addresses. OSError when an address is another's."""
    # First alone: sharing would hide that a stranger has the port.
    for datagram, stream in open_all(settings._replace(processes=1)):
        datagram.close()
        stream.close()
    return [open_all(settings) for _ in range(settings.processes)]


def _fork(settings: Settings, index: int, sockets: List[Sockets], serve: Serve, health: Callable[[], Optional[Health]]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if index:
            settings = settings._replace(
                override_nameserver=False, configure_systemd_resolved=False, metrics=None, control="", health_speaks=False)
        service = Service(settings, health=health())
        # A parent that was killed cannot end its children.
        service.loop.every(REST, lambda: os.kill(os.getpid(), signal.SIGTERM) if os.getppid() != parent else None)
        code = serve(service, sockets)
    finally:
        os._exit(code)


def _pass_on(children: Iterable[int], number: int) -> None:
    for child in list(children):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            continue  # It ended a moment ago.


def _wait(children: Dict[int, int]) -> Optional[int]:
    """The index of a child that ended, which is then forgotten."""
    child, _ = os.waitpid(-1, os.WNOHANG)
    return children.pop(child) if child else None
