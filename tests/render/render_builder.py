"""Requests for the tests of this folder."""

from __future__ import annotations

from typing import Any

from director.render.model import DnsIds, RenderJob, RenderRequest, Template

IDS = DnsIds(azs={"z1": 1, "z2": 2}, networks={"net": 3}, groups={"db": 7}, instances={"u-1": 7})


def job(text: str = "", *, name: str = "web", source: str = "a.erb", **fields: Any) -> RenderJob:
    templates = fields.pop("templates", (Template(source, f"config/{source.rsplit('.', 1)[0]}", text),) if text else ())
    return RenderJob(name, "demo", "1", templates=templates, **fields)


def request(*jobs: RenderJob, index: int = 0, group: str = "front", **fields: Any) -> RenderRequest:
    networks = {"a": {"ip": "10.0.0.4", "dns_record_name": "0.front.a.dep.bosh"}, "b": {"ip": "10.1.0.4"}}
    shape: dict[str, Any] = {
        "deployment": "dep", "group": group, "index": index, "id": f"id-{index}", "az": "z1", "bootstrap": index == 0,
        "address": "id.front.a.dep.bosh", "ip": "10.0.0.4", "networks": networks, "ids": IDS, **fields,
    }
    return RenderRequest(jobs=jobs, **shape)


def link(**fields: Any) -> dict[str, Any]:
    """A link to two instances of group `db`."""
    return {
        "group_name": "db", "default_network": "net", "deployment_name": "dep", "domain": "bosh", "properties": {"port": 5, "none": None},
        "instances": [
            {"name": "db", "index": 0, "id": "u-1", "az": "z1", "address": "10.0.0.9", "bootstrap": True},
            {"name": "db", "index": 1, "id": "u-2", "az": "z2", "address": "10.0.0.8", "bootstrap": False},
        ], **fields,
    }
