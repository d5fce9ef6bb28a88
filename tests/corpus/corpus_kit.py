"""Stub releases made from the corpus' job specs, and the inputs of the corpus that are planned with them.

A stub has every job of its release as the release's authors specified it: properties, links, packages. Templates are there and empty,
packages are there and hold nothing. Archives are made by `create-release`, as any other's are.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from director.manifest.dump import dump
from director.manifest.interpolate import Values, interpolate
from director.manifest.load import load_yaml
from director.manifest.ops import parse_ops
from director.release.create import create_release

CORPUS = pathlib.Path(__file__).parents[3] / "shared" / "corpus"
CF = CORPUS / "cf-deployment"
SPECS = CORPUS / "job-specs"

# What the specs of the corpus lack and the manifest needs. garden-cni (cf-networking) consumes the link, and cloud_controller_ng of the
# specs' version of capi does not provide it yet; the manifest's cf-cli is younger than the specs.
LINK = {"name": "cloud_controller_container_networking_info", "type": "cloud_controller_container_networking_info"}
SUPPLEMENTS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("capi", "cloud_controller_ng"): {"provides": [LINK]},
    ("cf-cli", "cf-cli-8-linux"): {"name": "cf-cli-8-linux", "templates": {}, "packages": ["cf-cli-8-linux"], "properties": {}},
}

# What a deployer gives; everything else the manifest generates. The recorded cases were made without any of it.
GIVEN: Mapping[str, Any] = {
    "system_domain": "sys.example.org", "network_name": "default", "router_static_ips": ["10.244.0.40", "10.244.0.41"],
    "haproxy_private_ip": "10.244.0.42", "deployment_name": "renamed",
}

STEMCELLS = (("ubuntu-noble", "1.425"), ("ubuntu-noble", "1018"), ("ubuntu-jammy", "1.1218"), ("windows2019", "2019.100"))

CLOUD = """
azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: minimal}, {name: default}, {name: medium}, {name: small}, {name: small-highmem},
  {name: small-50GB-ephemeral-disk}, {name: small-highmem-100GB-ephemeral-disk}]
vm_extensions: [{name: 50GB_ephemeral_disk}, {name: 100GB_ephemeral_disk}, {name: cf-router-network-properties}, {name: spot},
  {name: cf-tcp-router-network-properties}, {name: diego-ssh-proxy-network-properties}, {name: iso-seg-cf-router-network-properties},
  {name: ssh-proxy-and-router-lb}]
disk_types: [{name: 5GB, disk_size: 5120}, {name: 10GB, disk_size: 10240}, {name: 100GB, disk_size: 102400}]
networks:
- name: default
  subnets: [{range: 10.244.0.0/20, gateway: 10.244.0.1, azs: [z1, z2, z3], static: [10.244.0.30-10.244.0.99]}]
compilation: {workers: 2, network: default, az: z1, reuse_compilation_vms: true}
"""


# Each does something else to the plan: groups added and taken away, zones, static addresses, names, stemcells, strategies, addons.
SAMPLE = (
    "operations/add-persistent-isolation-segment-diego-cell.yml", "operations/rename-network-and-deployment.yml",
    "operations/scale-to-one-az.yml operations/use-compiled-releases.yml", "operations/set-router-static-ips.yml",
    "operations/use-jammy-stemcell.yml", "operations/windows2019-cell.yml",
)


@functools.cache
def names() -> tuple[str, ...]:
    """The releases of the corpus."""
    return tuple(sorted(item.name for item in SPECS.iterdir() if item.is_dir()))


def job_specs(release: str, *, supplemented: bool = True) -> dict[str, str]:
    """Job name -> text of its spec."""
    found = {path.stem: path.read_text() for path in sorted((SPECS / release).glob("*.yml"))}
    for (owner, job), more in SUPPLEMENTS.items() if supplemented else ():
        if owner == release:
            spec = yaml.load(found[job], yaml.CSafeLoader) if job in found else {}
            found[job] = json.dumps({**spec, **more, "provides": [*spec.get("provides", ()), *more.get("provides", ())]})
    return found


def stub_directory(release: str, folder: pathlib.Path, *, supplemented: bool = True) -> pathlib.Path:
    """A release directory."""
    files = {"config/final.yml": f"name: {release}\n"}
    packages: set[str] = set()
    for job, text in job_specs(release, supplemented=supplemented).items():
        spec = yaml.load(text, yaml.CSafeLoader)
        packages.update(spec.get("packages") or ())
        files[f"jobs/{job}/spec"] = text
        files[f"jobs/{job}/monit"] = ""
        files.update({f"jobs/{job}/templates/{template}": "" for template in spec.get("templates") or {}})
    for package in packages:
        files[f"packages/{package}/spec"] = f"name: {package}\nfiles: []\n"
        files[f"packages/{package}/packaging"] = f"# {package} of {release}: a stub\n"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def stub_archive(release: str, version: str, folder: pathlib.Path, *, supplemented: bool = True) -> pathlib.Path:
    """A release archive with that version."""
    directory = stub_directory(release, folder / release, supplemented=supplemented)
    tarball = folder / f"{release}-{version}.tgz"
    create_release(directory, version=version, force=True, tarball=tarball, prepare=lambda _: None)
    return tarball


def furnish(director: Any, folder: pathlib.Path, *, supplemented: bool = True) -> None:
    """Upload what cf-deployment names: releases, stemcells, cloud config."""
    for item in manifest()["releases"]:
        archive = stub_archive(item["name"], str(item["version"]), folder, supplemented=supplemented)
        director.caisson("upload-release", str(archive))
    for os, version in STEMCELLS:
        stemcell = {"name": f"stub-{os}", "version": version, "operating_system": os, "cloud_properties": {"image": "none"}}
        director.caisson("upload-stemcell", _written(folder / "stemcell.yml", json.dumps(stemcell)))
    director.caisson("update-cloud-config", _written(folder / "cloud.yml", CLOUD))


def _written(path: pathlib.Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# The cloud configs of the corpus, with the ops files that belong to each cloud, and the values that their parameters need.
CLOUDS = (
    ("alicloud", ()), ("bosh-lite", ("-o", "operations/bosh-lite.yml")), ("openstack", ("-o", "operations/openstack.yml")), ("vsphere", ()))


def cloud_config(name: str) -> str:
    """A cloud config of the corpus, filled in."""
    tree = load_yaml((CF / "iaas-support" / name / "cloud-config.yml").read_text(), name).tree
    values: dict[str, Any] = _given(tree)
    for zone in (1, 2, 3):
        values |= {f"{prefix}_range": f"10.{zone}.0.0/20" for prefix in (f"az{zone}_vswitch", f"z{zone}_network")}
        values |= {f"{prefix}_gateway": f"10.{zone}.0.1" for prefix in (f"az{zone}_vswitch", f"z{zone}_network")}
        values |= {f"z{zone}_network_dns_array": ["8.8.8.8"], f"z{zone}_network_reserved_array": [f"10.{zone}.0.2-10.{zone}.0.9"]}
    return dump(interpolate(tree, Values(values)))


@dataclasses.dataclass(frozen=True)
class Case:
    """cf-deployment with ops files: as the command line is called in the corpus' folder."""

    args: tuple[str, ...]

    @property
    def name(self) -> str:
        return " ".join(arg for arg in self.args if arg != "-o") or "(as it is)"

    @property
    def ops(self) -> tuple[pathlib.Path, ...]:
        return tuple(_followed(CF / path) for flag, path in zip(self.args[::2], self.args[1::2], strict=True) if flag == "-o")

    @functools.cached_property
    def tree(self) -> Any:
        """The manifest as it is sent: ops applied, what a deployer gives filled in."""
        return interpolate(self._bare, Values(self.given))

    @functools.cached_property
    def given(self) -> dict[str, Any]:
        """What a deployer gives."""
        return {**_given(self._bare), **self._examples(), **GIVEN, **dict(self._variables())}

    @functools.cached_property
    def _bare(self) -> Any:
        return interpolate(manifest(), Values({}), ops=[op for path in self.ops for op in parse_ops(path.read_text(), path.name)])

    def _variables(self) -> Iterator[tuple[str, Any]]:
        for flag, text in zip(self.args[::2], self.args[1::2], strict=True):
            if flag == "-v":
                name, _, value = text.partition("=")
                yield name, yaml.load(value, yaml.CSafeLoader)

    def _examples(self) -> dict[str, Any]:
        """What the authors of the ops files give as examples of their variables."""
        found: dict[str, Any] = {}
        for path in self.ops:
            example = path.parent / "example-vars-files" / f"vars-{path.name}"
            if example.exists():
                found |= yaml.load(example.read_text(), yaml.CSafeLoader)
        return found


def _followed(path: pathlib.Path) -> pathlib.Path:
    """What was a link in the repository is here a file that holds the link's text."""
    text = path.read_text()
    return path.parent / text if text.endswith(".yml") and "\n" not in text else path


@functools.cache
def manifest() -> Any:
    return load_yaml((CF / "cf-deployment.yml").read_text(), "cf-deployment.yml").tree


def _given(tree: Any) -> dict[str, Any]:
    """A text for each variable that the manifest uses and nobody defines; a map where a part of it is used."""
    defined = {item["name"] for item in tree.get("variables") or ()}
    found: dict[str, Any] = {}
    for name in re.findall(r"\(\(!?([-/.\w]+)\)\)", json.dumps(tree, default=str)):
        root, *keys = name.split(".")
        if root in defined:
            continue
        if keys:
            found.setdefault(root, {})[keys[0]] = f"given-{name}"
        else:
            found.setdefault(root, f"given-{name}")
    return found


def cases() -> list[Case]:
    """What the reference command accepts."""
    rows = json.loads((CORPUS / "expected" / "interpolate.json").read_text())
    return [Case(tuple(row["args"])) for row in rows if row["ok"]]


def outcomes() -> dict[str, dict[str, Any]]:
    """Case name -> what is known to come of it: numbers of `instances` and `variables`, or the errors it is `refused` with."""
    found: dict[str, dict[str, Any]] = yaml.load(pathlib.Path(__file__).with_name("outcomes.yml").read_text(), yaml.CSafeLoader)
    return found


def write_table(path: pathlib.Path) -> None:
    """The outcomes as a table in Markdown."""
    lines = ["| cf-deployment with | plans | what comes of it, or why not |", "|---|---|---|"]
    for name, found in outcomes().items():
        if "refused" in found:
            lines.append(f"| {name} | no | {'; '.join(found['refused'])} |")
        else:
            lines.append(f"| {name} | yes | {found['instances']} instances, {found['variables']} variables |")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
