"""Fetching what a task made: with progress, whole or not at all, checked against its digest."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
from collections.abc import Callable, Iterator

from director.cli import uploads
from director.cli.session import Session


def stamped(prefix: str) -> str:
    """`PREFIX-YYYYMMDD-HHMMSS-NANOSECONDS.tgz`, of now."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{prefix}-{now.strftime('%Y%m%d-%H%M%S')}-{now.microsecond * 1000:09d}.tgz"


def fetch(session: Session, blob_id: str, digest: str, folder: pathlib.Path, prefix: str) -> pathlib.Path:
    """Write a blob to a new file of `folder`, whose path is answered. Raises UsageError when it has another digest ('' is not checked)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / stamped(prefix)
    partial = path.with_name(f".{path.name}.part")
    session.ui.line(f"Downloading resource '{blob_id}' to '{path}'...")
    try:
        with _watched(session, path.name) as watch:
            session.client.download(blob_id, partial, watch)
        if digest:
            uploads.check(partial, digest)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def _watched(session: Session, name: str) -> Iterator[Callable[[int, int], None]]:
    """Called with how many bytes are there, and how many there will be (0: unknown). Shows a bar on terminals when there are many."""
    if session.ui.manner != "terminal":
        yield lambda done, total: None
        return
    from rich import progress

    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    with progress.Progress(*columns, transient=True) as bar:
        task = bar.add_task(name, visible=False)

        def watch(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, visible=total >= uploads.SHOW_PROGRESS_FROM)

        yield watch
