"""Where records come from. `RecordSource` is what the rest wants; here is the one that follows a file.

Source: DNS contract, sections 1 (step 7) and 2. Deviation: the reference loads whatever lies there; an older version than the one in use
is kept out unless `accept_older` is set, since it is more often a mistake than a wish.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import Callable, Optional, Protocol, Tuple

from .loading import BadRecords, Steps, loading
from .loop import Loop
from .records import Records

LOOK_EVERY = 0.2
STEP_SECONDS = 0.0005
LARGEST = 256 << 20

log = logging.getLogger("bosh-dns")

Mark = Tuple[int, int, int]


class RecordSource(Protocol):
    """Gives records and says when they are others. All calls happen in the loop's thread."""

    @property
    def records(self) -> Records:
        """Those in use, empty at first. The version is `records.version`."""

    @property
    def problem(self) -> str:
        """Why newer ones are not in use; empty when all is well."""

    def start(self, loop: Loop, changed: Callable[[], None]) -> None:
        """Reads what there is before it returns, if that can be done; later calls `changed` after `records` became others, either
        another object or the same one with other contents. Never blocks the loop for longer than a millisecond after that."""


class FileSource:
    """The document at `path`, looked at five times a second and read a slice at a time."""

    def __init__(self, path: str, *, accept_older: bool = False, reading: Callable[[str], Steps] = loading) -> None:
        self._path = path
        self._accept_older = accept_older
        self._reading = reading
        self._records = Records()
        self._mark: Optional[Mark] = None
        self._steps: Optional[Steps] = None
        self._problem = "" if path else "there is no file to read"

    @property
    def records(self) -> Records:
        return self._records

    @property
    def problem(self) -> str:
        return self._problem

    def start(self, loop: Loop, changed: Callable[[], None]) -> None:
        if self._open():
            while self._steps is not None:
                self._step(float("inf"))
        elif self._mark is None:
            self._refuse("the file does not exist yet")
        loop.every(LOOK_EVERY, lambda: self._look(loop, changed))

    def _look(self, loop: Loop, changed: Callable[[], None]) -> None:
        # One that changes again while it is being read is read anew when that is over: it may change for ever.
        if self._steps is None and self._open():
            self._go_on(loop, changed)

    def _go_on(self, loop: Loop, changed: Callable[[], None]) -> None:
        before = self._records
        self._step(STEP_SECONDS)
        if self._steps is not None:
            loop.later(0.0, lambda: self._go_on(loop, changed))
        elif self._records is not before:
            changed()

    def _open(self) -> bool:
        """Whether there is something new to read."""
        mark = mark_of(self._path)
        if mark is None or mark == self._mark:
            return False
        self._mark = mark
        try:
            if mark[2] > LARGEST:
                raise BadRecords("it is larger than %d bytes" % LARGEST)
            with open(self._path, encoding="utf-8") as file:
                self._steps = self._reading(file.read())
        except (OSError, UnicodeDecodeError, BadRecords) as error:
            self._refuse(str(error))
            return False
        return True

    def _step(self, seconds: float) -> None:
        assert self._steps is not None
        until = time.perf_counter() + seconds
        try:
            while time.perf_counter() < until:
                next(self._steps)
        except StopIteration as end:
            self._steps = None
            self._use(end.value)
        except BadRecords as error:
            self._steps = None
            self._refuse(str(error))

    def _use(self, records: Records) -> None:
        if records.version < self._records.version and not self._accept_older:
            self._refuse("it is of version %d, which is older" % records.version)
            return
        for warning in records.warnings[:20]:
            log.warning("%s: %s", self._path, warning)
        self._records = records
        self._problem = ""
        # They live long: the garbage collector need not look at each of them again and again.
        gc.freeze()
        log.info("records of version %d: %d of instances", records.version, records.count)

    def _refuse(self, why: str) -> None:
        self._problem = why
        kept = "version %d stays in use" % self._records.version if self._records.count else "there are no records yet"
        log.error("%s: %s; %s", self._path, why, kept)


def mark_of(path: str) -> Optional[Mark]:
    """Changes when the file is replaced or written; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
