"""The one document that all template engines see: `spec` with `properties` and `links` in it, as plain data.

Source: release contract, sections 17 and 18; DNS contract, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from director.render.model import DnsIds, RenderJob, RenderRequest, Tree

STATUSES = {"default": 0, "unhealthy": 1, "healthy": 3, "all": 4}


class LookupFailed(Exception):
    """A template asked for something that is not there. `names` are what it asked for, `kind` is property or link."""

    def __init__(self, message: str, kind: str, names: tuple[str, ...]) -> None:
        super().__init__(message)
        self.kind = kind
        self.names = names


def context_of(request: RenderRequest, job: RenderJob, links: Tree | None = None) -> Tree:
    """The document of one job on one instance. `links` are those of the job as `link_document` makes them, where that is done already."""
    if links is None:
        links = {name: link_document(content, request.ids) for name, content in job.links.items()}
    return {
        "deployment": request.deployment, "name": request.group, "index": request.index, "id": request.id, "az": request.az or None,
        "bootstrap": request.bootstrap, "address": request.address, "ip": request.ip or None, "dns_domain_name": request.dns_domain,
        "persistent_disk": request.persistent_disk,
        "job": {"name": request.group, "templates": [{"name": item.name} for item in request.jobs]},
        "release": {"name": job.release, "version": job.release_version},
        "networks": dict(request.networks), "properties": job.properties, "links": links,
    }


def canonical(name: str) -> str:
    """A name as DNS has it: lower case, `-` for `_`, nothing but letters, digits and dashes."""
    return re.sub(r"[^a-z0-9-]", "", name.lower().replace("_", "-"))


def link_address(
    link: Mapping[str, Any], *, azs: Iterable[str] = (), status: str | None = None, initial_health_check: str | None = None,
    uuid: str | None = None,
) -> str:
    """The DNS query name of a link's instances; a manual link's own `address`. Raises LookupFailed for an unknown AZ."""
    dns = link.get("dns")
    if dns is None:
        return str(link.get("address") or "")
    codes = [f"s{STATUSES.get(status or 'default', 0)}"]
    for az in azs or ():
        if az not in dns["azs"]:
            raise LookupFailed(f"Unknown AZ: '{az}'", "az", (str(az),))
        codes.append(f"a{dns['azs'][az]}")
    codes += {"synchronous": ["y1"], "asynchronous": ["y0"]}.get(initial_health_check or "", [])
    if dns["short"]:
        codes.append(f"n{dns['network']}")
        if uuid:
            codes.append(f"m{dns['instances'].get(uuid, 0)}")
    elif uuid:
        return f"{uuid}.{dns['suffix']}"
    return f"q-{''.join(sorted(codes))}.{dns['suffix']}"


def link_document(content: Mapping[str, Any], ids: DnsIds) -> Tree:
    """A link as templates see it, with what `address(...)` needs under `dns`.

    A manual link (no group behind it) keeps its own address and gets no `dns`.
    """
    link = dict(content)
    group = link.get("group_name")
    if not group:
        return link
    network, domain = str(link.get("default_network") or ""), str(link.get("domain") or "bosh")
    short = bool(link.get("use_short_dns_addresses") or link.get("use_link_dns_names"))
    if short:
        number = link.get("group_id", ids.groups.get(str(group)))
        link["dns"] = {
            "short": True, "suffix": f"q-g{number}.{domain}", "network": ids.networks.get(network, 0), "azs": dict(ids.azs),
            "instances": {
                str(item.get("id")): ids.instances[str(item.get("id"))]
                for item in link.get("instances") or [] if str(item.get("id")) in ids.instances
            },
        }
        return link
    names = [canonical(str(group)), canonical(network), canonical(str(link.get("deployment_name") or "")), domain]
    link["dns"] = {"short": False, "suffix": ".".join(names), "azs": dict(ids.azs)}
    return link
