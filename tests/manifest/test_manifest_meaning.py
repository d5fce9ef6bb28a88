"""What right manifests mean: defaults, precedence, versions, addons."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from manifest_cases import CORPUS, RELEASES, STEMCELLS, Base

from director.manifest import model, schema
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.interpolate import Values, interpolate
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest

WEB = "/instance_groups/name=web"


def put(path: str, value: Any) -> dict[str, Any]:
    return {"type": "replace", "path": path, "value": value}


def group(manifest: model.Manifest, name: str = "web") -> model.InstanceGroup:
    found = manifest.group(name)
    assert found
    return found


def test_latest_is_resolved(base: Base) -> None:
    manifest = base.manifest()
    assert [(ref.name, ref.version) for ref in manifest.releases] == [("nginx", "1.2"), ("app", "2+dev.1")]
    assert manifest.stemcells == (model.StemcellRef("default", "1.10", "debian-12"),)


@pytest.mark.parametrize(("written", "meant"), [
    ("1.latest", "1.10"), ("latest", "10.0"), ("'10.0'", "10.0"), (1.10, "1.2"), ("1.2.latest", "1.2"),
])  # fmt: skip
def test_rows_1_and_19_versions(base: Base, written: Any, meant: str) -> None:
    releases = RELEASES if written != 1.10 else (*RELEASES, dataclasses.replace(RELEASES[0], version="1.1"))
    document = load_yaml(
        f"name: a\nreleases: [{{name: nginx, version: {written}}}]\nstemcells: [{{alias: a, os: debian-12, version: 1.9}}]\n"
        "update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1, update_watch_time: 1}\n", "m"
    )  # fmt: skip
    manifest = parse_manifest(document, base.cloud(), releases=releases, stemcells=STEMCELLS)
    assert manifest.releases[0].version == ("1.1" if written == 1.10 else meant)


def test_a_dev_version_in_its_old_form_is_the_same(base: Base) -> None:
    assert base.manifest([put("/releases/name=app/version", "2.1-dev")]).releases[1].version == "2+dev.1"


def test_without_known_releases_nothing_is_looked_up(base: Base) -> None:
    document = load_yaml("name: a\nreleases: [{name: x, version: latest}]\nstemcells: [{alias: a, os: b, version: latest}]\n"
                         "update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1, update_watch_time: 1}\n", "m")  # fmt: skip
    manifest = parse_manifest(document, base.cloud())
    assert (manifest.releases[0].version, manifest.stemcells[0].version) == ("latest", "latest")


def test_row_5_watch_times(base: Base) -> None:
    update = base.manifest().update
    assert (update.canary_watch_time, update.update_watch_time) == (model.WatchTime(1000, 30000), model.WatchTime(30000, 30000))
    assert base.manifest([put("/update/canary_watch_time", " 1 - 2 ")]).update.canary_watch_time == model.WatchTime(1, 2)


def test_a_group_overrides_single_keys_of_update(base: Base) -> None:
    manifest = base.manifest([put(f"{WEB}/update?", {"serial": False, "max_in_flight": 3})])
    assert group(manifest).update == dataclasses.replace(manifest.update, serial=False, max_in_flight="3")


def test_row_8_a_single_network_has_all_defaults(base: Base) -> None:
    assert group(base.manifest([put(f"{WEB}/networks/0/default?", ["addressable"])])).networks[0].default == ("dns", "gateway")


def test_row_11_a_disk_type_of_size_0_is_a_disk(base: Base) -> None:
    manifest = base.manifest([put("/instance_groups/name=db/persistent_disk_type", "none"), put(f"{WEB}/persistent_disk?", 0)])
    assert group(manifest, "db").disks == (model.DiskRef("", 0, "none"),)
    assert group(manifest).disks == ()


def test_named_disks(base: Base) -> None:
    manifest = base.manifest([put(f"{WEB}/persistent_disks?", [{"name": "a", "type": "1GB"}, {"name": "b", "type": "none"}])])
    assert [(disk.name, disk.size_mib, disk.type) for disk in group(manifest).disks] == [("a", 1024, "1GB"), ("b", 0, "none")]


@pytest.mark.parametrize(("job", "seen"), [(None, {"a": {"x": 1, "y": 2}, "port": 1}), ({}, {}), ({"z": 1}, {"z": 1})])
def test_row_13_properties_of_a_job_replace_all_others(base: Base, job: Any, seen: Any) -> None:
    item = {"name": "app", "release": "app", **({} if job is None else {"properties": job})}
    manifest = base.manifest([
        put("/properties?", {"a": {"x": 1, "y": 1}}), put(f"{WEB}/properties?", {"a": {"y": 2}, "port": 1}), put(f"{WEB}/jobs", [item]),
    ])  # fmt: skip
    assert group(manifest).jobs[0].properties == seen
    assert len(manifest.warnings) == 2


def test_static_addresses_are_expanded(base: Base) -> None:
    value = ["10.0.0.10 - 10.0.0.11", "10.0.0.12/31", "10.0.0.14"]
    manifest = base.manifest([put("/instance_groups/name=db/networks/0/static_ips", value), put("/instance_groups/name=db/instances", 5)])
    assert group(manifest, "db").networks[0].static_ips == tuple(f"10.0.0.{last}" for last in range(10, 15))


def test_use_tmpfs_config(base: Base) -> None:
    manifest = base.manifest([put("/features?", {"use_tmpfs_config": False}), put(f"{WEB}/env?", {"bosh": {"job_dir": {"tmpfs": True}}})])
    assert group(manifest).env == {"bosh": {"job_dir": {"tmpfs": True}, "agent": {"settings": {"tmpfs": False}}}}


def test_variables_converge_by_feature(base: Base) -> None:
    manifest = base.manifest(
        [put("/features?", {"converge_variables": True}), put("/variables/-", {"name": "b", "type": "rsa", "update_mode": "overwrite"})]
    )
    assert [variable.update_mode for variable in manifest.variables] == ["converge", "overwrite"]


ADDON = {"name": "log", "jobs": [{"name": "syslog", "release": "syslog", "properties": {"a": 1}}]}
RUNTIME = {"releases": [{"name": "syslog", "version": "1"}], "addons": [ADDON]}


@pytest.mark.parametrize(("rules", "where"), [
    ({}, "web db"), ({"include": {}}, "web db"), ({"exclude": {}}, "web db"), ({"include": {"instance_groups": ["web"]}}, "web"),
    ({"exclude": {"deployments": ["web-shop"], "instance_groups": ["web"]}}, "db"),
    ({"exclude": {"deployments": ["x"], "instance_groups": ["web"]}}, "web db"),
    ({"include": {"jobs": [{"name": "app", "release": "app"}]}}, "db"),
    ({"include": {"azs": ["z2"]}}, "web"), ({"include": {"networks": ["default"]}}, "web db"),
    ({"include": {"stemcell": [{"os": "debian-12"}]}}, "web db"),
    ({"include": {"stemcell": [{"os": "other"}]}}, ""), ({"include": {"lifecycle": "errand"}}, ""),
    ({"include": {"teams": ["a"]}}, ""), ({"include": {"azs": ["z2", "z1"], "instance_groups": ["db", "x"]}}, "db"),
])  # fmt: skip
def test_rows_17_and_18_where_addons_apply(base: Base, rules: dict[str, Any], where: str) -> None:
    manifest = base.manifest(runtime=[{**RUNTIME, "addons": [{**ADDON, **rules}]}])
    having = [item.name for item in manifest.instance_groups if any(job.name == "syslog" for job in item.jobs)]
    assert " ".join(having) == where
    assert ("syslog" in [ref.name for ref in manifest.releases]) == bool(where)


def test_a_runtime_config_gives_variables_and_tags(base: Base) -> None:
    manifest = base.manifest(
        [put("/tags?", {"a": 1, "b": 1})], runtime=[{"tags": {"a": 2, "c": 2}, "variables": [{"name": "v", "type": "rsa"}]}]
    )
    assert manifest.tags == {"a": 1, "b": 1, "c": 2}
    assert [variable.name for variable in manifest.variables] == ["password", "v"]


def test_a_later_addon_sees_the_jobs_of_earlier_ones(base: Base) -> None:
    second = {
        "name": "second",
        "jobs": [{"name": "other", "release": "nginx"}],
        "include": {"jobs": [{"name": "syslog", "release": "syslog"}]},
    }
    runtime = [
        {**RUNTIME, "addons": [{**ADDON, "include": {"instance_groups": ["db"]}}]},
        {"releases": [{"name": "nginx", "version": "1.2"}], "addons": [second]},
    ]
    assert [(job.name, job.from_addon) for job in group(base.manifest(runtime=runtime), "db").jobs] == [
        ("app", ""),
        ("syslog", "log"),
        ("other", "second"),
    ]


def test_named_cloud_configs_are_joined() -> None:
    documents = [load_yaml("networks: [{name: a, type: dynamic}]\ncompilation: {workers: 1, network: a}\n", "a.yml"),
                 load_yaml("azs: [{name: z}]\nnetworks: [{name: b, type: vip}]\nvm_types: [{name: t}]\n", "b.yml")]  # fmt: skip
    cloud = parse_cloud_config(documents)
    assert [network.name for network in cloud.networks] == ["a", "b"]
    assert (cloud.azs[0].name, cloud.vm_types[0].name) == ("z", "t")


@pytest.mark.parametrize("name", schema.sections())
def test_every_section_is_described(name: str) -> None:
    text = schema.describe(name)
    assert all(f"{key}:" in text for key in schema.section(name).keys)
    load_yaml(text, name)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not at ../shared/corpus")
def test_cf_deployment_is_right() -> None:
    folder = CORPUS / "cf-deployment"
    manifest = load_yaml((folder / "cf-deployment.yml").read_text(), "cf-deployment.yml")
    text = (folder / "iaas-support" / "bosh-lite" / "cloud-config.yml").read_text()
    cloud = load_yaml(text, "cloud-config.yml")
    extensions = sorted({name for item in manifest.tree["instance_groups"] for name in item.get("vm_extensions", ())})
    known = {item["name"] for item in cloud.tree["vm_extensions"]}
    cloud.tree["vm_extensions"].extend({"name": name} for name in extensions if name not in known)
    parsed = parse_manifest(manifest.replaced(interpolate(manifest.tree, Values({"system_domain": "x.org"}))), parse_cloud_config([cloud]))
    assert sum(item.instances for item in parsed.instance_groups) == 31
    assert len(parsed.variables) == 132
    assert parsed.warnings == ()
