"""Persistent disks. Six small actions over `disks.py`. Source: the agent contract, section 3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Union

from ..errors import ActionError
from ..host import Call
from ..shell import Script
from .base import Action


def list_disk(call: Call) -> List[str]:
    """CIDs of mounted disks."""
    return call.host.disks.mounted()


def mount(call: Call, cid: str, hint: Union[str, Dict[str, Any]], fs: str = "", options: List[str] = []) -> Dict[str, Any]:  # noqa: B006
    call.host.disks.mount(cid, hint, fs, options)
    return {}


def unmount(call: Call, cid: str) -> Dict[str, str]:
    return {"message": call.host.disks.unmount(cid)}


def migrate(call: Call, cid: str = "") -> Dict[str, Any]:
    """With the new disk's `cid`: done before is success."""
    if cid and call.host.disks.moved(cid):
        return {}

    def copy(source: Path, target: Path) -> None:
        import tempfile

        with tempfile.TemporaryFile() as output:
            code = Script(["cp", "-a", "--remove-destination", str(source) + "/.", str(target)], {}).run(call.cancelled, output, output)
            if code != 0:
                output.seek(0)
                text = output.read(10000).decode("utf-8", "replace")
                raise ActionError("Copying the persistent disk failed with exit code %d" % code, text)

    call.host.disks.migrate(copy)
    return {}


def resize(call: Call, cid: str) -> Dict[str, Any]:
    call.host.disks.grow(cid)
    return {}


def remove(call: Call, cid: str) -> Dict[str, Any]:
    """Forget the disk. Raises ActionError while it is mounted."""
    if cid in call.host.disks.mounted():
        raise ActionError("Persistent disk '%s' is still mounted" % cid)
    call.host.disks.forget(cid)
    return {}


LIST = Action(list_disk)
MOUNT = Action(mount, asynchronous=True)
UNMOUNT = Action(unmount, asynchronous=True)
MIGRATE = Action(migrate, asynchronous=True, cancellable=True)
RESIZE = Action(resize, asynchronous=True)
REMOVE = Action(remove)
