"""Stemcells. Source: director API contract, section 6.8."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from director.api import uploads
from director.api.calls import Call, answer, field
from director.errors import NotFoundError
from director.state.stemcells import StemcellRow

UNKNOWN = 50003


def index(call: Call) -> Response:
    """A row per CPI."""
    store = call.services.store
    used: dict[tuple[str, str], list[str]] = {}
    for deployment, name, version in store.deployments.stemcells():
        used.setdefault((name, version), []).append(deployment)
    rows = sorted(store.stemcells.all(), key=lambda row: (row.name, row.version, row.cpi))
    return answer([shown(row, used.get((row.name, row.version), [])) for row in rows])


def shown(row: StemcellRow, deployments: list[str]) -> dict[str, Any]:
    """A stemcell on one CPI, with the deployments that use it."""
    return {
        "name": row.name,
        "operating_system": row.os,
        "version": row.version,
        "cid": row.cid,
        "cpi": row.cpi,
        "api_version": row.api_version,
        "id": row.id,
        "deployments": [{"name": name} for name in deployments],
    }


def needed(call: Call) -> Response:
    """Whether any CPI lacks it."""
    asked = field(call.json(), "stemcell", dict)
    name, version = field(asked, "name", str), field(asked, "version", str)
    found = {row.cpi for row in call.services.store.stemcells.on_all_cpis(name, version)}
    return answer({"needed": not set(call.services.cpis()) <= found})


def upload(call: Call) -> Response:
    """An archive, or the YAML of a light stemcell, as the body."""
    return call.start("upload_stemcell", uploads.arguments(call, "fix"), "create stemcell")


def fetch(call: Call) -> Response:
    """An archive at an address."""
    return call.start("upload_stemcell", uploads.arguments(call, "fix"), "create stemcell")


def delete(call: Call) -> Response:
    name, version = call.path["name"], call.path["version"]
    if not call.services.store.stemcells.on_all_cpis(name, version):
        raise NotFoundError(f"Stemcell '{name}/{version}' doesn't exist", code=UNKNOWN)
    arguments = {"name": name, "version": version, "force": call.flag("force")}
    return call.start("delete_stemcell", arguments, f"delete stemcell: {name}/{version}")
