"""A blob fetched by the machine itself from a signed URL. The URL and headers are secrets."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Dict

from .. import files
from ..errors import ActionError
from ..host import Call
from .base import Action

TRIES = 3
PAUSE_SECONDS = 5.0


def run(call: Call, url: str, digest: str, headers: Dict[str, str]) -> str:
    layout = call.host.layout
    target = layout.blobs / files.bare(digest)
    if target.is_file():
        return "present"
    layout.tmp.mkdir(parents=True, exist_ok=True)
    layout.blobs.mkdir(parents=True, exist_ok=True)
    work = layout.tmp / ("fetch-" + secrets.token_hex(8))
    try:
        for left in reversed(range(TRIES)):
            try:
                actual = _fetch(call, url, headers, str(work))
                break
            except _http_errors() as error:
                if left == 0:
                    raise ActionError("Blob %s could not be fetched: %s" % (digest, _reason(error))) from None
                call.pause(PAUSE_SECONDS)
        if actual != files.bare(digest):
            raise ActionError("Payload corrupted. Checksum mismatch. Expected '%s', was 'sha256:%s'" % (digest, actual))
        os.replace(str(work), str(target))
        return "fetched"
    finally:
        files.remove(work)


def _http_errors() -> tuple:  # type: ignore[type-arg]
    import http.client
    import urllib.error

    return (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


def _reason(error: Exception) -> str:
    """Without the URL, which errors of urllib may hold."""
    code = getattr(error, "code", None)
    return "HTTP status %s" % code if code else "%s %s" % (type(error).__name__, getattr(error, "reason", ""))


def _fetch(call: Call, url: str, headers: Dict[str, str], target: str) -> str:
    import urllib.request

    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as source, open(target, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        while True:
            call.check()
            chunk = source.read(files.CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
            file.write(chunk)


ACTION = Action(run, loggable=False, cancellable=True)
