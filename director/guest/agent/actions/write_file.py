"""A small file that came with the request itself, verified and put in its place: no second program on the machine is needed for it."""

from __future__ import annotations

import binascii
import hashlib

from .. import files
from ..errors import ActionError, InvalidArguments
from ..host import Call
from .base import Action
from .store_file import below_vcap, put


def run(call: Call, data: str, target: str, digest: str, mode: int) -> str:
    """`data` is base64, `digest` the sha256 of what it says."""
    place = below_vcap(call.host, target)
    try:
        content = binascii.a2b_base64(data.encode("ascii"))
    except ValueError as error:
        raise InvalidArguments("The content of %s is no base64: %s" % (target, error)) from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != files.bare(digest):
        raise ActionError("Payload corrupted. Checksum mismatch. Expected '%s', was 'sha256:%s'" % (digest, actual))
    source = call.host.layout.tmp / ("upload-" + files.unique())
    try:
        source.write_bytes(content)
        put(source, place, mode)
    finally:
        files.remove(source)
    return "stored"


ACTION = Action(run, loggable=False)
