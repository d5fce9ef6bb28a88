"""The foundation planned and rendered as a deploy would, without machines: for tests of the releases as data."""

from __future__ import annotations

import dataclasses
import datetime
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from director import plan
from director.manifest import cloud_config, late, load, parse
from director.manifest import model as manifest_model
from director.plan import model as plan_model
from director.release import job, model
from director.render.model import DnsIds, RenderedInstance, RenderJob, RenderRequest, Template
from director.render.renderer import Renderer

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / "releases"
MANIFESTS = ROOT / "manifests"
NAMES = tuple(sorted(path.parent.parent.name for path in RELEASES.glob("*/config/final.yml")))
STEMCELL = model.Stemcell("caisson-debian-12", "1.0", "debian-bookworm", cid="image", api_version=3)


def jobs_of(release: str) -> dict[str, job.JobSource]:
    """The jobs of a release directory by name."""
    folders = sorted((RELEASES / release / "jobs").iterdir())
    return {folder.name: job.read_job_folder(folder, job.Identity(folder.name, release, "1", "1", "1")) for folder in folders}


def releases() -> tuple[model.Release, ...]:
    """All release directories, as if each had been uploaded as version 1."""
    found = []
    for name in NAMES:
        folders = sorted((RELEASES / name / "packages").iterdir())
        packages = tuple(model.PackageSpec(folder.name, "1", "1", "1", blob_id=folder.name) for folder in folders)
        found.append(model.Release(name, "1", jobs=tuple(source.spec for source in jobs_of(name).values()), packages=packages))
    return tuple(found)


def document(path: str) -> load.Document:
    """A file of `manifests/`; release versions that are given on the command line are 1."""
    return load.load_yaml(re.sub(r"\(\(\w+_version\)\)", '"1"', (MANIFESTS / path).read_text("utf-8")), path)


def cloud() -> manifest_model.CloudConfig:
    return cloud_config.parse_cloud_config([document("cloud-configs/local.yml")])


def manifest(tree: Any = None) -> manifest_model.Manifest:
    """The foundation with the runtime config's addons; `tree` replaces the manifest's own, after ops files."""
    text = document("foundation.yml")
    wanted = text if tree is None else dataclasses.replace(text, tree=tree)
    return parse.parse_manifest(
        wanted, cloud(), runtime_configs=[document("runtime-configs/dns.yml")], releases=releases(), stemcells=[STEMCELL]
    )


def blueprint(wanted: manifest_model.Manifest) -> plan_model.Blueprint:
    """Designed twice, the second time with the numbers that the first asked for."""
    ids = tuple(str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number))) for number in range(100))
    request = plan_model.Request(wanted, cloud(), releases(), (STEMCELL,), new_ids=ids)
    numbers = plan.number(request.ids, plan.design(request).needs_ids)
    return plan.design(dataclasses.replace(request, ids=numbers))


def secrets(wanted: manifest_model.Manifest) -> dict[str, Any]:
    """A value for every variable: real certificates, passwords made of the variable's name."""
    authorities: dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = {}
    values: dict[str, Any] = {}
    for variable in wanted.variables:
        if variable.type == "password":
            values[variable.name] = f"{variable.name.replace('_', '-')}-0123456789"
            continue
        key, options = ec.generate_private_key(ec.SECP256R1()), variable.options
        issuer, signer = authorities.get(str(options.get("ca")), (None, key))
        certificate = _certificate(options, key, issuer, signer)
        if options.get("is_ca"):
            authorities[variable.name] = (certificate, key)
        values[variable.name] = {
            "ca": _pem(issuer or certificate), "certificate": _pem(certificate),
            "private_key": key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        }
    return values


def _certificate(
    options: Mapping[str, Any], key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, options["common_name"])])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer.subject if issuer else name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=7))
        .add_extension(x509.BasicConstraints(bool(options.get("is_ca")), None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if options.get("alternative_names"):
        names = [x509.DNSName(text) for text in options["alternative_names"]]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    usages = {"server_auth": ExtendedKeyUsageOID.SERVER_AUTH, "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH}
    if options.get("extended_key_usage"):
        builder = builder.add_extension(x509.ExtendedKeyUsage([usages[item] for item in options["extended_key_usage"]]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def requests(design_: plan_model.Blueprint, values: Mapping[str, Any]) -> list[RenderRequest]:
    """What the executor would ask the renderer for."""
    sources = {(name, item): source for name in NAMES for item, source in jobs_of(name).items()}

    def lookup(name: str) -> Any:
        first, *rest = name.removeprefix("/").split(".")
        value = values[first]
        for part in rest:
            value = value[part]
        return value

    found = []
    for placed in design_.instances:
        spec = placed.spec
        jobs = []
        for item in spec.jobs:
            source = sources[item.release, item.name]
            templates = tuple(Template(name, source.spec.templates[name], text) for name, text in source.templates.items())
            jobs.append(RenderJob(
                item.name, item.release, item.release_version, source.monit, templates, late.resolve(item.properties, lookup),
                late.resolve(item.links, lookup), tuple(item.provides), declared=tuple(entry.name for entry in source.spec.properties)))
        networks = {item.network: {"ip": item.ip, "netmask": item.netmask, "gateway": item.gateway} for item in spec.networks}
        found.append(RenderRequest(
            spec.deployment, spec.group, spec.index, spec.id, spec.az, spec.bootstrap, spec.address, spec.networks[0].ip, tuple(jobs),
            networks, spec.dns_domain, sum(disk.size_mib for disk in spec.disks),
            DnsIds(design_.request.ids.azs, design_.request.ids.networks, design_.request.ids.groups, design_.request.ids.instances)))
    return found


def render(design_: plan_model.Blueprint, values: Mapping[str, Any]) -> dict[str, RenderedInstance]:
    """`GROUP/INDEX` -> its files."""
    wanted = requests(design_, values)
    with Renderer() as renderer:
        return {f"{request.group}/{request.index}": rendered for request, rendered in zip(wanted, renderer.render(wanted), strict=True)}
