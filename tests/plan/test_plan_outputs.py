"""What leaves the planner: texts, JSON, digests, DNS records, what is stored."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from worlds import actions, again, applied, cloud, designed, group, hashes, job, kinds, m, options, planned, ref, release, request, subnet

from director.plan.changes import record, record_vm
from director.plan.decide import decide
from director.plan.digest import digest
from director.plan.dns_records import blueprint_aliases, entries_of, records
from director.plan.explain import explain
from director.plan.model import Action, ObservedVm, Plan
from director.plan.outline import outline
from director.plan.outline import to_json as outline_json
from director.release.model import LinkSpec, PropertySpec, Stemcell

PROPERTIES = release(job("app", properties=(PropertySpec("password"), PropertySpec("user"))))
SECRET = "hunter2-very-secret"


def to_json(plan: Plan) -> dict[str, Any]:
    return outline_json(outline(plan))


def _secretive(password: str, **more: Any) -> Any:
    web = group(jobs=(ref("app", properties={"password": password, "user": "((user))"}),), env={"bosh": {"password": password}}, line=12)
    return request(web, releases=(PROPERTIES,), **more)


def test_literal_secrets_are_nowhere() -> None:
    after = again(_secretive("old-" + SECRET), manifest=_secretive("new-" + SECRET).manifest)
    plan = planned(after)
    assert kinds(plan) == {"web/0": ["env", "configuration"]}
    blueprint = designed(after)
    plan = decide(blueprint, {item.spec.id: "hash" for item in blueprint.instances})
    for text in (explain(plan), json.dumps(to_json(plan)), *(repr(reason) for change in plan.changes for reason in change.reasons)):
        assert SECRET not in text
        assert "app.password" in text or "bosh.password" in text


def test_a_literal_beside_a_placeholder_is_not_shown() -> None:
    after = again(_secretive("old"), manifest=_secretive(f"{SECRET}((tail))").manifest)
    text = explain(decide(designed(after), {item.spec.id: "hash" for item in designed(after).instances}))
    assert "app.password: ((tail))" in text
    assert SECRET not in text


def test_people_are_told_what_why_where_and_how_much() -> None:
    before = request(group(instances=2, azs=("z1", "z2"), line=7), group("old"), cloud_config=_CLOUD)
    after = again(before, manifest=dataclasses.replace(
        before.manifest, instance_groups=(group(instances=3, azs=("z1", "z2"), line=7, vm_type="large"),)))
    text = explain(planned(after))
    assert "± web/id-0 (0) in z1: recreate" in text
    assert 'cloud_properties: cloud properties of the machine change (nothing -> size: 2), manifest line 7' in text
    assert "- old/id-2 (0): delete" in text
    assert "+ web/next-0 (2) in z1: create" in text
    assert "Total: 1 to create, 2 to recreate, 1 to delete, 0 unchanged" in text
    assert "z1: 1 create, 1 recreate" in text
    assert "Processes stop on 3 running machines." in text
    assert "delete instance groups old" in text
    assert explain(planned(again(before))).endswith("Nothing to do.\n")


_CLOUD = cloud(
    m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/24", "z1", "z2"), subnet("10.1.0.0/24"))), azs=("z1", "z2"),
    vm_types=(m.NamedProperties("large", {"size": 2}),))


def test_json_is_json_and_the_digest_is_stable() -> None:
    made = request(group(instances=2, line=3))
    plan = planned(made)
    assert json.loads(json.dumps(to_json(plan))) == to_json(plan)
    assert digest(plan) == digest(planned(made))
    moved = dataclasses.replace(made.manifest, instance_groups=(group(instances=2, line=30),))
    assert digest(planned(dataclasses.replace(made, manifest=moved))) == digest(plan)
    more = dataclasses.replace(made.manifest, instance_groups=(group(instances=2, env={"a": 1}),))
    assert digest(planned(dataclasses.replace(made, manifest=more))) != digest(plan)


def test_records_have_the_shape_resolvers_read() -> None:
    made = request(
        group("My_Db", 1, azs=("z1",), jobs=(ref("db", provides={"db": {"as": "x", "aliases": [
            {"domain": "db.internal", "health_filter": "smart"}, {"domain": "_.db.internal", "placeholder_type": "uuid"}]}}),)),
        cloud_config=cloud(azs=("z1",)), releases=(release(job("db", provides=(LinkSpec("db", "sql"),))),))
    blueprint = designed(made)
    ids, spec = blueprint.request.ids, blueprint.instances[0].spec
    document = records(entries_of(spec, "agent-1"), ids, 17, aliases=blueprint_aliases(blueprint), include_index=True)
    assert document["records"] == [["10.0.0.2", "id-0.my-db.default.dep.bosh"], ["10.0.0.2", "0.my-db.default.dep.bosh"]]
    groups = [str(ids.groups["dep/My_Db"]), str(ids.groups["dep/link:x-sql"])]
    assert dict(zip(document["record_keys"], document["record_infos"][0], strict=True)) == {
        "id": "id-0", "num_id": str(ids.instances["id-0"]), "instance_group": "my-db", "group_ids": groups, "az": "z1",
        "az_id": str(ids.azs["z1"]), "network": "default", "network_id": str(ids.networks["default"]), "deployment": "dep",
        "ip": "10.0.0.2", "domain": "bosh", "agent_id": "agent-1", "instance_index": 0}
    assert document["version"] == 17
    assert document["aliases"] == {
        "_.db.internal": [{"root_domain": "bosh", "group_id": groups[1], "health_filter": None, "initial_health_check": None,
                           "placeholder_type": "uuid"}],
        "db.internal": [{"root_domain": "bosh", "group_id": groups[1], "health_filter": "smart", "initial_health_check": None,
                         "placeholder_type": None}]}


def test_records_do_not_depend_on_the_order_of_entries() -> None:
    blueprint = designed(request(group(instances=3), group("b", 2)))
    entries = [entry for item in blueprint.instances for entry in entries_of(item.spec)]
    assert records(entries, blueprint.request.ids, 1) == records(entries[::-1], blueprint.request.ids, 1)


def test_a_stopped_instance_gets_its_new_stemcell_when_it_starts() -> None:
    before = request(group(instances=1))
    stopped = again(before, manifest=dataclasses.replace(before.manifest, instance_groups=(group(state="stopped"),)))
    observed, ids = applied(stopped)
    newer = dataclasses.replace(
        stopped, observed=observed, ids=ids, stemcells=(Stemcell("linux", "1.2", "debian"),), manifest=dataclasses.replace(
            before.manifest, stemcells=(m.StemcellRef("d", "1.2", os="debian"),)))
    plan = planned(newer)
    assert (actions(plan), kinds(plan)) == ({}, {"web/0": ["stemcell"]})
    observed, _ = applied(newer)
    started = dataclasses.replace(
        newer, observed=observed, manifest=dataclasses.replace(newer.manifest, instance_groups=(group(state="started"),)))
    assert (actions(planned(started)), kinds(planned(started))) == ({"web/0": "recreate"}, {"web/0": ["stemcell", "state"]})


def test_an_update_that_was_interrupted_is_done_again_with_what_the_machine_was_made_of() -> None:
    made = request(group())
    change = planned(made).changes[0]
    observed = dataclasses.replace(
        applied(made)[0][0], applied=json.loads(json.dumps(record_vm(change))), dirty=True, vm=ObservedVm("vm", "stopped"))
    again_made = dataclasses.replace(again(made), observed=(observed,))
    assert kinds(planned(again_made))["web/0"][0] == "dirty"
    assert actions(planned(again_made)) == {"web/0": "update"}
    other = dataclasses.replace(again_made, manifest=dataclasses.replace(made.manifest, instance_groups=(group(env={"a": 1}),)))
    assert actions(planned(other)) == {"web/0": "recreate"}


def test_certificates_that_waited_are_found_by_the_next_deploy() -> None:
    made = request(group(), trusted_certs_sha1="old")
    both = again(made, trusted_certs_sha1="new", manifest=dataclasses.replace(made.manifest, tags={"a": "b"}))
    # tags come after certificates, so this pair is a full update; dns before them is the one that makes them wait
    assert actions(planned(both)) == {"web/0": "update"}
    renamed = dataclasses.replace(both, manifest=made.manifest, domain="internal")
    assert (actions(planned(renamed)), kinds(planned(renamed))) == ({"web/0": "metadata"}, {"web/0": ["dns", "trusted_certs"]})
    observed, _ = applied(renamed)
    assert kinds(planned(dataclasses.replace(renamed, observed=observed))) == {"web/0": ["trusted_certs"]}


def test_nothing_is_recorded_of_what_was_not_selected() -> None:
    made = request(group(), group("b"))
    changed = again(made, options=options(restart=True, selected=("b",), skip_unselected=True), manifest=dataclasses.replace(
        made.manifest, instance_groups=(group(instances=2, env={"a": 1}), group("b"))))
    plan = planned(changed)
    assert actions(plan) == {"b/0": "update"}
    frozen = next(change for change in plan.changes if change.group == "web")
    assert (frozen.frozen, frozen.action) == (True, Action.KEEP)
    assert frozen.observed is not None
    assert record(frozen) == frozen.observed.applied


def test_applied_survives_a_store_with_odd_values() -> None:
    """Integer keys and tuples come back from JSON as texts and lists."""
    made = request(group(env={"map": {1: "a"}, "list": (1, 2)}))
    assert planned(again(made)).is_empty


def test_a_plan_without_hashes_sees_no_configuration() -> None:
    after = again(request(group()))
    blueprint = designed(after)
    assert decide(blueprint, {}).is_empty
    assert decide(blueprint, hashes(blueprint)).is_empty
