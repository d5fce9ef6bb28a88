"""The older endpoints per type, which `bosh cloud-config` and its like still use. Source: director API contract, section 6.9."""

from __future__ import annotations

from starlette.responses import Response

from director.api import config_diffs, configs
from director.api.calls import Call, answer, timestamp, words
from director.errors import ManifestError
from director.manifest.configs import parse_cpi_config
from director.manifest.load import load_yaml


def _index(call: Call, type_: str) -> Response:
    limit = call.query.get("limit")
    if limit is None or not limit.isdigit() or int(limit) < 1:
        return words("limit is required", 400)
    found = call.services.store.configs.select(type=type_, name=_name(call), limit=int(limit))
    return answer([{"properties": config.content, "created_at": timestamp(config.created_at)} for config in found])


def _update(call: Call, type_: str) -> Response:
    configs.save(call, type_, _name(call), call.text())
    return Response(status_code=201)


def _diff(call: Call, type_: str, *, redact: bool) -> Response:
    latest = call.services.store.configs.latest(type_, _name(call))
    content = call.text()
    try:
        configs.check_content(type_, content)
        return answer({"diff": config_diffs.of_contents(latest.content if latest else "", content, redact=redact)})
    except ManifestError as error:
        return answer({"diff": [], "error": f"Unable to diff {type_} config: {error.message}"}, 400)


def _name(call: Call) -> str:
    return call.query.get("name") or "default"


def _redacted(call: Call) -> bool:
    return call.query.get("redact") != "false"


def cloud_index(call: Call) -> Response:
    return _index(call, "cloud")


def cloud_update(call: Call) -> Response:
    return _update(call, "cloud")


def cloud_diff(call: Call) -> Response:
    """Never redacted."""
    return _diff(call, "cloud", redact=False)


def runtime_index(call: Call) -> Response:
    return _index(call, "runtime")


def runtime_update(call: Call) -> Response:
    return _update(call, "runtime")


def runtime_diff(call: Call) -> Response:
    return _diff(call, "runtime", redact=_redacted(call))


def cpi_index(call: Call) -> Response:
    return _index(call, "cpi")


def cpi_update(call: Call) -> Response:
    """The one endpoint that looks into what it stores. Source: manifest contract, section 15."""
    configs.check_content("cpi", call.text())
    parse_cpi_config([load_yaml(call.text(), "cpi config")])
    return _update(call, "cpi")


def cpi_diff(call: Call) -> Response:
    return _diff(call, "cpi", redact=_redacted(call))
