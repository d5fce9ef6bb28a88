"""Links. Source: director API contract, section 6.12."""

from __future__ import annotations

from starlette.responses import Response

from director.api.calls import Call, answer, unsupported
from director.errors import UsageError


def providers(call: Call) -> Response:
    """What a deployment provides."""
    name = call.query.get("deployment")
    if not name:
        raise UsageError("Deployment name is required", code=190024)
    call.services.store.deployments.get(name)
    return answer([
        {
            "id": str(row.id), "name": row.name, "shared": row.shared, "deployment": row.deployment,
            "link_provider_definition": {"type": row.type, "name": row.original_name},
            "owner_object": {"type": "job", "name": row.job, "info": {"instance_group": row.group}},
        }
        for row in call.services.store.links.of(name)
    ])


def others(_call: Call) -> Response:
    return unsupported("external links")
