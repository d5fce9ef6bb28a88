"""Where archives come from: a body that was written to a file, or an address the director fetches from."""

from __future__ import annotations

import pathlib
from typing import Any

from director.api.calls import Call, field
from director.errors import UsageError
from director.state import store as state_store


def arguments(call: Call, *flags: str) -> dict[str, Any]:
    """`path` for a body, `url` for an address, `sha1` and the flags. The task owns the file at `path` and removes it."""
    chosen = {name: call.flag(name) for name in flags}
    if call.upload is not None:
        return {"path": str(call.upload), "url": "", "sha1": call.query.get("sha1") or "", **chosen}
    body = call.json()
    url = field(body, "location", str)
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"Location '{url}' is no http(s) address", code=40005, suggestion="Send files as the body of the request.")
    return {"path": "", "url": url, "sha1": field(body, "sha1", str, default=""), **chosen}


def sweep(folder: pathlib.Path, store: state_store.Store) -> int:
    """Remove uploads that no waiting or running task owns: what a director that died left. Returns how many."""
    owned = {str(task.arguments.get("path")) for task in store.tasks.select(states=("queued", "processing", "cancelling"))}
    stale = [path for path in folder.glob("upload-*") if str(path) not in owned]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)
