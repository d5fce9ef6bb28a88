"""Logs packed for the director to fetch. Source: the agent contract, section 5.5."""

from __future__ import annotations

import glob
import os
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

from .. import archive, files
from ..errors import ActionError
from ..host import Call, Host
from .base import Action


def run(call: Call, types: str, filters: List[str]) -> Dict[str, Any]:
    host = call.host
    chosen = [_root(host, kind.strip()) for kind in types.split(",")]
    host.layout.tmp.mkdir(parents=True, exist_ok=True)
    target = host.layout.tmp / ("logs-%s.tgz" % files.unique())
    try:
        with tarfile.open(str(target), "w:gz", compresslevel=4, format=tarfile.GNU_FORMAT) as packed:
            for root, prefix in chosen:
                for name in matching(root, filters or ["**/*"]):
                    call.check()
                    try:
                        archive.add_growing(packed, root / name, "./%s%s" % (prefix, name))
                    except FileNotFoundError:
                        continue  # rotated away meanwhile
        return {"path": host.layout.inner(target), "digest": "sha256:" + files.sha256(target), "size": target.stat().st_size}
    except BaseException:
        files.remove(target)
        raise


def _root(host: Host, kind: str) -> Tuple[Path, str]:
    """Where logs of the type are, and under which folder they are packed."""
    if kind == "job":
        return host.layout.log, ""
    if kind == "agent":
        return host.layout.agent_log.parent, ""
    if kind == "system":
        return host.layout.root / "var/log", "var/log/"
    raise ActionError("Invalid log type")


def matching(root: Path, filters: List[str]) -> List[str]:
    """Regular files below root that match any of the globs; never outside of it."""
    found = set()
    for pattern in filters:
        if pattern.startswith("/") or ".." in pattern.split("/"):
            continue
        for path in glob.iglob(os.path.join(glob.escape(str(root)), pattern), recursive=True):
            name = os.path.relpath(path, str(root))
            if os.path.isfile(path) and not os.path.islink(path):
                found.add(name)
    return sorted(found)


ACTION = Action(run, cancellable=True)
