"""A file that the director uploaded, verified and moved to its place."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from .. import files
from ..errors import ActionError, InvalidArguments
from ..host import Call, Host
from .base import Action


def run(call: Call, upload: str, target: str, digest: str, mode: int, size: int = -1) -> str:
    """A shorter upload is one that the disk had no room for: writing over SFTP does not tell."""
    source, place = below_vcap(call.host, upload), below_vcap(call.host, target)
    if not source.is_file() and place.is_file() and files.sha256(place) == files.bare(digest):
        return "present"
    received = source.stat().st_size
    if received < size:
        room = os.statvfs(str(source.parent))
        files.remove(source)
        if room.f_bavail * room.f_frsize < size - received:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        raise ActionError("Only %d of %d bytes of %s arrived" % (received, size, target))
    actual = files.sha256(source)
    if actual != files.bare(digest):
        files.remove(source)
        raise ActionError("Payload corrupted. Checksum mismatch. Expected '%s', was 'sha256:%s'" % (digest, actual))
    put(source, place, mode)
    return "stored"


def below_vcap(host: Host, name: str) -> Path:
    """The path of a file that the director may write. Raises InvalidArguments."""
    path = host.layout.root / name.lstrip("/")
    if ".." in path.parts or host.layout.vcap not in path.parents:
        raise InvalidArguments("'%s' is not below /var/vcap" % path)
    return path


def put(source: Path, place: Path, mode: int) -> None:
    """Move a file, root's with this mode: whole or not at all, also to another file system, such as a persistent disk."""
    place.parent.mkdir(parents=True, exist_ok=True)
    os.chown(str(source), os.getuid(), os.getgid())
    source.chmod(mode)
    try:
        os.replace(str(source), str(place))
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    part = place.with_name(".%s.part" % place.name)
    try:
        shutil.copy2(str(source), str(part))
        os.replace(str(part), str(place))
    finally:
        files.remove(part)
        files.remove(source)


ACTION = Action(run)
