"""`template`, `lint` and `docs`: for those who write releases and manifests, without a director."""

from __future__ import annotations

import io
import json
import pathlib
import stat

import pytest
from cli_world import Cli

from director.manifest import schema

CONTEXT = {
    "deployment": "dep", "name": "web", "job": {"name": "web"}, "index": 2, "id": "abc", "az": "z1", "bootstrap": False, "address": "a.b",
    "ip": "10.0.0.7", "networks": {"default": {"ip": "10.0.0.7", "gateway": "10.0.0.1"}}, "properties": {"port": 80, "tls": {"key": "K"}},
    "links": {
        "db": {"instances": [{"name": "db", "index": 0, "address": "10.0.0.9"}], "properties": {"port": 5432}, "instance_group": "db",
               "default_network": "net", "deployment_name": "dep", "domain": "bosh"},
        "outside": {"instances": [], "address": "db.example.com"},
    },
}  # fmt: skip
ERB = """<%= spec.deployment %> <%= name %>/<%= index %> <%= spec.id %> <%= spec.az %> <%= spec.networks.default.gateway %> <%= spec.ip %>
<%= p('port') + 1 %> <%= p('tls.key') %> <%= p('none', 'é') %><% if_p('absent') do |x| %>x<% end.else do %> else<% end -%>
 <%= link('db').instances[0].address %> <%= link('db').p('port') %> <%= link('db').address %> <%= link('outside').address %>
"""
JINJA = """{{ spec.deployment }} {{ name }}/{{ index }} {{ spec.id }} {{ spec.az }} {{ spec.networks.default.gateway }} {{ spec.ip }}
{{ p('port') + 1 }} {{ p('tls.key') }} {{ p('none', 'é') }}{% if has_p('absent') %}x{% else %} else{% endif %}
 {{ link('db').instances[0].address }} {{ link('db').p('port') }} {{ link('db').address() }} {{ link('outside').address() }}
"""
FILLED_IN = """dep web/2 abc z1 10.0.0.1 10.0.0.7
81 K é else 10.0.0.9 5432 q-s0.db.net.dep.bosh db.example.com
"""


@pytest.mark.parametrize(("name", "text"), [("t.erb", ERB), ("t.j2", JINJA)])
def test_a_template_is_filled_in(offline: Cli, name: str, text: str) -> None:
    template, context = offline.file(name, text), offline.file("context.json", json.dumps(CONTEXT))
    assert offline.ok("template", template, "--context", context).out == FILLED_IN
    assert offline.ok("template", template, "--context", json.dumps(CONTEXT)).out == FILLED_IN
    assert offline.ok("template", template, "--context", context, "--json").json["Blocks"] == [FILLED_IN]


def test_standard_input_is_either_of_both(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    given("{{ p('port') }}<%= 1 %>")
    assert offline.ok("template", "-", "--context", json.dumps(CONTEXT), "--engine", "jinja2").out == "80<%= 1 %>"
    given("{{ 1 }}<%= p('port') %>")
    assert offline.ok("template", "-", "--context", json.dumps(CONTEXT)).out == "{{ 1 }}80"
    given(json.dumps(CONTEXT))
    assert offline.ok("template", offline.file("t.j2", "{{ index }}"), "--context", "-").out == "2"
    assert "cannot both be the standard input" in offline("template", "-", "--context", "-").err


def test_output_goes_into_a_file_of_its_owner(offline: Cli) -> None:
    template, target = offline.file("t.j2", "{{ p('port') }}\n"), offline.folder / "made"
    assert offline.ok("template", template, "--context", json.dumps(CONTEXT), "-o", str(target)).out == ""
    assert target.read_bytes() == b"80\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    target.chmod(0o755)
    offline.ok("template", template, "--context", json.dumps(CONTEXT), "--output", str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    result = offline("template", template, "--context", json.dumps(CONTEXT), "-o", str(offline.folder / "absent/made"))
    assert "cannot be written: No such file or directory" in result.err


@pytest.mark.parametrize(("name", "text", "told"), [
    ("t.erb", "\n<%= p('prot') %>", ["(line 2: Can't find property '[\"prot\"]')", "t.erb:2", "Did you mean 'port'?"]),
    ("t.j2", "\n\n{{ p('tls.kee') }}", ["(line 3: Can't find property", "t.j2:3", "Did you mean 'tls.key'?"]),
    ("t.erb", "<%= link('outsid').address %>", ["Can't find link 'outsid'", "Did you mean 'outside'?"]),
    ("t.j2", "{{ link('outsid') }}", ["Can't find link 'outsid'", "Did you mean 'outside'?"]),
    ("t.erb", "\n\n<% if %>", ["(line (unknown): ", "syntax error", "t.erb:3)"]),
    ("t.j2", "\n{% if %}", ["t.j2:2"]), ("t.j2", "{{ nothing }}", ["'nothing' is undefined"]),
    ("t.erb", "<%= p('zzzzzzzz') %>", ["The context has no 'zzzzzzzz' below properties."]),
])  # fmt: skip
def test_what_cannot_be_filled_in(offline: Cli, name: str, text: str, told: list[str]) -> None:
    result = offline("template", offline.file(name, text), "--context", json.dumps(CONTEXT))
    assert (result.code, result.out) == (1, "")
    for words in told:
        assert words in result.err


@pytest.mark.parametrize(("context", "told"), [
    ("[1]", "Hash expected, Array given"), ("3", "Hash expected, int given"), ("", "Hash expected, NilClass given"),
    ("a: [", "Incorrect YAML"), ('{"a": 1\n', "Incorrect YAML"), ("[" * 100_000, "nest"),
    ('{"a":' * 300 + "1" + "}" * 300, "nested deeper"),
])  # fmt: skip
def test_a_context_that_is_none(offline: Cli, context: str, told: str) -> None:
    template = offline.file("t.j2", "x")
    assert told in offline("template", template, "--context", offline.file("c.json", context)).err
    assert "Missing option '--context'" in offline("template", template).err


@pytest.mark.parametrize("context", [
    "{}", '{"properties": null, "links": null}', '{"links": {"db": 3, "x": {"instances": 3}}, "properties": 7}',
])  # fmt: skip
def test_a_context_with_little_in_it(offline: Cli, context: str) -> None:
    assert offline.ok("template", offline.file("t.j2", "{{ p('a', 1) }}"), "--context", context).out == "1"
    assert offline("template", offline.file("l.j2", "{{ link('x').instances }}"), "--context", context).code == 1


def release(offline: Cli, *, warnings: bool, errors: bool) -> str:
    (offline.folder / "r/jobs/web/templates").mkdir(parents=True)
    (offline.folder / "r/config").mkdir()
    offline.file("r/config/final.yml", "name: r\n")
    offline.file("r/jobs/web/monit", "")
    spec = "name: web\ntemplates: {a.j2: a}\nproperties:\n  port: {}\n" + ("  never: {}\n" if warnings else "")
    offline.file("r/jobs/web/spec", spec)
    offline.file("r/jobs/web/templates/a.j2", "{{ p('port') }}\n" + ("{{ p('prot') }}\n" if errors else ""))
    return str(offline.folder / "r")


def test_lint_tells_places_and_says_so_by_its_exit_code(offline: Cli) -> None:
    folder = release(offline, warnings=True, errors=True)
    result = offline("lint", folder)
    assert result.code == 1
    assert result.out == (
        f"{folder}/jobs/web/spec:5: warning: Property 'never' of job 'web' is declared but not used [property-unused]\n"
        "  -> Remove it, or use it in a template or a provided link.\n"
        f"{folder}/jobs/web/templates/a.j2:2: error: Property 'prot' is used but not declared in the spec of job 'web', "
        "so the template always fails [property-undeclared]\n  -> Did you mean 'port'?\n"
    )
    rows = offline("lint", folder, "--json").rows
    assert [(row["severity"], row["line"], row["rule"]) for row in rows] == [
        ("warning", "5", "property-unused"), ("error", "2", "property-undeclared"),
    ]  # fmt: skip


def test_warnings_alone_are_no_failure_unless_wanted(offline: Cli) -> None:
    folder = release(offline, warnings=True, errors=False)
    assert offline("lint", folder).code == 0
    strict = offline("lint", folder, "--strict")
    assert strict.code == 1
    assert ": error: Property 'never'" in strict.out


def test_a_clean_release(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = release(offline, warnings=False, errors=False)
    assert offline.ok("lint", folder).out == ""
    monkeypatch.chdir(folder)
    offline.terminal = True
    assert "Nothing found" in offline.ok("lint").out
    assert "property-unused" in offline.ok("lint", "--rules").out


@pytest.mark.parametrize("name", schema.sections())
def test_every_section_is_shown(offline: Cli, name: str) -> None:
    shown = offline.ok("docs", name).out
    assert all(f"\n{key}:" in shown for key in schema.section(name).keys)


def test_sections_by_key_and_path(offline: Cli) -> None:
    assert {row["section"] for row in offline.ok("docs", "--json").rows} == set(schema.sections())
    both = offline.ok("docs", "networks").out
    assert "# network: " in both
    assert "# network_definition: " in both
    assert offline.ok("docs", "manifest.instance_groups.jobs").out == offline.ok("docs", "job").out
    assert "Did you mean 'instance_groups'?" in offline("docs", "instance_grups").err
    assert "Did you mean 'jobs'?" in offline("docs", "manifest.instance_groups.jbos").err


def test_files_that_are_not_there(offline: Cli) -> None:
    assert "cannot be read" in offline("template", "/absent.erb", "--context", "{}").err
    assert "is no release directory" in offline("lint", str(pathlib.Path(offline.folder) / "absent")).err
