"""`/info`, certificates and blobs. Source: director API contract, sections 2.5 and 6.10."""

from __future__ import annotations

import datetime

from starlette.responses import FileResponse, Response

from director.api.calls import Call, answer
from director.errors import NotFoundError


def show(call: Call) -> Response:
    """Who this director is; the caller's name only when the credentials were right."""
    director = call.services.director
    return answer({
        "name": director.name,
        "uuid": director.uuid,
        "version": director.version,
        "user": call.user,
        "cpi": director.cpi,
        "user_authentication": {"type": "basic", "options": {}},
        "features": {
            "local_dns": {"status": True, "extras": {"domain_name": director.domain}},
            "snapshots": {"status": False},
            "config_server": {"status": False, "extras": {"urls": []}},
        },
    })


def certificates(call: Call) -> Response:
    """When the server's certificate ends."""
    path = call.services.certificate
    if path is None:
        return answer([])
    from cryptography import x509

    ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    left = ends - datetime.datetime.fromtimestamp(call.services.clock(), datetime.UTC)
    return answer([{"certificate_path": path.name, "expiry": ends.strftime("%Y-%m-%dT%H:%M:%SZ"), "days_left": left.days}])


def resource(call: Call) -> Response:
    """A blob's bytes."""
    blob_id = call.path["id"]
    if not call.services.blobs.exists(blob_id):
        raise NotFoundError(f"Resource '{blob_id}' not found in the blobstore", code=100002)
    return FileResponse(call.services.blobs.path(blob_id), media_type="application/x-gzip")
