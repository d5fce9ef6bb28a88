"""Hashes, archives, errors of many templates, schemas. Release contract, sections 16 and 20; planning contract, section 1."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from render_builder import job, link, request

from director import errors
from director.render import renderer as renderer_module
from director.render import schema, workers
from director.render.engine import Outcome, Source
from director.render.erb import Erb, Work
from director.render.model import Template
from director.render.renderer import Renderer

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as found:
        yield found


def two_jobs() -> list[Any]:
    templates = (Template("z.erb", "bin/z", "Z<%= index %>"), Template("b.erb", "a/b", "B"))
    return [job(name="web", monit="M", templates=templates), job(name="agent", monit="", templates=())]


def test_hashes(renderer: Renderer) -> None:
    (instance,) = renderer.render([request(*two_jobs())])
    links = "[]\n"
    web = f"Mweb{links}.bosh/links.json" + "Ba/b" + "Z0bin/z"
    agent = f"agent{links}.bosh/links.json"
    assert instance.configuration_hash == hashlib.sha1((agent + web).encode()).hexdigest()
    assert instance.template_hashes == {
        "web": hashlib.sha1(f"M{links}BZ0".encode()).hexdigest(), "agent": hashlib.sha1(links.encode()).hexdigest()
    }


def test_the_archive(renderer: Renderer) -> None:
    (instance,) = renderer.render([request(*two_jobs())])
    with tarfile.open(fileobj=io.BytesIO(instance.archive)) as archive:
        found = {member.name: member.mode for member in archive}
    assert found == {
        "agent/.bosh/links.json": 0o640, "agent/monit": 0o640, "web/.bosh/links.json": 0o640, "web/a/b": 0o640, "web/bin/z": 0o750,
        "web/monit": 0o640,
    }
    with Renderer() as other:
        (again,) = other.render([request(*two_jobs())])
    assert again.digest == instance.digest == "sha256:" + hashlib.sha256(instance.archive).hexdigest()


def test_links_file(renderer: Renderer) -> None:
    provides = ({"name": "q", "type": "amqp", "group": "z-amqp"}, {"name": "db", "type": "conn", "group": "db-conn"})
    (instance,) = renderer.render([request(job(provides=provides))])
    assert instance.jobs[0].files[0].text == (
        '[\n  {\n    "name": "db",\n    "type": "conn",\n    "group": "db-conn"\n  },\n'
        '  {\n    "name": "q",\n    "type": "amqp",\n    "group": "z-amqp"\n  }\n]\n'
    )


def test_what_is_rendered_changes_the_hash(renderer: Renderer) -> None:
    text = "<%= link('db').instances.size %> <%= spec.release.version %>"
    base = job(text, links={"db": link()})
    fewer = dataclasses.replace(base, links={"db": link(instances=link()["instances"][:1])})
    newer = dataclasses.replace(base, release_version="2")
    plain = dataclasses.replace(base, properties={"unused": 1})
    hashes = [item.configuration_hash for item in renderer.render([request(one) for one in (base, fewer, newer, plain)])]
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3], "what no template prints does not count"


class CountingErb(Erb):
    """Counts the templates that reach Ruby."""

    count = 0

    def fill_in(self, work: Any) -> list[list[Outcome]]:
        rows: list[Work] = list(work)
        self.count += sum(len(row.templates) for row in rows)
        return super().fill_in(rows)


def test_equal_input_renders_once() -> None:
    erb = CountingErb(isolate=False)
    with Renderer(erb=erb) as renderer:
        same = [request(job("<%= name %>"), index=1) for _ in range(3)]
        first = renderer.render([*same, request(job("<%= name %>"), index=2)])
        assert erb.count == 2
        assert renderer.render(same)[0] == first[0]
        assert erb.count == 2
        renderer.render([request(job("<%= name %> "), index=1)])
        assert erb.count == 3


def test_the_cache_is_bounded() -> None:
    erb = CountingErb(isolate=False)
    with Renderer(erb=erb, cache_bytes=3000) as renderer:
        for index in (*range(10), 0, 9):
            renderer.render([request(job("<%= index %>" + "x" * 500), index=index)])
        assert erb.count == 11, "the oldest went, the newest stayed"


def test_all_errors_at_once_in_the_reference_text(renderer: Renderer) -> None:
    templates = (Template("nginx.conf.erb", "n", "\n\n<%= p('port') %>"), Template("b.j2", "b", "{{ p('hots') }}"))
    bad = job(name="nginx", monit="<%= p('x') %>", templates=templates, declared=("port", "host"))
    other = job("<%= link('dbb') %>", name="app", links={"db": link()})
    requests = [request(bad, other, index=index, group="web") for index in range(3)]
    requests += [request(bad, group="api"), request(job("<%= 1 %>"))]
    with pytest.raises(errors.RenderError) as caught:
        renderer.render(requests)
    nginx = [
        "    - Unable to render templates for job 'nginx'. Errors are:",
        "      - Error filling in template 'monit' (line 1: Can't find property '[\"x\"]')",
        "      - Error filling in template 'nginx.conf.erb' (line 3: Can't find property '[\"port\"]')",
        "      - Error filling in template 'b.j2' (line 1: Can't find property '[\"hots\"]')",
    ]
    assert caught.value.message.splitlines() == [
        "Unable to render instance groups for deployment. Errors are:",
        "  - Unable to render jobs for instance group 'web'. Errors are:", *nginx,
        "    - Unable to render templates for job 'app'. Errors are:",
        "      - Error filling in template 'a.erb' (line 1: Can't find link 'dbb')",
        "  - Unable to render jobs for instance group 'api'. Errors are:", *nginx,
    ]
    diagnosed = {item.summary: item for item in caught.value.diagnostics}
    port = diagnosed["Error filling in template 'nginx.conf.erb' (line 3: Can't find property '[\"port\"]')"]
    assert port.where is not None
    assert (port.where.file, port.where.line) == ("nginx/templates/nginx.conf.erb", 3)
    assert port.suggestion == "Set 'port' in the properties of job 'nginx': it has no default."
    assert "Did you mean 'host'?" in str(caught.value)
    assert "Did you mean 'db'?" in str(caught.value)


def test_a_schema_is_one_of_the_errors(renderer: Renderer) -> None:
    shape = {"$schema": DRAFT, "type": "object", "properties": {"port": {"type": "integer"}, "cert": {"type": "certificate"}}}
    good = job("<%= 1 %>", properties={"port": 1, "cert": {"ca": "x"}}, properties_schema=shape)
    renderer.render([request(good)])
    bad = dataclasses.replace(good, properties={"port": "hunter2", "cert": "x"})
    with pytest.raises(errors.RenderError) as caught:
        renderer.render([request(bad)])
    assert caught.value.message.splitlines()[3:] == [
        "      - Error validating properties for web", "        - 'cert' is not of type certificate",
        "        - 'port' is not of type integer",
    ]
    assert "hunter2" not in str(caught.value)


SCHEMAS: list[tuple[dict[str, Any], str]] = [
    ({}, "You must declare your $schema draft version"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, f"Only {DRAFT} schema is currently supported"),
    ({"$schema": DRAFT, "required": ["b"]}, "'the properties' lacks b"),
    ({"$schema": DRAFT, "additionalProperties": False}, "'the properties' has unknown keys: a"),
    ({"$schema": DRAFT, "properties": {"a": {"maximum": 1}}}, "'a' does not satisfy maximum: 1"),
    ({"$schema": DRAFT, "$ref": "http://127.0.0.1:9/other"}, "The schema itself is wrong"),
    ({"$schema": DRAFT, "type": "nonsense"}, "The schema itself is wrong"),
]


@pytest.mark.parametrize(("shape", "expected"), SCHEMAS)
def test_schemas(shape: dict[str, Any], expected: str) -> None:
    assert schema.violations(shape, {"a": 5})[0].startswith(expected)


def test_one_template_with_a_context_document(renderer: Renderer) -> None:
    document = {"job": {"name": "web"}, "properties": {"a": 1}, "links": {"db": {"instances": [{"address": "x"}]}}, "index": 3}
    assert renderer.render_text("a.erb", "<%= name %><%= p('a') %><%= link('db').instances[0].address %>", document) == "web1x"
    assert renderer.render_text("a.j2", "{{ name }}{{ p('a') }}{{ link('db').instances[0].address }}", document) == "web1x"


def test_many_instances_are_rendered_in_portions_and_all_errors_told(monkeypatch: pytest.MonkeyPatch, renderer: Renderer) -> None:
    monkeypatch.setattr(renderer_module, "PORTION", 3)
    good = [request(job("<%= index %> of portion"), index=index, id=f"id-{index}") for index in range(8)]
    rendered = renderer.batch(good).render(range(8))
    assert [(item.id, item.jobs[0].files[1].text) for item in rendered] == [(f"id-{n}", f"{n} of portion") for n in range(8)]
    bad = [request(job(f"<%= p('none{index}') %>"), index=index, group=f"g{index}") for index in range(8)]
    with pytest.raises(errors.RenderError) as caught:
        renderer.render([*good, *bad])
    assert caught.value.message.count("Unable to render jobs for instance group") == 8


def test_equal_input_has_an_equal_digest(renderer: Renderer) -> None:
    def digest(**more: Any) -> str:
        given = {"text": "<%= name %>", "index": 1, "properties": {"a": 1}} | more
        return renderer.batch([request(job(given["text"], properties=given["properties"]), index=given["index"])]).inputs[0]

    assert digest() == digest(properties={"a": 1})
    assert len({digest(), digest(text="<%= name %> "), digest(index=2), digest(properties={"a": 2}), digest(properties={"a": "1"})}) == 5


def test_large_batches_go_to_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ENOUGH", 2)
    made: list[Erb] = []

    def make() -> Erb:
        made.append(Erb(isolate=False))
        return made[-1]

    shared = workers.Workers(make, most=2)
    if shared._most < 2:
        pytest.skip("this computer has one processor")
    work = [Work("j", b'{"index": %d}' % number, b"{}", b"{}", [Source("j/a", "<%= index %>")]) for number in range(7)]
    assert shared.fill_in(work) == [[str(number)] for number in range(7)]
    assert [erb._process is not None for erb in made] == [True, False], "one stays, the other is gone"
    shared.close()
