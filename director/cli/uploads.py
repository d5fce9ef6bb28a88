"""Sending archives: digest first, progress while it goes."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from director.cli.client import pieces_of
from director.cli.session import Session
from director.errors import UsageError

SHOW_PROGRESS_FROM = 8 << 20


def check(path: pathlib.Path, digest: str) -> None:
    """Compare a file with `sha1` hex or `sha256:` hex; raises UsageError."""
    algorithm, _colon, wanted = digest.rpartition(":")
    made = hashlib.new(algorithm or "sha1", usedforsecurity=False) if (algorithm or "sha1") in ("sha1", "sha256", "sha512") else None
    if made is None:
        raise UsageError(f"Unknown digest algorithm '{algorithm}'", suggestion="Use sha1 hex, sha256:hex or sha512:hex.")
    for piece in pieces_of(path):
        made.update(piece)
    if made.hexdigest() != wanted.lower():
        raise UsageError(f"Expected '{path}' to have digest '{digest}' but it has '{made.hexdigest()}'", suggestion="Fetch it again.")


def send(session: Session, kind: str, path: pathlib.Path, query: Mapping[str, Any]) -> dict[str, Any]:
    """Upload a file; the task's JSON. Large files show a bar on terminals."""
    if session.ui.manner == "terminal" and path.stat().st_size >= SHOW_PROGRESS_FROM:
        return session.client.upload_file(kind, path, query, _with_bar(path))
    return session.client.upload_file(kind, path, query)


def _with_bar(path: pathlib.Path) -> Iterator[bytes]:
    from rich import progress

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    with progress.Progress(*columns, transient=True) as bar:
        task = bar.add_task(path.name, total=path.stat().st_size)
        for piece in pieces_of(path):
            yield piece
            bar.advance(task, len(piece))
