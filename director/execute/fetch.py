"""Where an uploaded archive is: in a file that the task owns, or at an address."""

from __future__ import annotations

import dataclasses
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from director.errors import ReleaseError
from director.execute.context import Context
from director.release import digest

FETCH_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Upload:
    """Where the archive is: a `path` that the task owns, or a `url`. `sha1` is a digest text, '' for none."""

    path: str = ""
    url: str = ""
    sha1: str = ""
    fix: bool = False
    rebase: bool = False


@contextmanager
def fetched(ctx: Context, upload: Upload, what: str) -> Iterator[Path]:
    """The archive as a file, verified when a digest was given; gone afterwards. Raises ReleaseError, Cancelled."""
    if upload.path:
        path = Path(upload.path)
        try:
            if upload.sha1:
                digest.verify(path, upload.sha1, path.name)
            yield path
        finally:
            path.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(dir=ctx.blobs.incoming) as folder:
        path = Path(folder) / (urllib.parse.urlsplit(upload.url).path.rstrip("/").rsplit("/", 1)[-1] or what)
        with ctx.log.stage(f"Downloading remote {what}").step(f"Downloading remote {what}"):
            _download(ctx, upload.url, path)
        if upload.sha1:
            with ctx.log.stage(f"Verifying remote {what}").step(f"Verifying remote {what}"):
                digest.verify(path, upload.sha1, upload.url)
        yield path


def _download(ctx: Context, url: str, path: Path) -> None:
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=FETCH_SECONDS) as response, path.open("wb") as target:
            response.raise_for_status()
            for piece in response.iter_bytes(1 << 20):
                ctx.check()
                target.write(piece)
    except httpx.HTTPError as error:
        raise ReleaseError(f"'{url}' cannot be fetched: {error}", suggestion="Fetch it yourself and upload the file.") from error
