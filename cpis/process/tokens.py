"""What each token made, written down beside an executable that knows of no tokens."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpis.contract import Conflict, Unavailable

_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,120}")


@dataclasses.dataclass(frozen=True)
class Made:
    """`cid` is empty from before the call until its answer: a row that stays so tells of a thing that may exist, and nobody knows its name.

    `answer` is what the caller got, to be given again; `source` the disk of a snapshot. Times are seconds since the epoch.
    """

    token: str
    kind: str
    shape: str
    created_at: float
    cid: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answer: Any = None
    source: str = ""


class Tokens:
    """One small file per token in a folder; without a folder they are kept in memory, for as long as the CPI lives."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._rows: dict[str, Made] = {}
        for file in sorted(folder.glob("*.json")) if folder is not None and folder.is_dir() else ():
            try:
                row = Made(**json.loads(file.read_text()))
            except (ValueError, TypeError) as error:
                raise Unavailable(
                    f"the record {file} is damaged: {error}", suggestion="Look what it names in the cloud, then remove it.") from error
            self._rows[row.token] = row

    def get(self, token: str) -> Made | None:
        with self._lock:
            return self._rows.get(token)

    def of_shape(self, token: str, shape: str) -> Made | None:
        """What the token has made or begun. Raises Conflict when that was something else."""
        row = self.get(token)
        if row is not None and row.shape != shape:
            raise Conflict(f"the token '{token}' was used with other arguments", resource=row.cid)
        return row

    def put(self, row: Made) -> None:
        """Durable when it returns."""
        with self._lock:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                temporary = self._folder / f".{_file_of(row.token)}.new"
                with temporary.open("w") as stream:
                    json.dump(dataclasses.asdict(row), stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(temporary, self._folder / f"{_file_of(row.token)}.json")
            self._rows[row.token] = row

    def drop(self, token: str) -> None:
        with self._lock:
            if self._folder is not None:
                (self._folder / f"{_file_of(token)}.json").unlink(missing_ok=True)
            self._rows.pop(token, None)

    def drop_cid(self, kind: str, cid: str) -> None:
        """The thing is gone, and its token with it."""
        for row in [row for row in self.all() if (row.kind, row.cid) == (kind, cid)]:
            self.drop(row.token)

    def all(self) -> list[Made]:
        with self._lock:
            return list(self._rows.values())


def shape_of(*parts: Any) -> str:
    """A digest of arguments, the same for the same ones."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _file_of(token: str) -> str:
    return token if _TOKEN.fullmatch(token) and not token.startswith(".") else hashlib.sha256(token.encode()).hexdigest()
