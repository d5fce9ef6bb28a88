"""The director's own cost: plans and templates of many instances, without any machine."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import time
from typing import Any

from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.plan import decide, design, ids_wanted, number
from director.plan.model import Plan, Request
from director.release.model import JobSpec, LinkSpec, PackageSpec, PropertySpec, Release, Stemcell
from director.render.model import RenderJob, RenderRequest, Template
from director.render.renderer import Renderer
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
TEMPLATES = {
    "web.conf": "listen <%= p('port') %>;\nname <%= spec.name %>-<%= spec.index %>.<%= spec.deployment %>;\naddress <%= spec.address %>;\n"
                "<% p('upstreams').each do |item| %>upstream <%= item['name'] %> <%= item['weight'] %>;\n<% end %>",
    "ctl": "#!/bin/bash\nexec run --id <%= spec.id %> --az <%= spec.az %><% if_p('debug') do |on| %> --debug=<%= on %><% end %>\n",
    "settings.json": "<%= JSON.pretty_generate('hosts' => p('hosts'), 'index' => spec.index) %>\n",
}
PROPERTIES: dict[str, Any] = {
    "port": 80, "debug": True, "hosts": [f"host-{number}" for number in range(20)],
    "upstreams": [{"name": f"u{number}", "weight": number} for number in range(10)],
}
BARE_RUBY = """require 'erb'; require 'json'; require 'ostruct'
given = JSON.parse(STDIN.read)
class Context
  attr_reader :spec
  def initialize(spec, properties) = (@spec = OpenStruct.new(spec); @properties = properties)
  def p(name) = @properties[name]
  def if_p(name) = yield(@properties[name])
  def get_binding = binding
end
size = 0
started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
given['specs'].each do |spec|
  context = Context.new(spec, given['properties'])
  given['templates'].each { |text| size += ERB.new(text, trim_mode: '-').result(context.get_binding).size }
end
puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
"""


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


def render(world: World) -> list[Row]:
    if not shutil.which("ruby"):
        raise FileNotFoundError("ruby is not installed: apt-get install ruby")
    templates = tuple(Template(f"{name}.erb", f"config/{name}", text) for name, text in TEMPLATES.items())
    requests = [_request(number, templates) for number in range(INSTANCES)]
    with Renderer() as renderer:
        renderer.render([_request(INSTANCES, templates)])
        value = seconds(lambda: renderer.render(requests))
    specs = [
        {"name": "web", "index": n, "id": f"id-{n}", "az": "z1", "address": f"10.0.0.{n}", "deployment": "big"} for n in range(INSTANCES)
    ]
    given = json.dumps({"specs": specs, "properties": PROPERTIES, "templates": list(TEMPLATES.values())})
    done = subprocess.run(["ruby", "-e", BARE_RUBY], input=given, capture_output=True, text=True, check=True)
    peer = float(done.stdout)
    name = f"render {INSTANCES} instances, {len(TEMPLATES)} templates each"
    return [Row(name, value, "s", 15, f"bare Ruby ERB of the same: {peer:.2f} s", peer)]


def _request(index: int, templates: tuple[Template, ...]) -> RenderRequest:
    job = RenderJob("web", "app", "1", templates=templates, properties=PROPERTIES, declared=tuple(PROPERTIES))
    return RenderRequest(
        deployment="big", group="web", index=index, id=f"id-{index}", az="z1", bootstrap=index == 0, address=f"10.0.0.{index}",
        ip=f"10.0.0.{index}", jobs=(job,), networks={"default": {"ip": f"10.0.0.{index}"}},
    )
