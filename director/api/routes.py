"""The one route table. Order matters where a path would fit two rows: the longer one stands first.

`media` is the Content-Type a row insists on; `stream` rows keep the body in a file; `anyone` needs no credentials;
`any_deployment` does not insist that the deployment of the path exists. CIDs may hold slashes, hence `:path`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from starlette.responses import Response

from director.api import (
    blobs,
    calls,
    configs,
    deployments,
    disks,
    errands,
    events,
    info,
    instances,
    legacy_configs,
    links,
    locks,
    names,
    releases,
    remote,
    rotations,
    stemcells,
    tasks,
    upkeep,
    values,
    variables,
)

YAML, JSON, TARBALL = "text/yaml", "application/json", "application/x-compressed"
PLAN = "application/vnd.caisson.plan+json"  # ours; with JSON's own type this route answers 404, as the contract has it


@dataclasses.dataclass(frozen=True)
class Row:
    method: str
    path: str
    handler: Callable[[calls.Call], Response]
    media: str = ""
    anyone: bool = False
    stream: bool = False
    any_deployment: bool = False


ROWS: tuple[Row, ...] = (
    Row("GET", "/info", info.show, anyone=True),
    Row("GET", "/director/certificate_expiry", info.certificates),
    Row("GET", "/signed/blobs/{id}", blobs.fetch, anyone=True),
    # Tasks
    Row("GET", "/tasks", tasks.index),
    Row("POST", "/tasks/cancel", tasks.cancel_many, JSON),
    Row("GET", "/tasks/{id}", tasks.show),
    Row("GET", "/tasks/{id}/output", tasks.output),
    Row("DELETE", "/task/{id}", tasks.cancel),
    # Deployments
    Row("GET", "/deployments", deployments.index),
    Row("POST", "/deployments", deployments.deploy, YAML),
    Row("POST", "/deployments", deployments.deploy_plan, PLAN),
    Row("GET", "/deployments/{deployment}", deployments.show),
    Row("DELETE", "/deployments/{deployment}", deployments.delete),
    Row("POST", "/deployments/{deployment}/diff", deployments.diff, YAML, any_deployment=True),
    Row("POST", "/deployments/{deployment}/plan", deployments.plan, YAML, any_deployment=True),
    Row("GET", "/deployment_configs", deployments.configs),
    Row("GET", "/deployments/{deployment}/variables", variables.index),
    Row("GET", "/deployments/{deployment}/certificate_expiry", variables.certificates),
    Row("GET", "/deployed_variables/{name:path}", variables.deployed),
    Row("GET", "/variables", variables.everything),
    Row("PUT", "/variables", values.put, JSON),
    Row("POST", "/variables/reveal", values.reveal, JSON),
    Row("GET", "/variables/{name:path}", values.versions),
    Row("GET", "/certificate_expiry", rotations.certificates),
    Row("GET", "/rotations", rotations.index),
    Row("POST", "/rotations", rotations.step, JSON),
    # Instances
    Row("GET", "/deployments/{deployment}/instances", instances.index),
    Row("GET", "/deployments/{deployment}/vms", instances.vms),
    Row("GET", "/deployments/{deployment}/jobs/{group}/{instance}", instances.show),
    Row("PUT", "/deployments/{deployment}/jobs/{group}", instances.change, YAML),
    Row("PUT", "/deployments/{deployment}/jobs/{group}/{instance}", instances.change, YAML),
    Row("POST", "/deployments/{deployment}/instance_groups/{group}/{instance}/actions/{action}", instances.act),
    Row("PUT", "/deployments/{deployment}/instance_groups/{group}/{instance}/ignore", instances.ignore, JSON),
    Row("GET", "/orphaned_vms", instances.orphaned),
    Row("DELETE", "/vms/{cid:path}", upkeep.delete_vm),
    Row("GET", "/deployments/{deployment}/errands", errands.index),
    Row("POST", "/deployments/{deployment}/errands/{errand}/runs", errands.run, JSON),
    Row("GET", "/deployments/{deployment}/jobs/{group}/{instance}/logs", remote.logs),
    Row("POST", "/deployments/{deployment}/ssh", remote.ssh, JSON),
    Row("POST", "/deployments/{deployment}/dns_queries", names.query, JSON),
    Row("GET", "/dns", names.status),
    # Cloud check
    Row("POST", "/deployments/{deployment}/scans", upkeep.scan),
    Row("GET", "/deployments/{deployment}/problems", upkeep.scan),
    Row("PUT", "/deployments/{deployment}/problems", upkeep.scan),
    Row("PUT", "/deployments/{deployment}/scan_and_fix", upkeep.scan),
    Row("PUT", "/resurrection", upkeep.resurrection),
    Row("GET", "/resurrection", upkeep.resurrection),
    # Releases and stemcells
    Row("GET", "/releases", releases.index),
    Row("POST", "/releases", releases.upload, TARBALL, stream=True),
    Row("POST", "/releases", releases.fetch, JSON),
    Row("POST", "/releases/export", releases.export),
    Row("GET", "/releases/{name}", releases.show),
    Row("DELETE", "/releases/{name}", releases.delete),
    Row("POST", "/packages/matches", releases.matches, YAML),
    Row("POST", "/packages/matches_compiled", releases.matches_compiled, YAML),
    Row("GET", "/jobs", releases.jobs),
    Row("GET", "/stemcells", stemcells.index),
    Row("POST", "/stemcells", stemcells.upload, TARBALL, stream=True),
    Row("POST", "/stemcells", stemcells.fetch, JSON),
    Row("POST", "/stemcell_uploads", stemcells.needed, JSON),
    Row("DELETE", "/stemcells/{name}/{version}", stemcells.delete),
    # Configs
    Row("GET", "/configs", configs.index),
    Row("POST", "/configs", configs.update, JSON),
    Row("POST", "/configs/diff", configs.diff, JSON),
    Row("DELETE", "/configs", configs.delete_named),
    Row("GET", "/configs/{id}", configs.show),
    Row("DELETE", "/configs/{id}", configs.delete),
    Row("GET", "/cloud_configs", legacy_configs.cloud_index),
    Row("POST", "/cloud_configs", legacy_configs.cloud_update, YAML),
    Row("POST", "/cloud_configs/diff", legacy_configs.cloud_diff, YAML),
    Row("GET", "/runtime_configs", legacy_configs.runtime_index),
    Row("POST", "/runtime_configs", legacy_configs.runtime_update, YAML),
    Row("POST", "/runtime_configs/diff", legacy_configs.runtime_diff, YAML),
    Row("GET", "/cpi_configs", legacy_configs.cpi_index),
    Row("POST", "/cpi_configs", legacy_configs.cpi_update, YAML),
    Row("POST", "/cpi_configs/diff", legacy_configs.cpi_diff, YAML),
    # Disks and upkeep
    Row("GET", "/disks", disks.index),
    Row("GET", "/orphan_disks", disks.index),
    Row("PUT", "/disks/{cid:path}/attachments", disks.attach),
    Row("DELETE", "/disks/{cid:path}", disks.delete),
    Row("GET", "/networks", upkeep.networks),
    Row("DELETE", "/networks/{name}", upkeep.delete_network),
    Row("GET", "/deployments/{deployment}/snapshots", disks.snapshots),
    Row("POST", "/deployments/{deployment}/snapshots", disks.change_snapshots),
    Row("DELETE", "/deployments/{deployment}/snapshots", disks.change_snapshots),
    Row("DELETE", "/deployments/{deployment}/snapshots/{cid:path}", disks.change_snapshots),
    Row("POST", "/deployments/{deployment}/jobs/{group}/{instance}/snapshots", disks.change_snapshots),
    Row("POST", "/cleanup", upkeep.clean_up, JSON),
    Row("GET", "/cleanup/dryrun", upkeep.clean_up_preview),
    Row("POST", "/cloud_checks", upkeep.check_cloud, JSON),
    Row("POST", "/cloud_orphans", upkeep.cloud_orphans, JSON),
    Row("POST", "/cloud_orphans/deletions", upkeep.remove_cloud_orphans, JSON),
    Row("GET", "/locks", locks.index),
    Row("GET", "/events", events.index),
    Row("POST", "/events", events.add, JSON),
    Row("GET", "/events/{id}", events.show),
    Row("GET", "/resources/{id}", info.resource),
    # Links
    Row("GET", "/link_providers", links.providers),
    Row("GET", "/link_consumers", links.others),
    Row("GET", "/links", links.others),
    Row("POST", "/links", links.others),
    Row("DELETE", "/links/{id}", links.others),
    Row("GET", "/link_address", links.others),
)
