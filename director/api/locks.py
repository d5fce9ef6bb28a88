"""Locks. Source: director API contract, sections 6.10 and 10."""

from __future__ import annotations

from starlette.responses import Response

from director.api.calls import Call, answer


def index(call: Call) -> Response:
    """Those held now; `timeout` and `task_id` are texts, as the `bosh` command insists."""
    now = call.services.clock()
    return answer([
        {
            "type": [*lock.name.split(":"), ""][1],
            "resource": lock.name.split(":")[2:],
            "timeout": f"{lock.expires_at:.6f}",
            "task_id": str(lock.task_id or ""),
        }
        for lock in call.services.store.locks.all()
        if lock.expires_at > now
    ])
