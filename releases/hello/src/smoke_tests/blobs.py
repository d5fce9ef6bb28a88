"""Blobstore: signed links work, everything else is refused."""

from __future__ import annotations

import base64
import hashlib
import http.client
import secrets
import ssl
import time
from typing import Dict, Optional, Tuple

from .checks import Config, expect


def sign(path: str, secret: str, expires: int) -> str:
    digest = hashlib.md5(("%d%s %s" % (expires, path, secret)).encode()).digest()
    return "%s?md5=%s&expires=%d" % (path, base64.urlsafe_b64encode(digest).decode().rstrip("="), expires)


def _ask(
    config: Config, method: str, path: str, body: Optional[bytes] = None, password: str = "", tls: bool = False
) -> Tuple[int, bytes]:
    store, host = config["blobstore"], config["links"]["blobstore"]["address"]
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context(cafile=store["ca_file"])
        connection = http.client.HTTPSConnection(host, store["tls_port"], timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(host, store["port"], timeout=10)
    headers: Dict[str, str] = {}
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(("%s:%s" % (store["user"], password)).encode()).decode()
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def blob_put_and_read_with_links(config: Config) -> str:
    secret, key, soon = config["blobstore"]["secret"], "smoke/" + secrets.token_hex(8), int(time.time()) + 60
    body = secrets.token_bytes(300000)
    write, read = "/write/" + key, "/read/" + key
    for what, method, path, wanted in (
        ("a write without a signature", "PUT", write, 403),
        ("a write with an expired link", "PUT", sign(write, secret, soon - 120), 403),
        ("a write with another path's link", "PUT", write + "?" + sign(read, secret, soon).partition("?")[2], 403),
        ("a write with a signed link", "PUT", sign(write, secret, soon), 201),
        ("a read without a signature", "GET", read, 403),
        ("a write with a link to read", "PUT", sign(read, secret, soon), 403),
    ):
        status, _ = _ask(config, method, path, body if method == "PUT" else None)
        expect(status == wanted, "%s: expected %d, got %d" % (what, wanted, status))
    status, got = _ask(config, "GET", sign(read, secret, soon))
    expect(status == 200 and got == body, "read %d bytes with status %d, wrote %d" % (len(got), status, len(body)))
    return "%d bytes put and read with signed links, five wrong ones refused" % len(body)


def blob_managed_with_password(config: Config) -> str:
    password, path = config["blobstore"]["password"], "/admin/smoke/" + secrets.token_hex(8)
    for what, method, word, wanted in (
        ("a put without a password", "PUT", "", 401),
        ("a put with a wrong password", "PUT", "wrong", 401),
        ("a put", "PUT", password, 201),
        ("a get", "GET", password, 200),
        ("a delete", "DELETE", password, 204),
        ("a get after the delete", "GET", password, 404),
    ):
        status, _ = _ask(config, method, path, b"hello" if method == "PUT" else None, word, tls=True)
        expect(status == wanted, "%s: expected %d, got %d" % (what, wanted, status))
    return "a blob put, read and deleted over TLS with a password, refused without"
