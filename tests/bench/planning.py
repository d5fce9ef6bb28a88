"""The director's own cost: plans and templates of many instances, without any machine."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.plan import decide, design, ids_wanted, number
from director.plan.model import Plan, Request
from director.release.model import JobSpec, LinkSpec, PackageSpec, PropertySpec, Release, Stemcell
from tests.bench.rows import Row
from tests.bench.world import ROOT, World

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
    """Each size in a process of its own, so that its memory is its own."""
    few, some, many = (_child("first", count) for count in (INSTANCES // 10, INSTANCES, 10 * INSTANCES))
    nothing = _child("no-op", INSTANCES)
    exponent = math.log(many["seconds"] / few["seconds"], 100)
    steps = ", ".join(
        f"{math.log10(after['seconds'] / before['seconds']):.2f}" for before, after in ((few, some), (some, many)))
    return [
        _row(f"plan {INSTANCES // 10} instances", few, None),
        _row(f"plan {INSTANCES} instances", some, 2),
        _row(f"plan {10 * INSTANCES} instances", many, 20),
        Row("growth of planning from 100 to 10000, exponent", exponent, "", 1.2, f"linear: 1; by decade: {steps}", 1.0),
        Row(
            f"memory of planning {10 * INSTANCES}", many["mib"], "MiB", 1024, f"the same process before: {many['before']:.0f} MiB",
            many["before"]),
        Row(
            f"no-op plan of {INSTANCES}: database, machines asked, templates, reasons", nothing["seconds"], "s", 1,
            f"reading its rows once: {nothing['least']:.3f} s", nothing["least"]),
    ]


def _row(name: str, child: dict[str, float], target: float | None) -> Row:
    return Row(name, child["seconds"], "s", target, f"reading and writing its JSON once: {child['least']:.3f} s", child["least"])


def _child(kind: str, count: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.planned", kind, str(count)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def texts(count: int) -> tuple[str, str]:
    """Manifest and cloud config of that many instances."""
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


def plan_of(manifest: str, cloud: str) -> Plan:
    """A first deploy's plan, as a deploy makes it but for what is stored."""
    config = parse_cloud_config([load_yaml(cloud, "cloud.yml")])
    parsed = parse_manifest(load_yaml(manifest, "manifest.yml"), config, releases=(RELEASE,), stemcells=(STEMCELL,))
    request = Request(parsed, config, (RELEASE,), (STEMCELL,))
    request = dataclasses.replace(request, new_ids=tuple(f"id-{n}" for n in range(ids_wanted(request))))
    blueprint = design(request)
    blueprint = design(dataclasses.replace(request, ids=number(request.ids, blueprint.needs_ids)))
    return decide(blueprint, {item.spec.id: "hash" for item in blueprint.instances})
