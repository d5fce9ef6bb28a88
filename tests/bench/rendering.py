"""Templates of many instances, without any machine: 1,000 instances with 10 jobs of 5 templates each."""

from __future__ import annotations

import functools
import json
import resource
import shutil
import subprocess
from typing import Any

from director.render.model import RenderJob, RenderRequest, Template
from director.render.renderer import Renderer
from tests.bench.rows import Row
from tests.bench.world import World, seconds

INSTANCES, JOBS, GROUP = 1000, 10, 50
ERB = {
    "app.conf": "listen <%= p('port') %>;\nname <%= spec.name %>-<%= spec.index %>.<%= spec.deployment %>;\naddress <%= spec.address %>;\n"
                "<% p('upstreams').each do |item| %>upstream <%= item['name'] %> <%= item['weight'] %>;\n<% end %>",
    "ctl": "#!/bin/bash\nexec run --id <%= spec.id %> --az <%= spec.az %><% if_p('debug') do |on| %> --debug=<%= on %><% end %>\n",
    "settings.json": "<%= JSON.pretty_generate('hosts' => p('hosts'), 'index' => spec.index) %>\n",
    "tls.pem": "<%= p('tls.certificate') %>\n<%= p('tls.private_key') %>\n",
    "peers": "<% link('peers').instances.each do |peer| %><%= peer.address %> <%= peer.bootstrap %>\n<% end %>",
}
JINJA = {
    "app.conf": "listen {{ p('port') }};\nname {{ spec.name }}-{{ spec.index }}.{{ spec.deployment }};\naddress {{ spec.address }};\n"
                "{% for item in p('upstreams') %}\nupstream {{ item.name }} {{ item.weight }};\n{% endfor %}\n",
    "ctl": "#!/bin/bash\nexec run --id {{ spec.id }} --az {{ spec.az }}{% if has_p('debug') %} --debug={{ p('debug') }}{% endif %}\n",
    "settings.json": "{{ {'hosts': p('hosts'), 'index': spec.index} | json }}\n",
    "tls.pem": "{{ p('tls.certificate') }}\n{{ p('tls.private_key') }}\n",
    "peers": "{% for peer in link('peers').instances %}\n{{ peer.address }} {{ peer.bootstrap }}\n{% endfor %}\n",
}
PROPERTIES: dict[str, Any] = {
    "port": 80, "debug": True, "hosts": [f"host-{number}" for number in range(20)],
    "upstreams": [{"name": f"u{number}", "weight": number} for number in range(10)],
    "tls": {"certificate": "c" * 1200, "private_key": "k" * 1600},
}
BARE_RUBY = """require 'erb'; require 'json'; require 'ostruct'
given = JSON.parse(STDIN.read)
class Context
  Peer = Struct.new(:address, :bootstrap)
  Link = Struct.new(:instances)
  attr_reader :spec
  def initialize(spec, properties, peers)
    @spec = OpenStruct.new(spec)
    @properties = properties
    @link = Link.new(peers.map { |peer| Peer.new(peer['address'], peer['bootstrap']) })
  end
  def p(name) = name.split('.').reduce(@properties) { |tree, key| tree[key] }
  def if_p(name) = yield(p(name))
  def link(_) = @link
  def get_binding = binding
end
started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
size = 0
given['specs'].each do |spec|
  given['jobs'].times do
    given['templates'].each do |text|
      context = Context.new(spec, given['properties'], given['peers'])
      size += ERB.new(text, trim_mode: '-').result(context.get_binding).size
    end
  end
end
puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
"""


def render(_: World) -> list[Row]:
    if not shutil.which("ruby"):
        raise FileNotFoundError("ruby is not installed: apt-get install ruby")
    peer = _bare_ruby()
    rows: list[Row] = []
    for engine, texts, suffix, target in (("ERB", ERB, ".erb", 15.0), ("Jinja2", JINJA, ".j2", 10.0)):
        requests, again = _requests(texts, suffix), _requests(texts, suffix)
        what = f"render {INSTANCES} instances, {JOBS} jobs of {len(texts)} {engine} templates"
        compared = f"bare Ruby ERB of the same: {peer:.2f} s"
        with Renderer() as renderer:
            renderer.render(requests[:1])
            cold = seconds(functools.partial(renderer.render, requests))
            warm = seconds(functools.partial(renderer.render, again))
            # A director that was started since has the records of what it applied, and compares what templates would see.
            anew = seconds(functools.partial(_digests, renderer, again))
        rows += [
            Row(what, cold, "s", target, compared, peer), Row(f"{what}, nothing changed", warm, "s", 2.0, compared, peer),
            Row(f"{what}, nothing changed, director started anew", anew, "s", 2.0, compared, peer)]
    rows.append(Row("memory of the renderer's process after it", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB"))
    return rows


def _digests(renderer: Renderer, requests: list[RenderRequest]) -> None:
    assert len(set(renderer.batch(requests).inputs)) == INSTANCES


def _bare_ruby() -> float:
    specs = [
        {"name": "web", "index": n, "id": f"id-{n}", "az": "z1", "address": f"10.0.0.{n}", "deployment": "big"} for n in range(INSTANCES)]
    given = {"specs": specs, "properties": PROPERTIES, "templates": list(ERB.values()), "jobs": JOBS, "peers": _peers(0)["instances"]}
    done = subprocess.run(["ruby", "-e", BARE_RUBY], input=json.dumps(given), capture_output=True, text=True, check=True)
    return float(done.stdout)


def _peers(group: int) -> dict[str, Any]:
    return {
        "instances": [
            {"name": f"group{group}", "index": n, "id": f"id-{group}-{n}", "az": "z1", "address": f"10.0.{group}.{n}", "bootstrap": n == 0}
            for n in range(5)],
        "properties": {}, "address": "q-s0.web.default.big.bosh",
    }


def _requests(texts: dict[str, str], suffix: str) -> list[RenderRequest]:
    """Instances of a group share properties and links, as a deploy's do."""
    templates = tuple(Template(f"{name}{suffix}", f"config/{name}", text) for name, text in texts.items())
    requests = []
    for group in range(INSTANCES // GROUP):
        peers = _peers(group)
        jobs = tuple(
            RenderJob(f"job{n}", "app", "1", templates=templates, properties={**PROPERTIES, "port": n}, links={"peers": peers},
                      declared=tuple(PROPERTIES)) for n in range(JOBS))
        requests += [
            RenderRequest(
                deployment="big", group=f"group{group}", index=n, id=f"id-{group}-{n}", az="z1", bootstrap=n == 0,
                address=f"10.0.{group}.{n}", ip=f"10.0.{group}.{n}", jobs=jobs, networks={"default": {"ip": f"10.0.{group}.{n}"}})
            for n in range(GROUP)]
    return requests
