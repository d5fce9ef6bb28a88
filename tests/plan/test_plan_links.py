"""Links: who gets which, what is in them, and how failures are told. Rows of the release contract, section 21."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import cloud, designed, group, job, m, ref, release, request, subnet

from director.errors import PlanError
from director.plan.certificates import certificate_options
from director.plan.model import Blueprint, SharedProvider
from director.release.model import LinkSpec, PropertySpec, Release

DB = job("db", provides=(LinkSpec("db", "sql", ("port",)),), properties=(PropertySpec("port", 5432, True), PropertySpec("name")))
CLIENT = job("client", consumes=(LinkSpec("db", "sql"),))
MAYBE = job("maybe", consumes=(LinkSpec("db", "sql", optional=True),))
PEER = job("peer", provides=(LinkSpec("peers", "ring"),), consumes=(LinkSpec("peers", "ring"),))
RELEASE = release(DB, CLIENT, MAYBE, PEER, job("app"))
NETWORKS = cloud(
    m.NetworkDefinition("default", subnets=(subnet("10.0.0.0/24", "z1", "z2"),)),
    m.NetworkDefinition("other", subnets=(subnet("10.1.0.0/24", "z1", "z2"),)),
    m.NetworkDefinition("cloudy", "dynamic", subnets=(m.Subnet(azs=("z1", "z2")),)), azs=("z1", "z2"))


def _db(
    name: str = "db", instances: int = 1, *, job_name: str = "db", networks: tuple[str, ...] = ("default",), **more: Any,
) -> m.InstanceGroup:
    used = tuple(m.GroupNetwork(item, default=("dns", "gateway") if position == 0 else ()) for position, item in enumerate(networks))
    return group(name, instances, azs=("z1",), networks=used, jobs=(ref(job_name, **more),))


def _client(consumes: Any = None, *, job_name: str = "client", name: str = "web") -> m.InstanceGroup:
    return _db(name, job_name=job_name, consumes={} if consumes is None else {"db": consumes})


def _world(*groups: m.InstanceGroup, rel: Release = RELEASE, **more: Any) -> Blueprint:
    return designed(request(*groups, cloud_config=NETWORKS, releases=(rel,), **more))


def _link(blueprint: Blueprint, group_name: str = "web", name: str = "db") -> Any:
    return blueprint.group(group_name)[0].spec.jobs[0].links.get(name)


def _errors(*groups: m.InstanceGroup, **more: Any) -> str:
    with pytest.raises(PlanError) as caught:
        _world(*groups, **more)
    return caught.value.message


def test_an_implicit_link_has_instances_properties_and_address_parts() -> None:
    link = _link(_world(_db(instances=2, properties={"port": 1, "name": "x"}), _client()))
    assert link["properties"] == {"port": 1}
    assert [(item["name"], item["index"], item["az"], item["bootstrap"], item["address"]) for item in link["instances"]] == [
        ("db", 0, "z1", True, "10.0.0.2"), ("db", 1, "z1", False, "10.0.0.3")]
    assert (link["deployment_name"], link["default_network"], link["group_name"], link["domain"]) == ("dep", "default", "db", "bosh")
    assert link["group_id"] > 0


def test_spec_defaults_reach_link_properties_unless_null_is_written() -> None:
    assert _link(_world(_db(), _client()))["properties"] == {"port": 5432}
    assert _link(_world(_db(properties={"port": None}), _client()))["properties"] == {"port": None}


def test_instances_of_one_group_share_one_link() -> None:
    blueprint = _world(_db(), group("web", 3, azs=("z1",), jobs=(ref("client"),)))
    assert len({id(item.spec.jobs[0].links["db"]) for item in blueprint.group("web")}) == 1


@pytest.mark.parametrize("consumes", [None, {"from": "db"}, {"from": "some.prefix.db"}, {}])
def test_ways_to_consume_what_is_there(consumes: Any) -> None:
    assert _link(_world(_db(), _client(consumes)))["instances"]


def test_an_optional_link_without_provider_is_absent() -> None:
    assert _link(_world(_client(job_name="maybe"))) is None
    assert _link(_world(_db(), _client("nil", job_name="maybe"))) is None


@pytest.mark.parametrize("consumes", [{}, {"from": "db"}])
def test_an_optional_link_that_is_written_must_resolve(consumes: Any) -> None:
    assert "No link providers found" in _errors(_client(consumes, job_name="maybe"))


def test_two_providers_of_the_type_are_ambiguous_even_for_optional_links() -> None:
    assert _errors(_db(), _db("db2", provides={"db": {"as": "q2"}}), _client(job_name="maybe")) == (
        "Failed to resolve links from deployment 'dep'. See errors below:\n"
        "  - Failed to resolve link 'db' with type 'sql' from job 'maybe' in instance group 'web'. Multiple link providers found:\n"
        "    - Link provider 'db' from job 'db' in instance group 'db' in deployment 'dep'\n"
        "    - Link provider 'db' with alias 'q2' from job 'db' in instance group 'db2' in deployment 'dep'")


def test_blocked_required_link_is_an_error_and_null_is_refused() -> None:
    assert "No link providers found" in _errors(_db(), _client("nil"))
    with pytest.raises(PlanError, match="should only be a hash or string 'nil'"):
        _world(_db(), _db("web", job_name="client", consumes={"db": None}))


def test_a_job_links_to_itself_and_two_such_groups_are_ambiguous() -> None:
    assert [item["name"] for item in _link(_world(_db("ring", job_name="peer")), "ring", "peers")["instances"]] == ["ring"]
    assert "Multiple link providers found" in _errors(_db("ring", job_name="peer"), _db("ring2", job_name="peer"))


def test_aliases_count_for_explicit_consumers_only() -> None:
    provider = _db(provides={"db": {"as": "primary"}})
    assert _link(_world(provider, _client()))
    assert _link(_world(provider, _client({"from": "primary"})))
    message = _errors(provider, _client({"from": "primery"}))
    assert "link 'db' with alias 'primery' and type 'sql' from job 'client' in instance group 'web'. Details below:" in message


def test_a_near_alias_is_suggested() -> None:
    with pytest.raises(PlanError) as caught:
        _world(_db(provides={"db": {"as": "primary"}}), _client({"from": "primery"}))
    assert caught.value.diagnostics[0].suggestion == "Did you mean 'primary'?"


def test_a_provider_that_is_nil_is_not_consumable() -> None:
    assert "No link providers found" in _errors(_db(provides={"db": "nil"}), _client())


@pytest.mark.parametrize(("consumes", "text"), [
    ({"properties": {"port": 1}}, "Cannot specify 'properties' without 'instances' for link 'db' in job 'client' in instance group 'web'."),
    ({"instances": [], "from": "x"}, "Cannot specify both 'instances' and 'from' keys for link 'db' in job 'client'"),
    ({"ip_addresses": "yes"}, "Cannot specify non boolean values for 'ip_addresses' field for link 'db'"),
    ({"type": "sql"}, "Cannot specify 'name' or 'type' properties in the manifest for link 'db'"),
    ({"deployment": "nowhere"}, "Link 'db' in job 'client' from instance group 'web' consumes from deployment 'nowhere', but the"),
])
def test_badly_written_consumers(consumes: Any, text: str) -> None:
    assert text in _errors(_db(), _client(consumes), deployments=("dep", "elsewhere"))


@pytest.mark.parametrize(("provides", "text"), [
    ("text", "Provider 'db' in job 'db' in instance group 'db' specified in the manifest should only be a hash or string 'nil'"),
    (None, "should only be a hash or string 'nil'"),
    ({"name": "x"}, "Cannot specify 'name' or 'type' properties in the manifest for link 'db' in job 'db' in instance group 'db'."),
])
def test_badly_written_providers(provides: Any, text: str) -> None:
    assert text in _errors(_db(provides={"db": provides}))


def test_manual_links() -> None:
    assert _link(_world(_client({"address": "db.example.com"}))) == {"instances": None, "properties": {}, "address": "db.example.com"}
    written = {"instances": [{"address": "10.0.0.5"}], "properties": {"port": "((p))"}}
    assert _link(_world(_client(written))) == written


def test_ip_addresses_and_names() -> None:
    dns = {"features": m.Features(use_dns_addresses=True)}
    uuid_name = _link(_world(_db(), _client(), **dns))["instances"][0]
    assert uuid_name["address"] == f"{uuid_name['id']}.db.default.dep.bosh"
    assert _link(_world(_db(), _client({"ip_addresses": True}), **dns))["instances"][0]["address"] == "10.0.0.2"
    assert _link(_world(_db(), _client({"ip_addresses": False})))["instances"][0]["address"].endswith(".db.default.dep.bosh")
    assert _link(_world(_db(networks=("cloudy",)), _client()))["instances"][0]["address"].endswith(".db.cloudy.dep.bosh")


def test_short_names_use_numbers_and_link_names_the_link_group() -> None:
    short = _world(_db(), _client(), features=m.Features(use_dns_addresses=True, use_short_dns_addresses=True))
    ids = short.request.ids
    number = ids.instances[short.group("db")[0].spec.id]
    assert _link(short)["instances"][0]["address"] == f"q-m{number}n{ids.networks['default']}s0.q-g{ids.groups['dep/db']}.bosh"
    assert short.group("db")[0].spec.address == _link(short)["instances"][0]["address"]
    named = _world(_db(), _client(), features=m.Features(use_link_dns_names=True))
    group_number = named.request.ids.groups["dep/link:db-sql"]
    assert _link(named)["group_id"] == group_number
    assert _link(named)["instances"][0]["address"].endswith(f".q-g{group_number}.bosh")


def test_a_consumer_may_choose_another_network_of_the_provider() -> None:
    link = _link(_world(_db(networks=("default", "other")), _client({"network": "other"})))
    assert (link["default_network"], link["instances"][0]["address"]) == ("other", "10.1.0.2")
    assert ("- Link provider 'db' from job 'db' in instance group 'db' in deployment 'dep' does not belong to network 'other'"
            in _errors(_db(), _client({"network": "other"})))


def _shared(**more: Any) -> SharedProvider:
    dns = m.Features(use_dns_addresses=True)
    content = _world(_db(provides={"db": {"shared": True}}), features=dns, name="elsewhere").providers[0].content
    return SharedProvider(**{"deployment": "elsewhere", "group": "db", "job": "db", "name": "db", "original_name": "db", "type": "sql",
                             "content": content, **more})


def test_links_from_another_deployment_are_a_snapshot_in_its_namespace() -> None:
    link = _link(_world(_client({"from": "db", "deployment": "elsewhere"}), shared_providers=(_shared(),)))
    assert (link["deployment_name"], link["variables_deployment"]) == ("elsewhere", "elsewhere")
    assert link["instances"][0]["address"].endswith(".db.default.elsewhere.bosh")
    wanted = {"from": "db", "deployment": "elsewhere", "ip_addresses": True}
    assert _link(_world(_client(wanted), shared_providers=(_shared(),)))["instances"][0]["address"] == "10.0.0.2"


def test_shared_must_be_true_and_another_deployment_must_share() -> None:
    assert not any(item.shared for item in _world(_db(provides={"db": {"shared": "true"}})).providers)
    assert "No link providers found" in _errors(_client({"from": "db", "deployment": "elsewhere"}))
    assert "No link providers found" in _errors(_client(), shared_providers=(_shared(),))


def test_custom_providers_and_their_errors() -> None:
    custom = {"custom_provider_definitions": ({"name": "extra", "type": "sql", "properties": ["port"]},)}
    made = release(job("db", properties=(PropertySpec("port", 1, True),)), CLIENT)
    assert _link(_world(_db(**custom), _client({"from": "extra"}), rel=made))["properties"] == {"port": 1}
    wrong = ({"name": "db", "type": "sql"}, {"name": "two", "type": "a"}, {"name": "two", "type": "b"}, {"name": "", "type": 3})
    message = _errors(_db(custom_provider_definitions=wrong))
    for text in (
        "Custom provider 'db' in job 'db' in instance group 'db' is already defined in release 'rel'",
        "Custom provider 'two' in job 'db' in instance group 'db' is defined multiple times in manifest.",
        "Name for custom link provider definition in manifest in job 'db' in instance group 'db' must be a valid non-empty string.",
        "Type for custom link provider definition in manifest in job 'db' in instance group 'db' must be a valid non-empty string.",
    ):
        assert text in message


def test_undeclared_link_properties_are_told() -> None:
    made = release(job("db", provides=(LinkSpec("db", "sql", ("a.b",)),)))
    assert "Link property a.b in template db is not defined in release spec" in _errors(_db(), rel=made)


def test_a_link_may_provide_a_subtree_of_which_only_leaves_are_declared() -> None:
    made = release(job("db", provides=(LinkSpec("db", "sql", ("tree",)),), properties=(PropertySpec("tree.leaf", 1, True),)), CLIENT)
    assert _link(_world(_db(properties={"tree": {"leaf": 2}}), _client(), rel=made))["properties"] == {"tree": {"leaf": 2}}


def test_named_disks_provide_links() -> None:
    made = release(job("app", consumes=(LinkSpec("data", "disk"),)))
    disks = (m.DiskRef("data", 10), m.DiskRef("logs", 20))
    web = group("web", azs=("z1",), disks=disks, jobs=(ref("app", consumes={"data": {"from": "logs"}}),))
    assert _link(_world(web, rel=made), "web", "data")["properties"] == {"name": "logs"}
    both = group("web", azs=("z1",), disks=disks, jobs=(ref("app"),))
    assert "Disk link provider 'data' from instance group 'web'" in _errors(both, rel=made)


def test_all_failures_of_a_deployment_are_told_at_once() -> None:
    message = _errors(_client(), _client(name="web2"), _client({"instances": [], "from": "x"}, name="web3"))
    assert message.count("No link providers found") == 2
    assert "Cannot specify both" in message


def test_links_json_has_the_numbers_of_link_groups() -> None:
    blueprint = _world(_db(provides={"db": {"as": "primary", "aliases": [{"domain": "db.internal"}]}}))
    number = blueprint.request.ids.groups["dep/link:primary-sql"]
    spec = blueprint.group("db")[0].spec
    assert spec.jobs[0].provides == ({"name": "primary", "type": "sql", "group": str(number)},)
    assert spec.link_groups == ("primary-sql",)
    assert blueprint.providers[0].aliases == ({"domain": "db.internal"},)


def test_certificates_get_addresses_of_links() -> None:
    made = release(job("db"))
    variable = m.Variable(
        "cert", "certificate", {"ca": "ca", "alternative_names": ["a"]},
        consumes={"alternative_name": {"from": "db-address", "properties": {"wildcard": True}}, "common_name": {"from": "db-address"}})
    custom = ({"name": "db-address", "type": "address"},)
    links = _world(_db(custom_provider_definitions=custom), rel=made, variables=(variable,)).variable_links["cert"]
    assert certificate_options(variable, links) == {
        "ca": "ca", "alternative_names": ["a", "*.db.default.dep.bosh"], "common_name": "q-s0.db.default.dep.bosh"}
    message = _errors(_db(), rel=made, variables=(variable,))
    assert "Failed to resolve link 'common_name' with alias 'db-address' and type 'address' from variable 'cert'. Details below:" in message
