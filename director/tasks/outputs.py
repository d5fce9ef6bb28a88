"""A task's outputs on disk: `DIR/ID/{event,result,debug,cpi}`. They outlive the director."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TYPES = ("event", "result", "debug", "cpi")


class Outputs:
    """Where outputs are, and what the API reads of them. Source: API contract, 3.4."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, task_id: int, type: str) -> Path:
        """The file of an output, there or not. Raises ValueError for an unknown type."""
        if type not in TYPES:
            raise ValueError(type)
        return self.folder / str(int(task_id)) / type

    def size(self, task_id: int, type: str) -> int | None:
        """In bytes, None while there is no such file."""
        try:
            return self.path(task_id, type).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, task_id: int, type: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes from `start` to `end` (exclusive), as far as they are written. Empty when there is no file."""
        try:
            with self.path(task_id, type).open("rb") as stream:
                stream.seek(start)
                return stream.read() if end is None else stream.read(max(0, end - start))
        except FileNotFoundError:
            return b""

    def open(self, task_id: int, type: str, *, fresh: bool) -> int:
        """A descriptor that appends; `fresh` empties the file. A last line that a crash cut off is removed: half a line of JSON would
        stop every reader."""
        path = self.path(task_id, type)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_TRUNC if fresh else 0), 0o600)
        if not fresh:
            _cut_last_line(descriptor)
        return descriptor

    def delete(self, task_id: int) -> None:
        """Remove all outputs of a task."""
        shutil.rmtree(self.folder / str(int(task_id)), ignore_errors=True)


def _cut_last_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    position = size
    while position > 0:
        start = max(0, position - 4096)
        newline = os.pread(descriptor, position - start, start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position != size:
        os.ftruncate(descriptor, position)
