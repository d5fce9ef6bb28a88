"""cf-deployment planned in memory: as it is, and with its ops files. Through a whole director: `test_corpus_director`."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import corpus_kit as kit
import pytest
import yaml

from director.errors import ManifestError, PlanError
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.plan import decide, design, ids_wanted, number
from director.plan.explain import explain
from director.plan.model import Blueprint, Request
from director.release.model import JobSpec, LinkSpec, PackageSpec, PropertySpec, Release, Stemcell

pytestmark = pytest.mark.skipif(not kit.CORPUS.exists(), reason="the corpus is not beside the project: ../shared/corpus is missing")

def _job(release: str, text: str) -> JobSpec:
    tree: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    properties = tuple(
        PropertySpec(name, (facts or {}).get("default"), "default" in (facts or {}))
        for name, facts in (tree.get("properties") or {}).items())
    return JobSpec(
        tree["name"], release, "1", "1", "1", tree.get("templates") or {}, tuple(tree.get("packages") or ()), properties,
        tuple(LinkSpec(item["name"], item["type"], tuple(item.get("properties") or ())) for item in tree.get("provides") or ()),
        tuple(LinkSpec(item["name"], item["type"], optional=bool(item.get("optional"))) for item in tree.get("consumes") or ()))


@functools.cache
def _releases(*, supplemented: bool = True) -> tuple[Release, ...]:
    made = []
    for item in kit.manifest()["releases"]:
        name = item["name"]
        jobs = tuple(_job(name, text) for text in kit.job_specs(name, supplemented=supplemented).values())
        packages = sorted({package for job in jobs for package in job.packages})
        made.append(Release(name, str(item["version"]), jobs=jobs, packages=tuple(
            PackageSpec(package, "1", "1", "1", blob_id=package) for package in packages)))
    return tuple(made)


def _blueprint(case: kit.Case, releases: tuple[Release, ...], cloud_config: str = kit.CLOUD) -> Blueprint:
    stemcells = tuple(Stemcell(f"stub-{os}", version, os) for os, version in kit.STEMCELLS)
    cloud = parse_cloud_config([load_yaml(cloud_config, "cloud.yml")])
    assert cloud.warnings == ()
    document = load_yaml((kit.CF / "cf-deployment.yml").read_text(), "cf-deployment.yml").replaced(case.tree)
    manifest = parse_manifest(document, cloud, releases=releases, stemcells=stemcells)
    assert manifest.warnings == ()
    request = Request(manifest, cloud, releases, stemcells)
    request = Request(manifest, cloud, releases, stemcells, new_ids=tuple(f"id-{n}" for n in range(ids_wanted(request))))
    needs = design(request).needs_ids
    return design(Request(manifest, cloud, releases, stemcells, new_ids=request.new_ids, ids=number(request.ids, needs)))


def test_cf_deployment_is_placed_addressed_and_linked() -> None:
    blueprint = _blueprint(kit.Case(()), _releases())
    assert len({item.reservations[0].ip for item in blueprint.instances}) == len(blueprint.instances) == 31
    assert {item.spec.az for item in blueprint.instances} == {"z1", "z2"}
    by_group = {item.spec.group: item.spec for item in blueprint.instances}
    links = {(name, job.name, link): content for name, spec in by_group.items() for job in spec.jobs for link, content in job.links.items()}
    assert len(links) == 139
    nats = links["nats", "nats-tls", "nats-tls"]
    assert [item["bootstrap"] for item in nats["instances"]] == [True, False]
    assert nats["properties"]["nats"]["password"] == "((nats_password))"
    plan = decide(blueprint, {}, compiled=())
    assert "Total: 29 to create, 2 unchanged" in explain(plan)
    assert len(plan.compilations) == len({item.key for item in plan.compilations}) > 100


def test_what_the_specs_lack_is_told_and_nothing_else() -> None:
    """The stubs give what the corpus' specs lack. Without it, exactly that is missing."""
    with pytest.raises(ManifestError) as caught:
        _blueprint(kit.Case(()), _releases(supplemented=False))
    assert [item.summary for item in caught.value.diagnostics] == ["Job 'cf-cli-8-linux' not found in release 'cf-cli'"]
    with_cli = tuple(
        release if release.name == "cf-cli" else bare for release, bare in zip(_releases(), _releases(supplemented=False), strict=True))
    with pytest.raises(PlanError) as linked:
        _blueprint(kit.Case(()), with_cli)
    assert len(linked.value.diagnostics) == 1
    assert "garden-cni" in str(linked.value)
    assert kit.LINK["name"] in str(linked.value)


@pytest.mark.parametrize(("name", "args"), kit.CLOUDS, ids=lambda item: item if isinstance(item, str) else "")
def test_cloud_configs(name: str, args: tuple[str, ...]) -> None:
    """Nothing in them is unknown here, and there is a place for every instance."""
    blueprint = _blueprint(kit.Case(args), _releases(), kit.cloud_config(name))
    assert len({item.reservations[0].ip for item in blueprint.instances}) == (17 if name == "bosh-lite" else 31)


@pytest.mark.parametrize("name", kit.SAMPLE)
def test_ops_files(name: str) -> None:
    _check(next(case for case in kit.cases() if case.name == name))


@pytest.mark.walk
def test_all_sets_of_ops_files_that_the_reference_accepts() -> None:
    """And a table of them, for people."""
    cases = kit.cases()
    assert [case.name for case in cases] == list(kit.outcomes())
    for case in cases:
        _check(case)
    kit.write_table(pathlib.Path(__file__).parents[2] / "build" / "cf-deployment.md")


def _check(case: kit.Case) -> None:
    wanted = kit.outcomes()[case.name]
    if "instances" in wanted:
        blueprint = _blueprint(case, _releases())
        assert len({item.reservations[0].ip for item in blueprint.instances}) == len(blueprint.instances) == wanted["instances"]
        assert len(blueprint.request.manifest.variables) == wanted["variables"]
    else:
        with pytest.raises(ManifestError) as caught:
            _blueprint(case, _releases())
        assert [item.summary for item in caught.value.diagnostics] == wanted["refused"]
