"""cf-deployment through a whole director: uploaded, planned with ops files, deployed on a pretended cloud, looked at."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import corpus_director
import corpus_kit as kit
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cpis import registry
from director.execute.clouds import Clouds

pytestmark = [
    pytest.mark.walk,
    pytest.mark.skipif(not kit.CORPUS.exists(), reason="the corpus is not beside the project: ../shared/corpus is missing"),
]
MANIFEST = str(kit.CF / "cf-deployment.yml")
GIVEN = ("-v", "system_domain=sys.example.org")


def _command(case: kit.Case, folder: pathlib.Path) -> list[str]:
    """The command line of a case, with what a deployer gives in a file."""
    given = folder / "given.yml"
    given.write_text(yaml.safe_dump(case.given))
    ops = [word for path in case.ops for word in ("-o", str(path))]
    return ["-d", case.tree["name"], "deploy", MANIFEST, *ops, "-l", str(given), "--dry-run"]


@pytest.mark.parametrize("name", kit.SAMPLE)
def test_ops_files_are_planned_or_refused_with_a_reason(director: corpus_director.Director, tmp_path: pathlib.Path, name: str) -> None:
    wanted = kit.outcomes()[name]
    case = next(case for case in kit.cases() if case.name == name)
    text = director.caisson("--json", *_command(case, tmp_path), code=1 if "refused" in wanted else 0)
    if "refused" in wanted:
        assert all(json.dumps(reason)[1:-1] in text for reason in wanted["refused"]), text
    else:
        changes = json.loads(json.loads(text)["Blocks"][0])["changes"]
        assert len(changes) == wanted["instances"]
        addresses = [item["ip"] for change in changes for item in change.get("addresses", ())]
        assert len(set(addresses)) == len(addresses) > 0
    assert director.rows("deployments") == []


def test_it_is_planned_on_the_local_cloud(director: corpus_director.Director, tmp_path: pathlib.Path) -> None:
    local = registry.load("local", {"state_dir": str(tmp_path / "local"), "director": "corpus"})
    parts = dataclasses.replace(director.parts, clouds=Clouds(local, lambda name, entry: local, dict))
    plan = parts.preview(yaml.safe_dump(kit.Case(("-v", "system_domain=sys.example.org")).tree), {})["plan"]
    assert len(plan["changes"]) == 31
    assert not list(local.owned())


@pytest.fixture(scope="module")
def deployed(director: corpus_director.Director) -> str:
    """What the deploy printed."""
    return director.caisson("-d", "cf", "deploy", MANIFEST, *GIVEN)


def test_all_31_instances_are_placed_addressed_and_run(director: corpus_director.Director, deployed: str) -> None:
    assert deployed.count("Creating missing vms: ") > 28
    rows = director.rows("-d", "cf", "instances")
    assert len(rows) == 31
    addresses = [row["ips"] for row in rows if row["ips"]]
    assert len(addresses) == len(set(addresses)) == 31
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("10.244.0.0/20") for address in addresses)
    resting = sorted(row["instance"].split("/")[0] for row in rows if row["process_state"] != "running")
    assert resting == ["rotate-cc-database-key", "smoke-tests"]
    zones = {row["az"] for row in rows}
    assert zones == {"z1", "z2"}
    assert len(director.fleet.machines) == 29


def test_all_132_variables_are_made_with_right_chains(director: corpus_director.Director, deployed: str) -> None:
    assert len(director.rows("-d", "cf", "variables")) == 132
    defined = kit.manifest()["variables"]
    lookup = director.parts.vault.lookup("cf")
    values = {item["name"]: lookup(item["name"]) for item in defined}
    certificates = [item for item in defined if item["type"] == "certificate"]
    assert len(certificates) > 60
    for item in certificates:
        _check_certificate(item, values)


def _check_certificate(item: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    name, options, value = item["name"], item["options"], values[item["name"]]
    certificate = x509.load_pem_x509_certificate(value["certificate"].encode())
    key = serialization.load_pem_private_key(value["private_key"].encode(), password=None, unsafe_skip_rsa_key_validation=True)
    assert certificate.public_key() == key.public_key(), name
    chain = x509.load_pem_x509_certificates(value["ca"].encode())
    for signed, signer in zip([certificate, *chain], chain, strict=False):
        if signed != signer:
            signed.verify_directly_issued_by(signer)
    assert chain[-1].issuer == chain[-1].subject, f"{name}: the chain does not end in a root"
    if options.get("ca"):
        of_ca = x509.load_pem_x509_certificate(values[options["ca"]]["certificate"].encode())
        assert chain[0] == of_ca, f"{name} is not signed by {options['ca']}"
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic.ca is bool(options.get("is_ca")), name
    written = [str(text).replace("((system_domain))", "sys.example.org") for text in options.get("alternative_names") or ()]
    if written:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert sorted(str(found.value) for found in names) == sorted(written), name


def test_a_second_deploy_changes_nothing(director: corpus_director.Director, deployed: str) -> None:
    before = dict(director.fleet.machines)
    calls = len(director.fleet.calls)
    again = director.caisson("-d", "cf", "deploy", MANIFEST, *GIVEN)
    assert "Updating instance" not in again
    assert director.fleet.machines == before
    assert {call.action for call in director.fleet.calls[calls:]} <= {"get_state"}
    assert "Nothing to do." in director.caisson("-d", "cf", "deploy", MANIFEST, *GIVEN, "--dry-run")


def test_what_it_stands_on_is_not_taken_away(director: corpus_director.Director, deployed: str, tmp_path: pathlib.Path) -> None:
    cloud = tmp_path / "cloud.yml"
    cloud.write_text(kit.CLOUD.replace("{name: z2}, ", "").replace("[z1, z2, z3]", "[z1, z3]"))
    told = director.caisson("update-cloud-config", str(cloud), code=1)
    assert "Availability zone 'z2' is used by 12 instances: deployment 'cf' (" in told
    assert "7 more)" in told
    told = director.caisson("delete-config", "--type", "cloud", "--name", "default", code=1)
    assert "Network 'default' is used by 29 instances: deployment 'cf'" in told
    assert "z2" in director.caisson("cloud-config")
