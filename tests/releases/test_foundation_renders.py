"""The foundation planned and rendered: files that daemons would read, scripts that shells would run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import foundation
import pytest
import yaml

from director import plan
from director.manifest import ops
from director.plan import model as plan_model
from director.render.model import RenderedInstance


@pytest.fixture(scope="module")
def blueprint() -> plan_model.Blueprint:
    return foundation.blueprint(foundation.manifest())


@pytest.fixture(scope="module")
def secrets(blueprint: plan_model.Blueprint) -> dict[str, Any]:
    return foundation.secrets(blueprint.request.manifest)


@pytest.fixture(scope="module")
def rendered(blueprint: plan_model.Blueprint, secrets: dict[str, Any]) -> dict[str, RenderedInstance]:
    return foundation.render(blueprint, secrets)


def file(rendered: Mapping[str, RenderedInstance], instance: str, job: str, destination: str) -> str:
    found = next(item for item in rendered[instance].jobs if item.name == job)
    return next(item.text for item in found.files if item.destination == destination)


def test_ten_machines_over_three_zones(blueprint: plan_model.Blueprint) -> None:
    assert len(blueprint.instances) == 10
    assert {item.spec.az for item in blueprint.instances} == {"z1", "z2", "z3"}
    assert {item.spec.az for item in blueprint.group("nats")} == {"z1", "z2", "z3"}
    assert [item.spec.networks[0].ip for item in blueprint.group("router")] == ["10.244.16.10"]
    assert blueprint.warnings == ()


def test_every_machine_has_the_resolver_and_its_figures(blueprint: plan_model.Blueprint) -> None:
    for item in blueprint.instances:
        assert {"bosh-dns", "node-exporter"} <= {job.name for job in item.spec.jobs}


def test_json_files_are_json_and_scripts_are_shell(rendered: dict[str, RenderedInstance]) -> None:
    for instance in rendered.values():
        for job in instance.jobs:
            for item in job.files:
                if item.destination.endswith(".json"):
                    json.loads(item.text)
                if item.destination.startswith("bin/"):
                    assert item.text.startswith("#!/bin/bash\n"), item.destination
                    checked = subprocess.run(["bash", "-n"], input=item.text, text=True, capture_output=True, check=False)
                    assert checked.returncode == 0, checked.stderr


def test_servers_of_the_bus_know_each_other(rendered: dict[str, RenderedInstance], blueprint: plan_model.Blueprint) -> None:
    names = [item.spec.address for item in blueprint.group("nats")]
    for index, own in enumerate(names):
        text = file(rendered, f"nats/{index}", "nats", "config/nats.conf")
        assert [name for name in names if f"nats-route://{name}:4223" in text] == [name for name in names if name != own]


def test_secrets_are_in_files_that_need_them_and_in_no_script(rendered: dict[str, RenderedInstance], secrets: dict[str, Any]) -> None:
    words = [value for value in secrets.values() if isinstance(value, str)]
    assert words
    for instance in rendered.values():
        for job in instance.jobs:
            for item in job.files:
                if item.destination.startswith("bin/"):
                    assert not [word for word in words if word in item.text]
            assert not [word for word in words if word in job.monit]


def test_rendering_again_gives_the_same_bytes(
    blueprint: plan_model.Blueprint, secrets: dict[str, Any], rendered: dict[str, RenderedInstance]
) -> None:
    again = foundation.render(blueprint, secrets)
    assert {name: item.digest for name, item in again.items()} == {name: item.digest for name, item in rendered.items()}


def test_passwords_may_hold_any_sign(blueprint: plan_model.Blueprint, secrets: dict[str, Any]) -> None:
    odd = "it's a \\ \"quoted\" `one` ${x} <%= 1 %> {{ 2 }}"
    rendered = foundation.render(blueprint, {**secrets, "hello_database_password": odd, "nats_password": odd})
    assert json.loads(file(rendered, "hello/0", "hello", "config/hello.json"))["database"]["password"] == odd
    sql = file(rendered, "database/0", "mariadb", "config/init.sql")
    assert "'it\\'s a \\\\ \"quoted\" `one` ${x} <%= 1 %> {{ 2 }}'" in sql
    assert f"password: {json.dumps(odd)}" in file(rendered, "nats/0", "nats", "config/nats.conf")


def test_a_weak_signing_secret_is_refused(blueprint: plan_model.Blueprint, secrets: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="secure_link"):
        foundation.render(blueprint, {**secrets, "blobstore_link_secret": 'x"; }'})


def test_prometheus_watches_what_is_linked(rendered: dict[str, RenderedInstance]) -> None:
    targets = json.loads(file(rendered, "prometheus/0", "prometheus", "config/targets.json"))
    assert [item["labels"]["component"] for item in targets] == ["prometheus", "gorouter", "hello", "hello"]
    config = yaml.safe_load(file(rendered, "prometheus/0", "prometheus", "config/prometheus.yml"))
    assert config["scrape_configs"][1]["dns_sd_configs"][0]["names"] == ["q-s4.*.*.foundation.bosh"]


@pytest.mark.parametrize("path", sorted(item.name for item in (foundation.MANIFESTS / "ops").glob("*.yml")))
def test_ops_files_fit_the_manifest(path: str) -> None:
    text = (foundation.MANIFESTS / "ops" / path).read_text("utf-8")
    tree = ops.apply_ops(foundation.document("foundation.yml").tree, ops.parse_ops(text, path))
    wanted = foundation.manifest(tree)
    assert plan.design(plan_model.Request(
        wanted, foundation.cloud(), foundation.releases(), (foundation.STEMCELL,), new_ids=tuple(f"id-{number}" for number in range(50))
    )).instances
