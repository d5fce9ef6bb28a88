"""A file that the director uploaded, verified and moved to its place."""

from __future__ import annotations

import os
from pathlib import Path

from .. import files
from ..errors import ActionError, InvalidArguments
from ..host import Call
from .base import Action


def run(call: Call, upload: str, target: str, digest: str, mode: int) -> str:
    layout = call.host.layout
    source, place = layout.root / upload.lstrip("/"), layout.root / target.lstrip("/")
    for path in (source, place):
        if ".." in path.parts or layout.vcap not in path.parents:
            raise InvalidArguments("'%s' is not below /var/vcap" % path)
    if not source.is_file() and place.is_file() and files.sha256(place) == files.bare(digest):
        return "present"
    actual = files.sha256(source)
    if actual != files.bare(digest):
        files.remove(source)
        raise ActionError("Payload corrupted. Checksum mismatch. Expected '%s', was 'sha256:%s'" % (digest, actual))
    place.parent.mkdir(parents=True, exist_ok=True)
    os.chown(str(source), os.getuid(), os.getgid())
    source.chmod(mode)
    os.replace(str(source), str(Path(place)))
    return "stored"


ACTION = Action(run)
