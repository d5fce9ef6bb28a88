"""Variables: names and ids; no value ever leaves the director this way. Source: director API contract, section 6.1."""

from __future__ import annotations

import datetime

from starlette.responses import Response

from director.api import rotations
from director.api.calls import Call, answer, timestamp


def _pins(call: Call) -> dict[str, str]:
    """Name -> id of what the last successful deploy used."""
    store = call.services.store
    current = store.deployments.get(call.deployment).variable_set_id
    if current is None:
        last = store.variables.last_deployed_set(call.deployment)
        current = last.id if last else None
    return store.variables.pins(current) if current is not None else {}


def index(call: Call) -> Response:
    """Ids and names; with `details=true` (ours) also types, versions, ends and uses."""
    if call.flag("details"):
        return answer(rotations.details(call, call.deployment))
    return answer([{"id": identity, "name": name} for name, identity in sorted(_pins(call).items())])


def certificates(call: Call) -> Response:
    """When the deployment's certificates end."""
    rows = call.services.store.variables.with_ids(_pins(call).values())
    now = call.services.clock()
    return answer([
        {
            "name": row.name, "id": row.id, "expiry_date": timestamp(row.expires_at),
            "days_left": datetime.timedelta(seconds=row.expires_at - now).days,
        }
        for row in sorted(rows.values(), key=lambda row: row.name) if row.expires_at
    ])


def everything(call: Call) -> Response:
    """The variables of all deployments, with details: ours, an addition to the contract."""
    return answer(rotations.details(call))


def deployed(call: Call) -> Response:
    """Which deployments use a variable, in which version."""
    found = call.services.store.variables.deployments_with(call.path["name"])
    return answer({"deployments": [{"name": name, "version": version} for name, version in found]})
