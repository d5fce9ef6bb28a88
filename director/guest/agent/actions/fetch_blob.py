"""A blob fetched by the machine itself from a signed URL, which is a secret."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any, Generator, Iterator
from urllib.parse import urlsplit

from .. import files
from ..errors import InvalidArguments, NotFetched
from ..host import Call
from .base import Action

TRIES = 3
PAUSE_SECONDS = 5.0
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0


def run(call: Call, url: str, digest: str, ca: str) -> str:
    """`ca` alone vouches for who answers: neither the machine's own store nor its proxies are asked, no redirect is followed."""
    layout = call.host.layout
    target = layout.blobs / files.bare(digest)
    if target.is_file():
        return "present"
    layout.tmp.mkdir(parents=True, exist_ok=True)
    layout.blobs.mkdir(parents=True, exist_ok=True)
    work = layout.tmp / ("fetch-" + files.unique())
    try:
        for left in reversed(range(TRIES)):
            try:
                _fetch(call, url, ca, str(work), files.bare(digest))
                break
            except NotFetched as error:
                if left == 0:
                    raise NotFetched("Blob %s could not be fetched: %s (%d tries)" % (digest, error.message, TRIES)) from None
                call.pause(PAUSE_SECONDS)
        os.replace(str(work), str(target))
        return "fetched"
    finally:
        files.remove(work)


def _fetch(call: Call, url: str, ca: str, target: str, wanted: str) -> None:
    digest = hashlib.sha256()
    with open(target, "wb") as file, contextlib.closing(_pieces(url, ca)) as pieces:
        os.fchmod(file.fileno(), 0o600)
        for piece in pieces:
            call.check()
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != wanted:
        raise NotFetched("Payload corrupted. Checksum mismatch. Expected 'sha256:%s', was 'sha256:%s'" % (wanted, digest.hexdigest()))


def _pieces(url: str, ca: str) -> Generator[bytes, None, None]:
    """The content. Raises NotFetched, never with the URL, which errors of the library may hold; errors of the disk stay what they are."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidArguments("Blobs are fetched from https URLs only")
    try:
        import http.client
        import ssl
    except ImportError as error:
        raise NotFetched("the machine's Python lacks a part: %s" % error) from None
    trust = ssl.create_default_context(cadata=ca)
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=CONNECT_SECONDS, context=trust)
    try:
        connection.connect()
        connection.sock.settimeout(SILENCE_SECONDS)
        connection.request("GET", "%s?%s" % (parts.path, parts.query))
        response = connection.getresponse()
        if response.status != 200:
            raise NotFetched("HTTP status %d" % response.status)
        yield from _body(response)
    except OSError as error:
        raise NotFetched("%s: %s" % (type(error).__name__, error.strerror or "no answer")) from None
    except http.client.HTTPException as error:
        raise NotFetched(type(error).__name__) from None
    finally:
        connection.close()


def _body(response: Any) -> Iterator[bytes]:
    left = response.length
    while True:
        piece = response.read(files.CHUNK)
        if not piece:
            break
        left = left and left - len(piece)
        yield piece
    if left:
        raise NotFetched("the answer ended %d bytes early" % left)


ACTION = Action(run, loggable=False, cancellable=True)
