"""Cloud Storage of the fake: buckets, objects, resumable uploads (JSON API)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from cpis.conformance.clouds.gcp.world import Body, Refused, World, now_text

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_CHUNK = 256 * 1024


class Store:
    """`handle` answers (status, headers, body). Objects are kept in `World.objects`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[str, tuple[str, str, bytearray]] = {}
        self._numbers = itertools.count(1)

    def handle(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], data: bytes, body: Any,
    ) -> tuple[int, dict[str, str], Body | None]:
        """Raises Refused."""
        upload = re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", path)
        if upload:
            return self._upload(method, unquote(upload.group(1)), query, headers, data, body)
        found = re.fullmatch(r"/storage/v1/b(?:/([^/]+)(?:/o(?:/([^/]+))?)?)?", path)
        if found is None:
            raise Refused(404, "notFound", "Not Found")
        bucket, name = unquote(found.group(1) or ""), unquote(found.group(2) or "")
        if not bucket:
            return self._buckets(method, query, body)
        if bucket not in self._world.buckets:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        if path.endswith("/o"):
            return 200, {}, {"items": [{"name": key[1], "bucket": bucket} for key in self._world.objects if key[0] == bucket]}
        if name:
            return self._object(method, bucket, name)
        if method == "DELETE":
            if any(key[0] == bucket for key in self._world.objects):
                raise Refused(409, "conflict", "The bucket you tried to delete is not empty.")
            del self._world.buckets[bucket]
            return 204, {}, None
        return 200, {}, self._world.buckets[bucket]

    def _buckets(self, method: str, query: Mapping[str, str], body: Any) -> tuple[int, dict[str, str], Body | None]:
        if query.get("project") != self._world.project:
            raise Refused(400, "invalid", f"Unknown project id: {query.get('project')}")
        if method == "GET":
            prefix = query.get("prefix", "")
            return 200, {}, {"items": [bucket for name, bucket in self._world.buckets.items() if name.startswith(prefix)]}
        name = str((body or {}).get("name"))
        if not _BUCKET.fullmatch(name):
            raise Refused(400, "invalid", f"Invalid bucket name: '{name}'")
        if name in self._world.buckets:
            raise Refused(409, "conflict", "Your previous request to create the named bucket succeeded and you already own it.")
        self._world.buckets[name] = {"kind": "storage#bucket", **body, "timeCreated": now_text()}
        return 200, {}, self._world.buckets[name]

    def _object(self, method: str, bucket: str, name: str) -> tuple[int, dict[str, str], Body | None]:
        if (bucket, name) not in self._world.objects:
            raise Refused(404, "notFound", f"No such object: {bucket}/{name}")
        if method == "DELETE":
            del self._world.objects[bucket, name]
            return 204, {}, None
        return 200, {}, {"name": name, "bucket": bucket, "size": str(len(self._world.objects[bucket, name]))}

    def _upload(
        self, method: str, bucket: str, query: Mapping[str, str], headers: Mapping[str, str], data: bytes, body: Any,
    ) -> tuple[int, dict[str, str], Body | None]:
        if bucket not in self._world.buckets:
            raise Refused(404, "notFound", "The specified bucket does not exist.")
        if method == "POST":
            session = f"session-{next(self._numbers)}"
            self._sessions[session] = (bucket, query.get("name") or str((body or {}).get("name")), bytearray())
            host = headers.get("Host", "storage.googleapis.com")
            at = f"http://{host}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={session}"
            return 200, {"Location": at}, None
        if query.get("upload_id") not in self._sessions:
            raise Refused(404, "notFound", "There is no such upload session.")
        return self._chunk(query["upload_id"], headers.get("Content-Range", ""), data)

    def _chunk(self, session: str, told: str, data: bytes) -> tuple[int, dict[str, str], Body | None]:
        bucket, name, have = self._sessions[session]
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", told)
        if found is None:
            raise Refused(400, "invalid", f"Failed to parse Content-Range header: '{told}'")
        total = None if found.group(3) == "*" else int(found.group(3))
        if found.group(1) is not None:
            first, end = int(found.group(1)), int(found.group(2))
            if first > len(have) or end - first + 1 != len(data):
                raise Refused(400, "invalid", f"The range {told} does not follow what is there ({len(have)} bytes).")
            if end + 1 != total and len(data) % _CHUNK:
                raise Refused(400, "invalid", "Chunks must be multiples of 256 KiB.")
            have[first:] = data
        if total is not None and len(have) >= total:
            self._world.objects[bucket, name] = bytes(have)
            return 200, {}, {"kind": "storage#object", "name": name, "bucket": bucket, "size": str(total)}
        return 308, {"Range": f"bytes=0-{len(have) - 1}"} if have else {}, None
