"""What is sent to agents. Source: releases contract, section 15."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from director.plan import model
from director.render.model import RenderedInstance
from director.state.compiled_packages import CompiledPackageRow

Tree = dict[str, Any]


def apply_spec(
    spec: model.InstanceSpec, rendered: RenderedInstance, compiled: Mapping[str, CompiledPackageRow],
) -> Tree:
    """The full spec of one instance. `compiled` has a row per package name."""
    jobs = [
        {"name": job.name, "version": job.version, "sha1": job.digest, "blobstore_id": job.blob_id} for job in spec.jobs
    ]
    first = jobs[0] if jobs else {"version": "", "sha1": "", "blobstore_id": ""}
    disk = next((disk for disk in spec.disks if not disk.name), None)
    return {
        "deployment": spec.deployment, "name": spec.group, "index": spec.index, "id": spec.id, "az": spec.az, "bootstrap": spec.bootstrap,
        "job": {
            "name": spec.group, "template": jobs[0]["name"] if jobs else "", "templates": jobs,
            **{key: first[key] for key in ("version", "sha1", "blobstore_id")},
        },
        "networks": networks(spec), "packages": {name: package(row) for name, row in sorted(compiled.items())},
        "dns_domain_name": spec.dns_domain, "configuration_hash": rendered.configuration_hash,
        "persistent_disk": disk.size_mib if disk else 0, "template_hashes": dict(rendered.template_hashes),
        "rendered_templates_archive": {"sha256": rendered.digest.removeprefix("sha256:"), "blobstore_id": rendered.digest},
    }


def package(row: CompiledPackageRow) -> Tree:
    return {"name": row.name, "version": f"{row.version}.{row.build}", "sha1": row.digest, "blobstore_id": row.blob_id}


def networks(spec: model.InstanceSpec) -> Tree:
    """Settings by network, as on the wire (prefix length beside the netmask)."""
    result: Tree = {}
    for network in spec.networks:
        entry = {key: value for key, value in dataclasses.asdict(network).items() if key not in ("network", "kind", "prefix_length")}
        entry["dns"] = list(network.dns)
        entry["default"] = list(network.default)
        result[network.network] = entry
    return result
