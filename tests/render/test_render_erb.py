"""What ERB templates see. Release contract, section 17; section 21, rows 16 to 23, 34 and 35."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from render_builder import job, link, request

from director import errors
from director.render.renderer import Renderer

PROPERTIES: dict[str, Any] = {
    "a": 5, "f": False, "n": None, "s": "hello", "m": {"x": 1, "y": {"z": "deep"}}, "l": [1, {"k": "v"}], "t": 1.5, "yes": True,
    "system": "kernel name", "hash": {"method": 2}, "ü": "ö",
}


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as found:
        yield found


def fill(renderer: Renderer, text: str, **fields: Any) -> str:
    shape = {"properties": PROPERTIES, "links": {"db": link()}, **fields}
    (instance,) = renderer.render([request(job(text, **shape))])
    return next(file.text for file in instance.jobs[0].files if file.source == "a.erb")


GOOD = {
    "<%= p('a') %>": "5",
    "<%= p('m.y.z') %>": "deep",
    "<%= p(['n', 'a']) %>": "5",
    "<%= p('n', nil).inspect %>": "nil",
    "<%= p(['n', 'o'], 7) %>": "7",
    "<%= p('f', true) %>": "false",
    "<%= p('s.ell') %>": "ell",
    "<% if_p('f') { |v| %><%= v %><% } %>": "false",
    "<% if_p('a', 's') do |x, y| %><%= x %><%= y %><% end.else do %>no<% end %>": "5hello",
    "<% if_p('a', 'o') do |x, y| %>both<% end.else do %>no<% end %>": "no",
    "<% if_p('o') { %>1<% }.else_if_p('s') { |v| %><%= v %><% }.else { %>3<% } %>": "hello",
    "<% if_p('o') { %>1<% }.else_if_link('db') { |l| %><%= l.p('port') %><% }.else { %>3<% } %>": "5",
    "<% if_p('a') { %>1<% }.else_if_p('s') { %>2<% }.else_if_link('db') { %>3<% }.else { %>4<% } %>": "1",
    "<% if_link('db') { |l| %><%= l.instances.size %><% }.else { %>no<% } %>": "2",
    "<% if_link('cache') { |l| %>yes<% }.else_if_p('a') { |v| %><%= v %><% }.else { %>no<% } %>": "5",
    "<%= link('db').instances.map(&:address).join(',') %>": "10.0.0.9,10.0.0.8",
    "<%= i = link('db').instances[0]; [i.name, i.index, i.id, i.az, i.bootstrap].inspect %>": '["db", 0, "u-1", "z1", true]',
    "<%= link('db').instances[0].p('port') %>": "5",
    "<%= link('db').p('none', 9) %>": "9",
    "<%= link('db').properties['port'] %>": "5",
    "<% link('db').if_p('port') { |v| %>x<% } %><%= link('db').if_p('o') { }.else { 'e' } %>": "xe",
    "<%= link('db').address %>": "q-s0.db.net.dep.bosh",
    "<%= link('db').address(azs: ['z1'], status: 'healthy') %>": "q-a1s3.db.net.dep.bosh",
    "<%= link('db').address(azs: ['z1', 'z2'], status: 'strange', initial_health_check: 'synchronous') %>": "q-a1a2s0y1.db.net.dep.bosh",
    "<%= link('db').address(uuid: 'u-1') %>": "u-1.db.net.dep.bosh",
    "<%= link('db').address(default_network: 'x', deployment_name: 'y') %>": "q-s0.db.net.dep.bosh",
    "<%= name %> <%= index %>": "front 0",
    "<%= properties.m.marshal_dump.keys.inspect %><%= properties.m.marshal_dump[:y].z %>": "[:x, :y]deep",
    "<%= OpenStruct.new(a: 1).a %>": "1",
    "<%= properties.m.y.z %><%= properties.nothing.inspect %>": "deepnil",
    "<%= properties.l[1].k %>": "v",
    "<%= properties.system %> <%= properties.hash.method %>": "kernel name 2",
    "<%= raw_properties['m']['x'] %>": "1",
    "<%= spec.deployment %> <%= spec.name %> <%= spec.job.name %> <%= spec.id %> <%= spec.az %>": "dep front front id-0 z1",
    "<%= spec.bootstrap %> <%= spec.ip %> <%= spec.address %>": "true 10.0.0.4 id.front.a.dep.bosh",
    "<%= spec.dns_domain_name %> <%= spec.persistent_disk %> <%= spec.release.name %>/<%= spec.release.version %>": "bosh 0 demo/1",
    "<%= spec.networks.a.dns_record_name %> <%= spec.networks.methods(false).inspect %>": "0.front.a.dep.bosh [:a, :b]",
    "<%= spec.networks.to_h.keys.inspect %> <%= spec.networks.send('b').ip %>": "[:a, :b] 10.1.0.4",
    "<%= spec.lifecycle.inspect %> <%= spec.env.inspect %> <%= spec.unknown.inspect %>": "nil nil nil",
    "<%= spec.properties.a %> <%= spec.links.db.group_name %>": "5 db",
    "<%= JSON.dump(p('m')) %>": '{"x":1,"y":{"z":"deep"}}',
    "<%= p('m').to_yaml %>": "---\nx: 1\n\"y\":\n  z: deep\n",
    "<%= YAML.load('a: 1')['a'] %> <%= Shellwords.escape('a b') %>": "1 a\\ b",
    "<%= ['', nil, [], {}, ' ', false].map(&:blank?).uniq %> <%= 'x'.present? %> <%= 0.blank? %>": "[true] true false",
    "<%- if true -%>\nx\n  <%- end -%>\ny\n": "x\ny\n",
    "a\n<% if true %>\nb\n<% end %>\n": "a\n\nb\n\n",
    "<%# comment %>x<%% y %>": "x<% y %>",
    "<% CONSTANT = 3 %><%= CONSTANT %>": "3",
    "<% def twice(x); x * 2; end %><%= twice(4) %>": "8",
    "<% puts 'noise'; $stdout.write('noise') %>x<%= $stdin.read.to_s %>": "x",
    "<%= p('ü') %>é": "öé",
    "no tags at all\n%> <\n": "no tags at all\n%> <\n",
}


@pytest.mark.parametrize("text", GOOD)
def test_good(renderer: Renderer, text: str) -> None:
    assert fill(renderer, text) == GOOD[text]


BAD = {
    "<%= p('o') %>": "line 1: Can't find property '[\"o\"]'",
    "\n\n<%= p(['o', 'n']) %>": "line 3: Can't find property '[\"o\", \"n\"]'",
    "<%= p('n') %>": "Can't find property '[\"n\"]'",
    "<%= p('a.b') %>": "line 1: ",
    "<%= p('t.b', 1) %>": "line 1: undefined method `[]' for 1.5:Float",
    "<%= p('yes.b', 1) %>": "undefined method `[]' for true:TrueClass",
    "<%= p('l.b') %>": "no implicit conversion of String into Integer",
    "<%= link('cache') %>": "Can't find link 'cache'",
    "<%= link('db').p('o') %>": "Can't find property '[\"o\"]'",
    "<%= link('db').address(azs: ['z9']) %>": "Unknown AZ: 'z9'",
    "<%= link('db').domain %>": "undefined method `domain'",
    "a\n<% raise 'as the author says' %>": "line 2: as the author says",
    "<% if %>": "line (unknown): web/a.erb:1: syntax error",
    "<% exit 1 %>": "line 1: the template ended the process",
    "<% def f; f; end; f %>": "stack level too deep",
    "<%= nonsense %>": "undefined local variable or method `nonsense'",
}


@pytest.mark.parametrize("text", BAD)
def test_bad(renderer: Renderer, text: str) -> None:
    with pytest.raises(errors.RenderError) as caught:
        fill(renderer, text)
    assert BAD[text] in caught.value.message
    assert "hello" not in caught.value.message, "other properties are not shown"


def test_a_manual_link(renderer: Renderer) -> None:
    manual = {"instances": [{"address": "10.0.0.5"}], "properties": {"port": 5432}, "address": "db.example.com"}
    text = "<%= l = link('db'); [l.address(azs: ['z9']), l.p('port'), l.instances[0].address, l.instances[0].index].inspect %>"
    assert fill(renderer, text, links={"db": manual}) == '["db.example.com", 5432, "10.0.0.5", nil]'
    with pytest.raises(errors.RenderError, match="Can't find link 'db'"):
        fill(renderer, "<%= link('db') %>", links={"db": {"address": "x"}})


def test_short_addresses(renderer: Renderer) -> None:
    short = link(use_short_dns_addresses=True)
    text = "<%= link('db').address(azs: ['z1'], status: 'healthy') %> <%= link('db').address(uuid: 'u-1') %>"
    assert fill(renderer, text, links={"db": short}) == "q-a1n3s3.q-g7.bosh q-m7n3s0.q-g7.bosh"


def test_no_template_sees_what_another_changed(renderer: Renderer) -> None:
    text = "<% p('l') << 9; raw_properties['m']['x'] = 2 %><%= p('l').size %><%= p('m.x') %>"
    jobs = [job(text, name=name, properties=PROPERTIES) for name in ("one", "two")]
    (instance,) = renderer.render([request(*jobs)])
    assert {file.text for item in instance.jobs for file in item.files if file.source == "a.erb"} == {"32"}
    assert PROPERTIES["m"]["x"] == 1


def test_dynamic_network_before_the_machine_exists(renderer: Renderer) -> None:
    (instance,) = renderer.render([request(job("<%= spec.ip.inspect %><%= spec.az.inspect %>"), ip="", az="", persistent_disk=None)])
    assert instance.jobs[0].files[1].text == "nilnil"


def test_monit_is_a_template_too(renderer: Renderer) -> None:
    (instance,) = renderer.render([request(job(monit="check process <%= name %>\n", extra_monits={"x.monit": "<%= 1 + 1 %>"}))])
    assert instance.jobs[0].monit == "check process front\n"
    assert [(file.destination, file.text) for file in instance.jobs[0].files] == [(".bosh/links.json", "[]\n"), ("x.monit", "2")]
