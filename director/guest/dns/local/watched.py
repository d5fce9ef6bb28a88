"""The resolver's end of the program beside it: keeps `Local` as that program tells, and starts it again when it ends or says nothing."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Callable, List, Optional

from ..loop import READ, Loop
from ..peers.speaker import Local

SILENCE = 15.0
PATIENCE = 2.0
LOOK_EVERY = 1.0
LONGEST_LINE = 1 << 20

log = logging.getLogger("bosh-dns")


class Watched:
    """`changed` is called when `local` is another one. A machine of which nothing is known counts as failing."""

    def __init__(self, loop: Loop, local: Local, changed: Callable[[], None], command: List[str]) -> None:
        self._loop = loop
        self._local = local
        self._changed = changed
        self._command = command
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._received = b""
        self._heard = 0.0

    def start(self) -> None:
        self._begin()
        self._loop.every(LOOK_EVERY, self._look)

    def close(self, patience: float = PATIENCE) -> None:
        """It ends with its input, and takes running scripts along; after `patience` seconds it is ended."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._loop.unregister(process.stdout)
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def hear(self, line: bytes) -> None:
        """One line of it."""
        try:
            tree = json.loads(line)
            running = tree["running"] is True
            groups = {int(number): state is True for number, state in tree["groups"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("the watch said something odd: %s", error)
            return
        self._heard = self._loop.clock()
        self._become(running, groups)

    def _become(self, running: bool, groups: "dict[int, bool]") -> None:
        local = self._local
        if (local.running, local.groups) != (running, groups):
            if local.running != running:
                log.info("this machine is %s", "running" if running else "failing")
            local.running, local.groups = running, groups
            self._changed()

    def _begin(self) -> None:
        self._received = b""
        self._heard = self._loop.clock()
        try:
            process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            log.error("the watch cannot be started: %s", error)
            return
        self._process = process
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._loop.register(process.stdout, READ, self._read)

    def _read(self, mask: int) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        try:
            data = os.read(process.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not data or len(self._received) > LONGEST_LINE:
            log.error("the watch ended; it is started again")
            self.close(0.0)
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self.hear(line)

    def _look(self) -> None:
        if self._process is not None and self._loop.clock() - self._heard > SILENCE:
            log.error("the watch has said nothing for %d seconds; it is started again", SILENCE)
            self.close(0.0)
            self._become(False, {})
        if self._process is None:
            self._begin()


def command(interval: float, patience: float) -> List[str]:
    """How the program is started: with this Python, from where this package lies."""
    return [sys.executable, "-m", "%s.watch" % __name__.rpartition(".")[0], str(interval), str(patience)]
