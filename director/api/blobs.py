"""Blobs for machines, which have no account: whoever has a link that the director signed may read that blob until it expires."""

from __future__ import annotations

import stat

from starlette.responses import FileResponse, Response

from director.api import calls
from director.blobs import Signer
from director.errors import NotFoundError

PIECE_BYTES = 1 << 20


class _Blob(FileResponse):
    chunk_size = PIECE_BYTES


def path_of(blob_id: str) -> str:
    """The path that is signed: what the route table has."""
    return f"/signed/blobs/{blob_id}"


def link(signer: Signer, base_url: str, blob_id: str, seconds: float) -> str:
    """A URL, a secret, under which the blob can be read for that long."""
    return base_url.rstrip("/") + signer.sign(path_of(blob_id), seconds)


def fetch(call: calls.Call) -> Response:
    """The blob, or a part of it. Bad links and unknown blobs are not told apart."""
    signer, blob_id = call.services.signer, call.path["id"]
    if signer is None or not signer.allows(path_of(blob_id), call.query):
        return _refused()
    try:
        path = call.services.blobs.path(blob_id)
        facts = path.stat()
    except (NotFoundError, FileNotFoundError):
        return _refused()
    if not stat.S_ISREG(facts.st_mode):
        return _refused()
    return _Blob(path, media_type="application/octet-stream", stat_result=facts)


def _refused() -> Response:
    return calls.words("Not allowed\n", 403)
