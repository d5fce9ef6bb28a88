"""The director's own cost: plans and templates of many instances, without any machine."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from typing import Any

from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.plan import decide, design, ids_wanted, number
from director.plan.model import Plan, Request
from director.release.model import JobSpec, LinkSpec, PackageSpec, PropertySpec, Release, Stemcell
from tests.bench.rows import Row
from tests.bench.world import World, seconds

GROUP = 50
INSTANCES = 1000
RELEASE = Release("app", "1", jobs=(
    JobSpec("web", "app", "1", "1", "1", {"web.conf.erb": "config/web.conf"}, ("web",),
            (PropertySpec("port", 80, True), PropertySpec("host")), consumes=(LinkSpec("db", "sql"),)),
    JobSpec("db", "app", "1", "1", "1", {}, ("web",), (PropertySpec("port", 5432, True),),
            provides=(LinkSpec("db", "sql", ("port",)),)),
), packages=(PackageSpec("web", "1", "1", "1", (), "blob"),))
STEMCELL = Stemcell("linux", "1", "debian", "image")
CLOUD = {
    "azs": [{"name": name} for name in ("z1", "z2", "z3")], "vm_types": [{"name": "small"}],
    "disk_types": [{"name": "disk", "disk_size": 1024}],
    "networks": [{"name": "default", "subnets": [{"range": "10.0.0.0/16", "gateway": "10.0.0.1", "azs": ["z1", "z2", "z3"]}]}],
    "compilation": {"workers": 2, "network": "default", "az": "z1"},
}


def plan(world: World) -> list[Row]:
    small, (large, limit) = _plan_seconds(INSTANCES, 3), _plan_seconds(10 * INSTANCES, 1)
    exponent = math.log10(large / small[0])
    return [
        Row(f"plan {INSTANCES} instances", small[0], "s", 2, f"reading and writing its JSON once: {small[1]:.3f} s", small[1]),
        Row(f"plan {10 * INSTANCES} instances", large, "s", None, f"reading and writing its JSON once: {limit:.3f} s", limit),
        Row("growth of planning, exponent", exponent, "", 1.2, "linear: 1", 1.0),
    ]


def _plan_seconds(count: int, times: int) -> tuple[float, float]:
    """Median of planning a first deploy from its texts, and of the least that anyone must do: reading and writing as much."""
    texts = _texts(count)
    found = []
    for _ in range(times):
        started = time.perf_counter()
        made = _plan(*texts)
        found.append(time.perf_counter() - started)
    assert len(made.changes) == count
    tree = [{"id": change.id, "group": change.group, "networks": [item.ip for item in change.reservations]} for change in made.changes]
    text = json.dumps(tree)
    return sorted(found)[times // 2], seconds(lambda: json.dumps(json.loads(text)))


def _texts(count: int) -> tuple[str, str]:
    group = {"azs": ["z1", "z2", "z3"], "vm_type": "small", "stemcell": "d", "networks": [{"name": "default"}]}
    groups: list[dict[str, Any]] = [
        {"name": "db", "instances": GROUP, "persistent_disk_type": "disk", "jobs": [{"name": "db", "release": "app"}], **group},
        *({"name": f"web{n}", "instances": GROUP, "jobs": [{"name": "web", "release": "app", "properties": {"host": f"web{n}"}}], **group}
          for n in range(count // GROUP - 1)),
    ]
    manifest = {
        "name": "big", "releases": [{"name": "app", "version": "1"}], "stemcells": [{"alias": "d", "os": "debian", "version": "1"}],
        "update": {"canaries": 1, "max_in_flight": 10, "canary_watch_time": 1000, "update_watch_time": 1000}, "instance_groups": groups,
    }
    return json.dumps(manifest), json.dumps(CLOUD)


def _plan(manifest: str, cloud: str) -> Plan:
    config = parse_cloud_config([load_yaml(cloud, "cloud.yml")])
    parsed = parse_manifest(load_yaml(manifest, "manifest.yml"), config, releases=(RELEASE,), stemcells=(STEMCELL,))
    request = Request(parsed, config, (RELEASE,), (STEMCELL,))
    request = dataclasses.replace(request, new_ids=tuple(f"id-{n}" for n in range(ids_wanted(request))))
    blueprint = design(request)
    blueprint = design(dataclasses.replace(request, ids=number(request.ids, blueprint.needs_ids)))
    return decide(blueprint, {item.spec.id: "hash" for item in blueprint.instances})
