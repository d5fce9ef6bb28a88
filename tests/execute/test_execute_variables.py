"""Which version of a variable a machine gets, and what is told and kept of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from cryptography import x509
from fakes import World
from variables_world import RELEASE, manifest, on

from director.errors import CaissonError, ManifestError
from director.execute import deploy, errands, states
from director.execute.prepare import Wanted
from director.execute.preview import preview
from director.execute.variables import Manner
from director.state.stemcells import StemcellRow

PASSWORD = {"name": "password", "type": "password"}
SHOWN = {"password": "((password))"}


@pytest.fixture
def world(world: World) -> World:
    world.upload(RELEASE)
    return world


def rotate(world: World, value: str, name: str = "/test/app/password") -> str:
    return world.vault.set(name, "password", value).id


def change(world: World, state: str, group: str = "web", instance: str = "", *, converge: bool = True) -> None:
    states.change_state(world.context, "app", states.StateRequest(state, group, instance, converge))


def passwords(world: World, deployment: str = "app") -> list[str]:
    return [item["password"] for item in on(world, deployment)]


def events(world: World) -> list[Any]:
    return [event for event in reversed(world.store.events.select(limit=500)) if event.object_type == "variable"]


@pytest.mark.parametrize("state", ["recreate", "restart", "stopped"])
def test_a_change_of_state_takes_no_new_version(world: World, state: str) -> None:
    text = manifest([PASSWORD], SHOWN)
    world.deploy(text)
    (before,) = set(passwords(world))
    rotate(world, "new")
    change(world, state)
    change(world, "started")
    assert set(passwords(world)) == {before}
    change(world, "recreate", instance="0", converge=False)
    assert set(passwords(world)) == {before}
    world.deploy(text)
    assert set(passwords(world)) == {"new"}


def test_a_change_of_state_cannot_bring_new_names(world: World) -> None:
    world.deploy(manifest([PASSWORD], SHOWN))
    rotate(world, "x", "/shared/other")
    ctx = world.context
    with pytest.raises(CaissonError, match="Expected variable '/shared/other' to be already versioned in deployment 'app'"):
        states.change_state(ctx, "app", states.StateRequest("recreate"), manifest([PASSWORD], {"password": "((/shared/other))"}))


def test_an_instance_that_was_left_alone_keeps_its_version(world: World) -> None:
    """Of a deploy that failed half-way the next change of state makes what was deployed last."""
    text = manifest([PASSWORD], SHOWN)
    world.deploy(text)
    (before,) = set(passwords(world))
    rotate(world, "new")
    world.fleet.sick.add("show")
    with pytest.raises(CaissonError):
        world.deploy(text)
    assert sorted(passwords(world)) == sorted([before, "new"])
    sets = [row.variable_set_id for row in world.store.instances.of("app")]
    assert len(set(sets)) == 1, "one that failed has not got the new set"
    world.fleet.sick.clear()
    change(world, "restart")
    assert set(passwords(world)) == {before}


@pytest.mark.parametrize(("stemcells", "force", "wanted"), [
    (["1"], False, "old"), (["1"], True, "new"), (["1", "2"], False, "new"),
])
def test_update_on_stemcell_change(world: World, stemcells: list[str], force: bool, wanted: str) -> None:
    world.vault.set("/test/app/password", "password", "old")
    text = manifest([{**PASSWORD, "update": {"strategy": "on-stemcell-change"}}, {"name": "other", "type": "password"}], SHOWN)
    world.deploy(text)
    rotate(world, "new")
    rotate(world, "new too", "/test/app/other")
    for version in stemcells[1:]:
        world.store.stemcells.add(StemcellRow("linux", version, "linux", world.cloud.create_stemcell("", {}, version), version))
    world.task = 2
    deploy.deploy(world.context, Wanted(text, variables=Manner(force_latest=force)))
    assert set(passwords(world)) == {wanted}
    told = [(event.context["latest_version"], event.context["update_strategy"]) for event in events(world) if event.task == "2"]
    assert told == ([(False, "on-stemcell-change")] if wanted == "old" else [])
    chosen = world.store.variables.last_deployed_set("app")
    assert chosen is not None
    assert world.vault.value(world.store.variables.pins(chosen.id)["/test/app/other"]) == "new too"


def test_an_event_for_each_variable_that_was_made(world: World) -> None:
    world.deploy(manifest([PASSWORD, {"name": "/shared/key", "type": "ssh"}], SHOWN))
    told = [(event.action, event.object_name, event.context, event.error, event.deployment, event.user) for event in events(world)]
    pins = world.store.variables.pins(world.store.variables.sets("app")[0].id)
    assert told == [
        ("create", name, {"update_strategy": "on-deploy", "latest_version": True, "name": name, "id": pins[name]}, "", "app", "admin")
        for name in ("/test/app/password", "/shared/key")]
    world.deploy(manifest([PASSWORD], SHOWN))
    assert len(events(world)) == 2, "nothing was made"


def test_all_that_cannot_be_made_is_told_with_its_line_and_recorded(world: World) -> None:
    text = """name: app
releases: [{name: show, version: latest}]
stemcells: [{alias: default, os: linux, version: latest}]
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 0-1000, update_watch_time: 0-1000}
variables:
- {name: short, type: password, options: {lenght: 3}}
- {name: authority, type: certificate, options: {is_ca: true}}
- {name: leaf, type: certificate, options: {ca: autority}}
- {name: one, type: certificate, options: {ca: other, is_ca: true}}
- {name: other, type: certificate, options: {ca: one, is_ca: true}}
"""
    with pytest.raises(ManifestError) as caught:
        world.deploy(text)
    told = {(item.where, item.summary.partition(": ")[2], item.suggestion) for item in caught.value.diagnostics}
    assert {(where.line if where else None, problem, hint) for where, problem, hint in told} == {
        (6, "Unsupported parameter 'lenght'", "Did you mean 'length'?"),
        (8, "Expected to find variable 'autority' with a certificate", "Did you mean 'authority'?"),
        (9, "certificates sign each other in a circle: /test/app/one <- /test/app/other <- /test/app/one",
         "Make one of them a root: leave out its `ca`."),
    }
    assert {item.where.file for item in caught.value.diagnostics if item.where} == {"manifest.yml"}
    failed = {event.object_name: event.error for event in events(world)}
    assert set(failed) == {"/test/app/short", "/test/app/leaf", "/test/app/one"}
    assert "Unsupported parameter 'lenght'" in failed["/test/app/short"]
    assert world.store.variables.all() == []


@pytest.mark.parametrize(("variables", "values", "code", "text"), [
    # Manifest contract, section 22, rows 22 and 23.
    ([], {"a": "echo $((x + 1))"}, 540004, "must only contain alphanumeric"),
    ([{"name": "domain", "type": "password"}, {"name": "x", "type": "user", "options": {"username": "((domain))"}}], {}, 540002,
      "Failed to find variable '/test/app/domain'"),
    ([{"name": "x", "type": "password", "update_mode": "convege"}], {}, 540005, "Unsupported update mode: convege"),
    ([{"name": "x", "type": "value"}], {}, 540005, "Unsupported value type: value"),
])
def test_what_a_deploy_refuses(world: World, variables: list[dict[str, Any]], values: dict[str, Any], code: int, text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        world.deploy(manifest(variables, values))
    assert [(item.code, text in item.summary) for item in caught.value.diagnostics] == [(code, True)]


def test_options_that_only_the_director_knows(world: World) -> None:
    """Manifest contract, section 22, row 35: the command line refuses `key_usage`."""
    options = {"is_ca": True, "common_name": "x", "key_usage": ["digital_signature"]}
    world.deploy(manifest([{"name": "ca", "type": "certificate", "options": options}], {"ca": "((ca.certificate))"}, instances=1))
    certificate = x509.load_pem_x509_certificate(on(world)[0]["ca"].encode())
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, True)


def test_a_certificate_gets_the_names_of_its_links(world: World) -> None:
    """Manifest contract, section 10: `consumes`. Another address makes another certificate only where it converges."""
    def definition(name: str, **consumes: Any) -> dict[str, Any]:
        return {"name": name, "type": "certificate", "update_mode": "converge", "consumes": consumes,
                "options": {"self_sign": True, "alternative_names": ["own.org"]}}

    link = {"from": "shown", "link_type": "shown"}
    world.deploy(manifest(
        [definition("plain", alternative_name=link, common_name=link),
         definition("wild", alternative_name={**link, "properties": {"wildcard": True}}),
         definition("manual", alternative_name={"address": "db.example.com"})],
        {name: f"(({name}.certificate))" for name in ("plain", "wild", "manual")}, instances=1))
    names = {}
    for name, pem in on(world)[0].items():
        certificate = x509.load_pem_x509_certificate(pem.encode())
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names[name] = ([item.value for item in alternative], [item.value for item in certificate.subject])
    assert names == {
        "plain": (["own.org", "q-s0.web.default.app.bosh"], ["q-s0.web.default.app.bosh"]),
        "wild": (["own.org", "*.web.default.app.bosh"], []), "manual": (["own.org", "db.example.com"], [])}


def test_warned_of_certificates_that_end_and_cas_that_are_made_anew(world: World) -> None:
    def definitions(days: int) -> list[dict[str, Any]]:
        return [
            {"name": "ca", "type": "certificate", "update_mode": "converge", "options": {"is_ca": True, "duration": days}},
            {"name": "leaf", "type": "certificate", "options": {"ca": "ca", "common_name": "leaf", "duration": 20}}]

    now = 1_700_000_000.0
    world.clock.now = now
    world.vault.now = lambda: now
    world.deploy(manifest(definitions(100), {}, instances=1))
    assert world.log.warnings == []
    preview(world.context, Wanted(manifest(definitions(200), {}, instances=1)))
    told = list(world.log.warnings)
    assert "The definition of the CA '/test/app/ca' changed, so it is made anew at once" in told[0]
    assert told[1:] == ["Certificate '/test/app/leaf' ends on 2023-12-04; make a new one: caisson rotate /test/app/leaf"]
    world.clock.now = now + 21 * 86400
    world.log.warnings.clear()
    world.deploy(manifest(definitions(100), {}, instances=1))
    assert world.log.warnings == ["Certificate '/test/app/leaf' ended on 2023-12-04; make a new one: caisson rotate /test/app/leaf"]


def test_old_versions_go_when_nothing_uses_them(world: World) -> None:
    text = manifest([PASSWORD], SHOWN)
    world.deploy(text)
    for value in ("second", "third"):
        rotate(world, value)
    world.deploy(text)
    assert [world.vault.value(row.id) for row in world.store.variables.versions("/test/app/password")] == ["third"]
    rotate(world, "fourth")
    assert len(world.store.variables.versions("/test/app/password")) == 2, "what is deployed stays until the next deploy"
    world.store.instances.update(world.store.instances.of("app")[0].id, ignored=True)
    world.deploy(text)
    assert len(world.store.variables.versions("/test/app/password")) == 2, "what an ignored instance has stays"


def test_cloud_and_runtime_configs_are_filled_in_and_pinned(world: World) -> None:
    cloud = yaml.safe_load(world.store.configs.current("cloud")[0].content)
    cloud["networks"][0]["subnets"][0]["gateway"] = "((/shared/gateway))"
    cloud["vm_types"][0]["cloud_properties"] = {"memory": "((/shared/memory))"}
    world.vault.set("/shared/gateway", "value", "10.0.0.1")
    world.vault.set("/shared/memory", "value", 512)
    world.vault.set("/test/app/zone", "value", "west")
    world.configure(yaml.safe_dump(cloud))
    world.store.configs.save("runtime", "default", "tags: {zone: ((zone))}\nvariables: [{name: theirs, type: password}]\n")
    world.deploy(manifest([], {"password": "((theirs))"}))
    machine = world.machine("web")
    assert machine.spec["networks"]["default"]["gateway"] == "10.0.0.1"
    row = world.store.instances.at("app", "web", 0)
    assert row.applied["tags"] == {"zone": "west"}
    pinned = set(world.store.variables.pins(row.variable_set_id or 0))
    assert pinned == {"/shared/gateway", "/shared/memory", "/test/app/zone", "/test/app/theirs"}
    world.vault.set("/shared/gateway", "value", "10.0.0.2")
    change(world, "recreate")
    assert world.machine("web").spec["networks"]["default"]["gateway"] == "10.0.0.1"


def test_relative_names_in_a_cloud_config_are_refused(world: World) -> None:
    world.configure(world.store.configs.current("cloud")[0].content + "\nvm_extensions: [{name: x, cloud_properties: {a: ((b))}}]\n")
    with pytest.raises(ManifestError) as caught:
        world.deploy(manifest([], {}))
    assert caught.value.diagnostics[0].code == 540004


def test_an_errand_group_finds_its_variables_pinned(world: World) -> None:
    world.vault.set("/outside", "password", "first")
    tree = yaml.safe_load(manifest([PASSWORD], SHOWN))
    group = tree["instance_groups"][0]
    tree["instance_groups"].append({
        **group, "name": "once", "instances": 1, "lifecycle": "errand",
        "jobs": [{"name": "show", "release": "show", "properties": {"values": {"password": "((/outside))"}}}]})
    world.deploy(yaml.safe_dump(tree))
    world.vault.set("/outside", "password", "second")
    errands.run_errand(world.context, "app", errands.ErrandRequest("once", keep_alive=True))
    assert next(item["password"] for item in on(world) if item) == "first"


def test_links_of_others_bring_what_those_deployed(world: World) -> None:
    world.deploy(manifest([PASSWORD], SHOWN, instances=1))
    (before,) = passwords(world)
    rotate(world, "new")
    look = {"name": "look", "release": "show", "consumes": {"shown": {"from": "shown", "deployment": "app"}}}
    other = manifest([], {}, name="other", instances=1, job=look)
    world.deploy(other)
    assert on(world, "other", "look/config/look.json") == [{"password": before}], "the new one is on no machine of 'app' yet"
    world.deploy(manifest([PASSWORD], SHOWN, instances=1))
    states.change_state(world.context, "other", states.StateRequest("recreate"))
    assert on(world, "other", "look/config/look.json") == [{"password": before}], "a recreated machine gets what it had"
    world.deploy(other)
    assert on(world, "other", "look/config/look.json") == [{"password": "new"}]
