"""The whole application runtime, planned with stub releases made from the specs of its jobs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from director.manifest.cloud_config import parse_cloud_config
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.plan import decide, design, ids_wanted, number
from director.plan.explain import explain
from director.plan.model import Blueprint, Request
from director.release.model import JobSpec, LinkSpec, PackageSpec, PropertySpec, Release, Stemcell

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"the corpus is not beside the project: {CORPUS.name} is missing")

CLOUD = """
azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: minimal}, {name: medium}, {name: small}, {name: small-highmem}]
vm_extensions: [{name: 50GB_ephemeral_disk}, {name: 100GB_ephemeral_disk}, {name: cf-router-network-properties},
  {name: cf-tcp-router-network-properties}, {name: diego-ssh-proxy-network-properties}]
disk_types: [{name: 5GB, disk_size: 5120}, {name: 10GB, disk_size: 10240}, {name: 100GB, disk_size: 102400}]
networks:
- name: default
  subnets: [{range: 10.0.0.0/20, gateway: 10.0.0.1, azs: [z1, z2, z3], static: [10.0.1.0-10.0.1.99]}]
compilation: {workers: 2, network: default, az: z1}
"""

# garden-cni requires it, and no job of the corpus provides it.
MISSING_LINK = LinkSpec("cloud_controller_container_networking_info", "cloud_controller_container_networking_info")


def _job(release: str, path: Path) -> JobSpec:
    tree: dict[str, Any] = yaml.safe_load(path.read_text())
    properties = tuple(
        PropertySpec(name, (facts or {}).get("default"), "default" in (facts or {}))
        for name, facts in (tree.get("properties") or {}).items())
    return JobSpec(
        tree["name"], release, "1", "1", "1", tree.get("templates") or {}, tuple(tree.get("packages") or ()), properties,
        tuple(LinkSpec(item["name"], item["type"], tuple(item.get("properties") or ())) for item in tree.get("provides") or ()),
        tuple(LinkSpec(item["name"], item["type"], optional=bool(item.get("optional"))) for item in tree.get("consumes") or ()))


def _release(name: str, version: str) -> Release:
    folder = CORPUS / "job-specs" / name
    jobs = tuple(_job(name, path) for path in sorted(folder.glob("*.yml")))
    if name == "cf-cli":  # not wholly in the corpus
        jobs = (JobSpec("cf-cli-8-linux", name, "1", "1", "1", {}),)
    jobs = tuple(
        dataclasses.replace(job, provides=(*job.provides, MISSING_LINK)) if job.name == "cloud_controller_ng" else job for job in jobs)
    names = sorted({package for job in jobs for package in job.packages})
    return Release(name, version, jobs=jobs, packages=tuple(PackageSpec(item, "1", "1", "1", blob_id=item) for item in names))


def _blueprint() -> Blueprint:
    text = (CORPUS / "cf-deployment" / "cf-deployment.yml").read_text()
    tree = yaml.safe_load(text)
    releases = tuple(_release(item["name"], str(item["version"])) for item in tree["releases"])
    stemcells = tuple(Stemcell(f"stemcell-{item['os']}", str(item["version"]), item["os"]) for item in tree["stemcells"])
    cloud = parse_cloud_config([load_yaml(CLOUD, "cloud.yml")])
    manifest = parse_manifest(load_yaml(text, "cf-deployment.yml"), cloud, releases=releases, stemcells=stemcells)
    request = Request(manifest, cloud, releases, stemcells)
    request = Request(manifest, cloud, releases, stemcells, new_ids=tuple(f"id-{n}" for n in range(ids_wanted(request))))
    needs = design(request).needs_ids
    return design(Request(manifest, cloud, releases, stemcells, new_ids=request.new_ids, ids=number(request.ids, needs)))


def test_cf_deployment_is_placed_addressed_and_linked() -> None:
    blueprint = _blueprint()
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
