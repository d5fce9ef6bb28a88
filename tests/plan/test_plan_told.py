"""Plans as they are told: places of reasons, what happens to processes, disks and addresses, time, JSON and back, kept files, moves."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import again, applied, cloud, designed, group, hashes, job, m, options, package, planned, ref, release, request, subnet

from director.errors import UsageError
from director.manifest.load import load_yaml
from director.plan import causes, lines, planfile
from director.plan.decide import decide
from director.plan.digest import digest
from director.plan.expect import COMPILE, CREATE_VM, DELETE, Took, expected
from director.plan.explain import duration_text, explain
from director.plan.model import Plan, Request
from director.plan.moved import differing, moved
from director.plan.outline import Outline, from_json, outline, to_json
from director.plan.planfile import PlanFile
from director.plan.shown import difference, harmless
from director.release.model import PropertySpec, Stemcell

ZONES = cloud(
    m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/24", "z1", "z2"), subnet("10.1.0.0/24"))), azs=("z1", "z2"),
    vm_types=(m.NamedProperties("large", {"size": 2}),), disk_types=())
DISK = (m.DiskRef("", 1024),)
WITH_PROPERTIES = release(job("app", properties=(PropertySpec("password"), PropertySpec("port"))))


def told(made: Request, **more: Any) -> Outline:
    blueprint = designed(made)
    return outline(decide(blueprint, hashes(blueprint), **more), blueprint)


def wanting(made: Request, *groups: m.InstanceGroup, **more: Any) -> Request:
    return again(made, manifest=dataclasses.replace(made.manifest, instance_groups=groups), **more)


# What happens to what


def test_what_becomes_of_processes_is_told() -> None:
    before = request(group(instances=2), group("old"))
    after = wanting(before, group(instances=2, env={"a": 1}))
    observed = tuple(
        dataclasses.replace(item, vm=dataclasses.replace(item.vm, processes={"nginx": "running", "app": "running"}))
        for item in after.observed if item.vm)
    found = told(dataclasses.replace(after, observed=observed))
    assert {entry.group: (entry.effect, entry.processes) for entry in found.entries} == {
        "web": ("restart", ("app", "nginx")), "old": ("stop", ("app", "nginx"))}
    text = explain(found)
    assert "processes restart: app, nginx" in text
    assert "Processes stop on 3 running machines: app, nginx." in text
    assert [entry.effect for entry in told(request(group())).entries] == ["start"]


def test_what_becomes_of_disks_and_addresses_is_told() -> None:
    before = request(group(disks=DISK), group("old", disks=DISK))
    grown = told(wanting(before, group(disks=(m.DiskRef("", 2048),))))
    text = explain(grown)
    assert "disk disk-id-0--1024 is copied to a new one of 2048 MiB, and becomes an orphan" in text
    assert "disk disk-id-1--1024 of 1024 MiB becomes an orphan" in text
    assert "addresses released: default 10.0.0.3" in text
    recreated = told(wanting(before, group(disks=DISK, env={"a": 1}), group("old", disks=DISK)))
    assert "disk disk-id-0--1024 of 1024 MiB is kept" in explain(recreated)
    assert "a new disk of 1024 MiB" in explain(told(before))
    assert "a new disk 'data' of 10 MiB" in explain(told(request(group(disks=(m.DiskRef("data", 10),)))))


def test_only_the_signs_that_occur_are_explained() -> None:
    made = request(group())
    assert "+ create" in explain(told(made))
    assert "recreate: new machine" not in explain(told(made))
    assert explain(told(again(made))) == "Deployment 'dep'\n\nNothing to do.\n"


def test_errand_groups_are_told() -> None:
    made = request(group(), group("smoke", 2, lifecycle="errand"))
    assert "smoke: nothing now; 2 machines only while the errand runs: caisson run-errand smoke" in explain(told(made))
    awake = dataclasses.replace(made, options=options(errand_groups=("smoke",)))
    observed, ids = applied(awake)
    assert "smoke: has a machine that was kept alive" in explain(told(dataclasses.replace(made, observed=observed, ids=ids)))


def test_why_nothing_wants_an_instance_any_more() -> None:
    before = request(group(instances=2, azs=("z1", "z2"), line=3), group("old", azs=("z1",)), cloud_config=ZONES)
    zone = told(wanting(before, group(instances=1, azs=("z1",))))
    assert "'z2' is not among the AZs of instance group 'web' (z1)" in explain(zone)
    assert "its instance group is not in the manifest" in explain(zone)
    fewer = told(wanting(before, group(instances=1, azs=("z1", "z2")), group("old", azs=("z1",))))
    assert "instance group 'web' wants no more than 1 instances" in explain(fewer)


# Places

MANIFEST = """\
name: dep
releases:
- {name: rel, version: 1}
stemcells:
- alias: d
  os: debian
  version: 1.2
tags:
  owner: me
instance_groups:
- name: web
  migrated_from: [{name: front}]
  instances: 2
  azs: [z1]
  jobs:
  - name: app
    release: rel
    properties:
      password: x
      port: 1
  - name: extra
    release: rel
  vm_type: large
  persistent_disk: 10
  env:
    bosh:
      password: y
  networks: [{name: default}]
  stemcell: d
addons:
- name: monitoring
  jobs:
  - name: agent
    release: rel
    properties:
      port: 2
"""
RUNTIME = """\
releases: [{name: other, version: 3}]
addons:
- name: dns
  jobs:
  - name: resolver
    release: other
    properties:
      port: 53
"""


@pytest.mark.parametrize(("kind", "paths", "after", "place"), [
    ("configuration", ("app.password",), "", "app.yml:19"),
    ("configuration", ("app.gone.deeper",), "", "app.yml:18"),
    ("configuration", ("agent.port",), "", "app.yml:36"),
    ("configuration", ("resolver.port",), "", "runtime.yml:8"),
    ("configuration", (), "", "app.yml:15"),
    ("env", ("bosh.password",), "", "app.yml:27"),
    ("stemcell", (), "linux/1.2", "app.yml:7"),
    ("cloud_properties", ("size",), "", "app.yml:23"),
    ("network", (), "", "app.yml:28"),
    ("persistent_disk", (), "", "app.yml:24"),
    ("tags", ("owner",), "", "app.yml:9"),
    ("job", (), "extra/1", "app.yml:21"),
    ("packages", (), "tool/2", "app.yml:3"),
    ("new", (), "", "app.yml:13"),
    ("obsolete", ("azs",), "", "app.yml:14"),
    ("obsolete", (), "", "app.yml:13"),
])
def test_each_kind_of_reason_names_the_line_to_look_at(kind: str, paths: tuple[str, ...], after: str, place: str) -> None:
    (change,) = planned(request(group(line=11), releases=(release(job(packages=("tool",)), packages=(package("tool"),)),))).changes
    reason = dataclasses.replace(change.reasons[0], kind=kind, paths=paths, after=after, line=11)
    plan = Plan("dep", (dataclasses.replace(change, reasons=(reason,)),), (), ())
    found = lines.located(plan, load_yaml(MANIFEST, "app.yml"), (load_yaml(RUNTIME, "runtime.yml"),)).changes[0].reasons[0]
    assert f"{found.file}:{found.line}" == place


CLOUD = """\
azs: [{name: z1, cloud_properties: {zone: a}}]
vm_types:
- name: large
  cloud_properties:
    size: 2
vm_extensions: [{name: more}]
disk_types:
- name: big
  disk_size: 3
networks:
- name: default
  subnets: []
"""


@pytest.mark.parametrize(("kind", "paths", "place"), [
    ("cloud_properties", ("size",), "cloud.yml:5"),
    ("cloud_properties", ("zone",), "cloud.yml:1"),
    ("cloud_properties", ("gone",), "app.yml:23"),
    ("network", ("default.gateway",), "cloud.yml:12"),
    ("network", (), "app.yml:28"),
    ("persistent_disk", (), "app.yml:24"),
])
def test_a_new_cloud_config_may_be_the_place(kind: str, paths: tuple[str, ...], place: str) -> None:
    (change,) = planned(request(group(line=11))).changes
    reason = dataclasses.replace(change.reasons[0], kind=kind, paths=paths)
    plan = Plan("dep", (dataclasses.replace(change, reasons=(reason,), az="z1"),), (), ())
    documents = load_yaml(MANIFEST, "app.yml"), (), (load_yaml(CLOUD, "cloud.yml"),)
    found = lines.located(plan, *documents).changes[0].reasons[0]
    assert f"{found.file}:{found.line}" == place


def test_what_has_no_place_has_none() -> None:
    plan = planned(wanting(request(group(), group("old")), group()))
    found = lines.located(plan, load_yaml(MANIFEST, "app.yml"))
    (gone,) = [change for change in found.changes if change.group == "old"]
    assert (gone.reasons[0].line, gone.reasons[0].file) == (None, "")
    assert explain(found).count("app.yml") == 0


def test_an_existing_job_that_changed_is_the_releases_doing_and_a_renamed_group_its_own() -> None:
    (change,) = planned(request(group(line=11))).changes
    document = load_yaml(MANIFEST, "app.yml")
    same = dataclasses.replace(change.reasons[0], kind="job", before="app/1", after="app/2")
    plan = Plan("dep", (dataclasses.replace(change, reasons=(same,)),), (), ())
    assert lines.located(plan, document).changes[0].reasons[0].line == 3
    moved_here = Plan("dep", (dataclasses.replace(change, reasons=(same,), migrated_from="front"),), (), ())
    assert lines.located(moved_here, document).changes[0].reasons[0].line == 12


# Causes


def test_rotated_variables_are_named() -> None:
    before = request(group(jobs=(ref(properties={"password": "((/a/secret.key))", "port": "((port))"}),)), releases=(WITH_PROPERTIES,))
    blueprint = designed(again(before))
    plan = decide(blueprint, {item.spec.id: "other" for item in blueprint.instances})
    text = explain(causes.explained(plan, lambda name: name == "/a/secret"))
    assert "configuration: rendered templates differ: variables have new values (/a/secret)" in text
    assert "no property, variable, job or address of its own changed" in explain(causes.explained(plan, lambda name: False))


def test_other_causes_are_named() -> None:
    before = request(group(jobs=(ref(),)))
    blueprint = designed(wanting(before, group("front", jobs=(ref(),), migrated_from=(m.MigratedFrom("web"),))))
    plan = decide(blueprint, {item.spec.id: "other" for item in blueprint.instances})
    assert "no property changed, but the name of its instance group did" in explain(causes.explained(plan, lambda name: False))


# Time

PAST = (
    Took(COMPILE, "tool", 20.0), Took(COMPILE, "tool", 40.0), Took(COMPILE, "tool", 30.0), Took(CREATE_VM, "web", 10.0),
    Took("create", "web", 5.0), Took("update", "web", 8.0), Took(DELETE, "web", 2.0))


def test_time_is_learned_from_the_past_of_each_group() -> None:
    made = request(group(instances=4, update=m.UpdatePolicy(canaries="1", max_in_flight="2")))
    found = expected(told(made), PAST).expected
    assert found is not None
    # all machines at once, then the canary, then three at two at a time
    assert (found.seconds, found.unknown, found.learned) == (10 + 5 + 2 * 5, (), True)
    updated = expected(told(wanting(made, group(instances=3, update=m.UpdatePolicy(), tags={}, jobs=(ref(), ref("more"))),
                                    releases=(release(job(), job("more")),))), PAST).expected
    assert updated is not None
    assert updated.seconds == 2 + 3 * 8


def test_what_was_never_done_is_made_of_what_was() -> None:
    made = wanting(request(group()), group(env={"a": 1}))
    found = expected(told(made), PAST).expected
    assert found is not None
    assert found.seconds == 10 + 5


def test_groups_beside_each_other_take_as_long_as_the_longest() -> None:
    beside = m.UpdatePolicy(serial=False)
    made = request(group(update=beside), group("slow", update=beside), group("b"))
    past = (*PAST, Took("create", "slow", 50.0), Took("create", "b", 1.0))
    found = expected(told(made), past).expected
    assert found is not None
    assert found.seconds == 10 + 50 + 1


def test_compilations_go_side_by_side_and_unknown_ones_are_told() -> None:
    made = request(group(jobs=(ref(),)), releases=(
        release(job(packages=("tool", "new")), packages=(package("tool"), package("new"))),))
    found = expected(told(made, compiled=()), PAST).expected
    assert found is not None
    assert (found.seconds, found.unknown) == (30 / 2 + 10 + 5, ("compile new",))
    assert "Not counted, since no past task did it: compile new." in explain(expected(told(made, compiled=()), PAST))


def test_without_a_past_nothing_is_pretended() -> None:
    found = expected(told(request(group())), ())
    assert "Expected duration: there is no past task to learn from." in explain(found)
    assert expected(told(again(request(group()))), ()).expected is None


@pytest.mark.parametrize(("seconds", "text"), [
    (0.2, "less than a second"), (40, "40 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min")])
def test_durations_are_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


# JSON, digests, files


@pytest.mark.parametrize("made", [
    request(group(instances=3, azs=("z1", "z2"), disks=DISK), group("smoke", lifecycle="errand"), cloud_config=ZONES),
    wanting(request(group(instances=2, disks=DISK), group("old")), group("web", env={"a": 1}, disks=DISK), options=options(recreate=True)),
    again(request(group(instances=2))),
    wanting(request(group(instances=1)), group(instances=1, state="stopped")),
], ids=("first", "much", "nothing", "stop"))
def test_json_comes_back_the_same(made: Request) -> None:
    found = expected(told(made, compiled=()), PAST)
    assert from_json(json.loads(json.dumps(to_json(found)))) == found
    kept = kept_of(found)
    assert planfile.read(planfile.write(kept)) == kept


def kept_of(found: Outline, **more: Any) -> PlanFile:
    return PlanFile(**{
        "director_name": "d", "director_uuid": "u", "deployment": "dep", "made_at": 1.5, "options": {"fix": True}, "plan": found,
        "plan_digest": "sha256:1", "rests_on": {"instance a": {"state": "started"}}, "sealed": "abc", "foreseen_ids": ("i",),
        "foreseen_numbers": (("az", "z1", 1),), **more})


@pytest.mark.parametrize("tree", [None, [], {}, {"format": 1}, {"format": 1, "deployment": "x", "changes": [{}]}, {"format": "1"}])
def test_what_is_no_plan_is_refused(tree: Any) -> None:
    with pytest.raises(UsageError, match="This is no plan"):
        from_json(tree)


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(UsageError, match="format 99"):
        from_json({"format": 99})


def edited(change: Any) -> str:
    tree = json.loads(planfile.write(kept_of(told(request(group())))))
    change(tree)
    return json.dumps(tree)


@pytest.mark.parametrize(("text", "words"), [
    (planfile.write(kept_of(told(request(group()))))[:200], "cut off, or no plan file"),
    ("", "cut off, or no plan file"),
    ("{}", "no plan file"),
    ("[1]", "no plan file"),
    ('{"caisson_plan": true}', "no plan file"),
    ("[" * 100_000, "no plan file"),
    ('{"caisson_plan": 7}', "version 7"),
    (edited(lambda tree: tree["options"].update(recreate=True)), "was changed after it was made"),
    (edited(lambda tree: tree["plan"]["changes"].clear()), "was changed after it was made"),
    (edited(lambda tree: tree.pop("digest")), "was changed after it was made"),
])
def test_damaged_files_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        planfile.read(text, "plan.json")
    assert words in str(caught.value)
    assert "plan.json" in str(caught.value)
    assert "caisson plan" in str(caught.value) or "newer" in str(caught.value)


def test_a_file_that_lacks_something_is_refused_even_with_a_right_digest() -> None:
    tree = planfile.to_tree(kept_of(told(request(group()))))
    del tree["sealed"], tree["digest"]
    with pytest.raises(UsageError, match="lacks something"):
        planfile.of_tree({**tree, "digest": planfile._digest(tree)})


def test_foreign_plans_are_refused() -> None:
    kept = kept_of(told(request(group())))
    planfile.check(kept, "u", "dep")
    planfile.check(kept, "u")
    with pytest.raises(UsageError, match="made by director 'd'"):
        planfile.check(kept, "another")
    with pytest.raises(UsageError, match="for deployment 'dep', not for 'x'"):
        planfile.check(kept, "u", "x")


def test_digests_count_what_is_done() -> None:
    made = request(group(jobs=(ref(properties={"port": 1}),), line=1), releases=(
        release(job(packages=("tool",), properties=(PropertySpec("port"),)), packages=(package("tool"),)),))
    blueprint = designed(made)
    first = decide(blueprint, hashes(blueprint), compiled=())
    assert digest(first) == digest(decide(blueprint, hashes(blueprint), compiled={item.key for item in first.compilations}))
    assert digest(first) == digest(decide(blueprint, dict.fromkeys(hashes(blueprint), "made up otherwise")))
    assert digest(first, b"key") != digest(first)
    other = planned(dataclasses.replace(made, manifest=dataclasses.replace(
        made.manifest, instance_groups=(group(jobs=(ref(properties={"port": 2}),)),))))
    assert digest(first) != digest(other)
    assert digest(first, specs=False) == digest(other, specs=False)


def test_maps_with_odd_keys_have_a_digest() -> None:
    made = request(group(env={"map": {1: "a", "b": 2, 0: 3}, "list": (1, 2)}))
    assert digest(planned(made)) == digest(planned(made))


# Moves


def test_moves_are_told_with_before_and_after() -> None:
    before = {"instance web/1": {"machine": "vm-1", "state": "started"}, "release 'a'": {"version": "1"}}
    now = {"instance web/1": {"machine": "vm-2", "state": "started"}, "cloud-config 'x'": {"version": "3"}}
    found = moved({**before, "agent web/1": {"state": "running"}}, {**now, "agent web/1": {"state": "failing"}})
    assert [(item.text, item.beside) for item in found] == [
        ("agent web/1: state was running, is failing", True),
        ("cloud-config 'x': it was not there, is version 3", False),
        ("instance web/1: machine was vm-1, is vm-2", False),
        ("release 'a': it was version 1, is not there", False)]
    assert moved({"a": {"b": "c"}}, {"a": {"b": "c"}}) == ()


def test_how_two_plans_differ() -> None:
    made = request(group(instances=30))
    assert differing(told(made), told(made)) == ()
    found = differing(told(made), told(again(made)))
    assert found[0] == "web/id-0 (0): was to create with 10.0.0.2 (new: a new instance), would stay unchanged"
    assert found[-1] == "... and 10 more"


def test_long_differences_are_cut() -> None:
    found = difference({f"k{number:02}": 1 for number in range(30)}, {f"k{number:02}": 2 for number in range(20)}, literals=True)
    assert found.before.startswith("k00: 1, k01: 1, ")
    assert found.before.endswith("k11: 1, and 18 more")
    assert found.after.endswith("k11: 2, and 8 more")
    assert len(found.paths) == 30


@pytest.mark.parametrize(("path", "value", "shown"), [
    ("size", "m5.large", True), ("memory", 512, True), ("zones[0]", "eu-west-1a", True), ("encrypted", False, True),
    ("password", "x", False), ("client_secret", "x", False), ("deep.accessKey", "x", False), ("auth.value", 1, False),
    ("url", "https://u:p@host/", False), ("user_data", "#!/bin/sh\ncurl", False), ("blob", "x" * 65, False), ("text", "{not plain}", False),
])
def test_which_literals_are_shown(path: str, value: Any, shown: bool) -> None:
    assert harmless(path, value) is shown


# Secrets

SECRET = "hunter2.Correct-Horse"
places = st.lists(st.sampled_from(["a", "list", "password", "api_key", "b"]), min_size=1, max_size=3)


def planted(steps: list[str], value: str) -> dict[str, Any]:
    tree: Any = value
    for step in reversed(steps):
        tree = [tree] if step == "list" else {step: tree}
    return tree if isinstance(tree, dict) else {"top": tree}


@settings(max_examples=8, deadline=None)
@given(places, places, st.sampled_from(["password", "client_secret", "accessKey", "auth.token", "private_key"]), st.booleans())
def test_secrets_are_in_nothing_that_leaves_the_planner(inside: list[str], env: list[str], key: str, removed: bool) -> None:
    """In properties and env wherever they are, in cloud properties and tags under a name that says so or in a placeholder's place."""
    def world(secret: str) -> tuple[m.InstanceGroup, m.CloudConfig]:
        web = group(jobs=(ref(properties={"password": planted(inside, secret), "port": "((port))"}),), env=planted(env, secret),
                    vm_type="large", disks=(m.DiskRef("", 10, cloud_properties={key: secret}),))
        properties = {} if removed and secret.startswith("new") else {key: secret, "url": f"https://u:{secret}@host/", "size": "((size))"}
        return web, cloud(vm_types=(m.NamedProperties("large", {"deep": [properties]}),))

    first, config = world(f"old-{SECRET}")
    second, newer = world(f"new-{SECRET}")
    before = request(first, cloud_config=config, releases=(WITH_PROPERTIES,), tags={key: f"old-{SECRET}", "owner": "a"})
    after = again(before, cloud=newer, manifest=dataclasses.replace(
        before.manifest, instance_groups=(second,), tags={key: f"new-{SECRET}", "owner": "b"}))
    blueprint = designed(after)
    plan = decide(blueprint, {item.spec.id: "hash" for item in blueprint.instances}, compiled=())
    kinds = {reason.kind for change in plan.changes for reason in change.reasons}
    assert {"env", "cloud_properties", "configuration", "persistent_disk", "tags"} <= kinds
    found = outline(plan, blueprint)
    difference = "\n".join(differing(found, told(before)))
    for text in (explain(found), json.dumps(to_json(found)), planfile.write(kept_of(found)), digest(plan), difference):
        assert SECRET not in text
    assert 'owner: "a"' in explain(found)


def test_a_new_stemcell_is_told_with_both_versions() -> None:
    before = request(group())
    after = again(before, stemcells=(Stemcell("linux", "1.2", "debian", "image"),), manifest=dataclasses.replace(
        before.manifest, stemcells=(m.StemcellRef("d", "1.2", os="debian"),)))
    assert "stemcell: stemcell changes (linux/1.1 -> linux/1.2)" in explain(told(after))
