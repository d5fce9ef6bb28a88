"""Jinja2 templates see the same context as ERB ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from render_builder import job, link, request

from director import errors
from director.render.model import Template
from director.render.renderer import Renderer

PROPERTIES: dict[str, Any] = {"a": 5, "f": False, "n": None, "s": "it's", "m": {"y": {"z": "deep"}}, "l": [1, 2]}


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as found:
        yield found


def fill(renderer: Renderer, text: str, source: str) -> str:
    found = renderer.render([request(job(text, source=source, properties=PROPERTIES, links={"db": link()}))])
    return next(file.text for file in found[0].jobs[0].files if file.source == source)


SAME = [
    ("<%= p('a') %>", "{{ p('a') }}"),
    ("<%= p('m.y.z') %>", "{{ p('m.y.z') }}"),
    ("<%= p(['n', 'a']) %>", "{{ p(['n', 'a']) }}"),
    ("<%= p('o', 7) %>", "{{ p('o', 7) }}"),
    ("<% if_p('f', 'o') { %>y<% }.else { %>n<% } %>", "{{ 'y' if has_p('f', 'o') else 'n' }}"),
    ("<%= properties.m.y.z %> <%= name %> <%= index %>", "{{ properties.m.y.z }} {{ name }} {{ index }}"),
    ("<%= spec.ip %> <%= spec.job.name %> <%= spec.release.version %>", "{{ spec.ip }} {{ spec.job.name }} {{ spec.release.version }}"),
    ("<%= spec.networks.a.dns_record_name %>", "{{ spec.networks.a.dns_record_name }}"),
    ("<%= link('db').address(azs: ['z2'], status: 'all') %>", "{{ link('db').address(azs=['z2'], status='all') }}"),
    ("<%= link('db').instances.map(&:address).join(' ') %>", "{{ link('db').instances | map(attribute='address') | join(' ') }}"),
    ("<%= link('db').p('port') %>", "{{ link('db').p('port') }}"),
    ("<%= link('db').instances[1].p('port') %>", "{{ link('db').instances[1].p('port') }}"),
    ("<%= JSON.generate(p('m')) %>", "{{ p('m') | json | replace(' ', '') }}"),
    ("x\n", "x\n"),
]


@pytest.mark.parametrize(("erb", "jinja"), SAME)
def test_the_same_as_erb(renderer: Renderer, erb: str, jinja: str) -> None:
    assert fill(renderer, erb, "a.erb") == fill(renderer, jinja, "a.j2")


GOOD = {
    "{{ p('n', none) }}": "None",
    "{% if has_p('f') %}yes{% endif %}{% if has_p('a', 'o') %}no{% endif %}": "yes",
    "{% if has_link('db') %}yes{% endif %}{% if has_link('cache') %}no{% endif %}": "yes",
    "{{ p('s') | quote }} {{ '<&' | tojson }}": "'it'\"'\"'s' \"<&\"",
    "{{ p('m') | yaml }}": "y:\n  z: deep\n",
    "{% for x in p('l') %}\n  {% if x > 1 %}\n{{ x }}\n  {% endif %}\n{% endfor %}\n": "2\n",
}


@pytest.mark.parametrize("text", GOOD)
def test_good(renderer: Renderer, text: str) -> None:
    assert fill(renderer, text, "a.j2") == GOOD[text]


BAD = {
    "\n{{ p('o') }}": "line 2: Can't find property '[\"o\"]'",
    "\n\n{{ nothing }}": "line 3: 'nothing' is undefined",
    "{{ properties.q.r }}": "line 1: ",
    "{{ link('cache') }}": "line 1: Can't find link 'cache'",
    "{{ link('db').address(azs=['z9']) }}": "line 1: Unknown AZ: 'z9'",
    "{{ link('db').address }}": "line 1: TypeError: 'address' is a method: write address()",
    "x\n{% if %}": "line 2: Expected an expression",
    "{{ ''.__class__.__mro__ }}": "line 1: access to attribute '__class__'",
    "{% set _ = properties.update({'a': 1}) %}": "line 1: ",
    "{{ 1 / 0 }}": "line 1: ZeroDivisionError",
}


@pytest.mark.parametrize("text", BAD)
def test_bad(renderer: Renderer, text: str) -> None:
    with pytest.raises(errors.RenderError) as caught:
        fill(renderer, text, "a.j2")
    assert BAD[text] in caught.value.message
    assert PROPERTIES["a"] == 5


def test_monit_of_a_jinja_job(renderer: Renderer) -> None:
    both = (Template("a.j2", "a", "x"), Template("b.erb", "b", "<%= 1 %>"))
    (instance,) = renderer.render([request(job(monit="check process {{ name }}", templates=both))])
    assert instance.jobs[0].monit == "check process front"
    (instance,) = renderer.render([request(job("<%= 1 %>", monit="check {{ as is }}"))])
    assert instance.jobs[0].monit == "check {{ as is }}"
