"""A file that another action left for the director to fetch, removed."""

from __future__ import annotations

from .. import files
from ..errors import InvalidArguments
from ..host import Call
from .base import Action


def run(call: Call, path: str) -> str:
    layout = call.host.layout
    place = layout.root / path.lstrip("/")
    if ".." in place.parts or place.parent not in (layout.tmp, layout.blobs):
        raise InvalidArguments("'%s' is no file that an action left" % path)
    files.remove(place)
    return "removed"


ACTION = Action(run)
