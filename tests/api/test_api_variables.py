"""Variables, certificates and rotations over the API: what is there and who uses it, never a value."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest
from api_world import NOW, World
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from director.api import app
from director.manifest.model import Variable
from director.state.instances import InstanceRow
from director.state.vms import VmRow
from director.variables import Vault, rotation

DAY = 86400.0
VARIABLES = [
    Variable("ca", "certificate", {"is_ca": True, "common_name": "ca", "duration": 100}),
    Variable("leaf", "certificate", {"ca": "ca", "common_name": "leaf", "duration": 20}),
    Variable("password", "password"),
]
ID = "3b1c4dcb-0000-4000-8000-00000000000{}"


@pytest.fixture
def vault(world: World, tmp_path: pathlib.Path) -> Vault:
    """Of a director with two deployments: `app` has it all and two instances, `other` the CA."""
    vault = Vault(world.store, tmp_path / "vault.key", clock=lambda: NOW)
    deploy(world, vault, "app", VARIABLES)
    deploy(world, vault, "other", [Variable("/caisson/app/ca", "certificate", VARIABLES[0].options)])
    for index in (0, 1):
        world.store.instances.add(InstanceRow(
            ID.format(index), "app", "web", index, variable_set_id=world.store.deployments.get("app").variable_set_id))
        world.store.vms.add(VmRow(f"vm-{index}", f"t-{index}", "app", "agent", instance_id=ID.format(index), active=True))
    return vault


def deploy(world: World, vault: Vault, name: str, variables: list[Variable], *instances: int) -> None:
    """As a deploy that updated these instances."""
    world.store.deployments.ensure(name)
    chosen = world.store.variables.begin_set(name)
    vault.ensure(name, variables, set_id=chosen.id)
    world.store.variables.mark_deployed(chosen.id)
    world.store.deployments.update(name, succeeded=True, variable_set_id=chosen.id)
    for index in instances:
        world.store.instances.update(ID.format(index), variable_set_id=chosen.id)


def rotate(world: World, vault: Vault, name: str = "/caisson/app/ca") -> None:
    rotation.apply_step(world.store, rotation.plan_step(vault, world.store, name, user="admin"))


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"].rpartition("/")[2]: row for row in rows}


def test_ids_and_names(world: World, vault: Vault) -> None:
    rows = world.get("/deployments/app/variables").json()
    assert [set(row) for row in rows] == [{"id", "name"}] * 3
    assert [row["name"] for row in rows] == [f"/caisson/app/{name}" for name in ("ca", "leaf", "password")]
    assert world.get("/deployments/none/variables").status_code == 404


def test_details(world: World, vault: Vault) -> None:
    vault.set("/caisson/app/password", "password", "hush hush")
    deploy(world, vault, "app", VARIABLES, 0)
    rows = world.get("/deployments/app/variables?details=true").json()
    found = by_name(rows)
    password = found["password"]
    assert (password["type"], password["versions"], password["expiry_date"], password["ca"]) == ("password", 2, None, None)
    assert [(use["deployment"], use["latest"], use["current"], use["instances"]) for use in password["uses"]] == [
        ("app", True, True, []), ("app", False, False, [f"web/{ID.format(1)} (1)"])]
    assert (found["leaf"]["ca"], found["leaf"]["days_left"]) == ("/caisson/app/ca", 20)
    assert {use["deployment"] for use in found["ca"]["uses"]} == {"app", "other"}
    assert world.get("/variables").json() == rows
    assert "hush hush" not in str(rows)


def test_certificate_expiry(world: World, vault: Vault) -> None:
    rows = world.get("/deployments/app/certificate_expiry").json()
    assert [(set(row), row["name"], row["days_left"]) for row in rows] == [
        ({"name", "id", "expiry_date", "days_left"}, "/caisson/app/ca", 100),
        ({"name", "id", "expiry_date", "days_left"}, "/caisson/app/leaf", 20)]
    assert [row["name"] for row in world.get("/deployments/other/certificate_expiry").json()] == ["/caisson/app/ca"]
    rotate(world, vault, "/caisson/app/leaf")
    deploy(world, vault, "app", VARIABLES, 0)
    everywhere = world.get("/certificate_expiry").json()
    assert [(row["name"], row["latest"], row["deployments"], row["ca"]) for row in everywhere] == [
        ("/caisson/app/leaf", True, ["app"], "/caisson/app/ca"), ("/caisson/app/leaf", False, ["app"], "/caisson/app/ca"),
        ("/caisson/app/ca", True, ["app", "other"], None)], "the version that an instance still has is told too"


def test_deployed_variables(world: World, vault: Vault) -> None:
    found = world.get("/deployed_variables/%2Fcaisson%2Fapp%2Fca").json()
    assert [item["name"] for item in found["deployments"]] == ["app", "other"]


def test_rotations(world: World, vault: Vault) -> None:
    assert world.get("/rotations").json() == []
    rotate(world, vault)
    (row,) = world.get("/rotations").json()
    assert (row["name"], row["stage"], row["stages"], row["user"], row["ready"]) == ("/caisson/app/ca", 1, 3, "admin", False)
    assert (row["signing"]["version"], row["transitional"]["version"]) == ("old", "new")
    assert row["signing"]["fingerprint"] != row["transitional"]["fingerprint"]
    assert [(item["deployment"], item["instance"], item["stage"]) for item in row["waiting"]] == [("app", "", 0), ("other", "", 0)]
    assert row["next"] == "caisson -d app deploy MANIFEST; caisson -d other deploy MANIFEST"
    deploy(world, vault, "other", [Variable("/caisson/app/ca", "certificate", VARIABLES[0].options)])
    deploy(world, vault, "app", VARIABLES, 0)
    (row,) = world.get("/rotations").json()
    assert [(item["instance"], item["why"]) for item in row["waiting"]] == [(f"web/{ID.format(1)} (1)", "it was not updated since")]
    assert row["ready"] is False
    deploy(world, vault, "app", VARIABLES, 0, 1)
    (row,) = world.get("/rotations").json()
    assert (row["waiting"], row["ready"], row["next"]) == ([], True, "caisson rotate /caisson/app/ca")
    rotate(world, vault)
    (row,) = world.get("/rotations").json()
    assert (row["stage"], row["signing"]["version"], row["transitional"]["version"]) == (2, "new", "old")
    assert "PRIVATE" not in str(row)


def test_a_step_is_a_task(world: World, vault: Vault) -> None:
    for body, names, signed_by, what in (
        ({"names": ["ca"], "deployment": "app"}, ["/caisson/app/ca"], "", "rotate variable /caisson/app/ca"),
        ({"names": ["/caisson/app/ca"], "undo": True}, ["/caisson/app/ca"], "", "rotate variable /caisson/app/ca (undo)"),
        ({"names": ["leaf", "password"], "deployment": "app", "dry_run": True}, ["/caisson/app/leaf", "/caisson/app/password"], "",
         "rotate variable /caisson/app/leaf and 1 more (dry run)"),
        ({"signed_by": "ca", "deployment": "app"}, [], "/caisson/app/ca", "rotate what ca signed"),
    ):
        assert world.post("/rotations", json=body).status_code == 302
        task = world.last_task()
        assert (task.type, task.deployment, task.description) == ("rotate_variable", "app", what)
        assert (task.arguments["names"], task.arguments["signed_by"]) == (names, signed_by)
        assert (task.arguments["undo"], task.arguments["dry_run"]) == (body.get("undo", False), body.get("dry_run", False))


@pytest.mark.parametrize(("body", "status", "text"), [
    ({"names": ["ca"]}, 400, "The name 'ca' is relative"),
    ({"names": ["cb"], "deployment": "app"}, 404, "There is no variable '/caisson/app/cb'"),
    ({}, 400, "Either 'names' or 'signed_by' must be given"), ({"names": 1}, 400, "did not match the required type"),
    ({"names": [1]}, 400, "did not match the required type"), ({"names": ["/caisson/app/ca"], "signed_by": "/x"}, 400, "Either 'names' or"),
    ({"names": ["/caisson/app/ca"], "undo": "yes"}, 400, "did not match the required type"),
    ({"names": ["/a.b"]}, 400, "must only contain alphanumeric"),
])
def test_wrong_requests(world: World, vault: Vault, body: dict[str, Any], status: int, text: str) -> None:
    answer = world.post("/rotations", json=body)
    assert answer.status_code == status
    assert text in answer.text
    assert status != 404 or "Did you mean '/caisson/app/ca'?" in answer.text


@pytest.fixture
def open_vault(world: World, vault: Vault) -> Vault:
    """The API has it too."""
    world.services = dataclasses.replace(world.services, vault=vault)
    world.listening.switch.app = app.make_app(world.services)
    return vault


def put(world: World, name: str, kind: str, value: Any, status: int = 200) -> Any:
    answer = world.put("/variables", json={"name": name, "deployment": "app", "type": kind, "value": value})
    assert answer.status_code == status, answer.text
    return answer.json()


def reveal(world: World, name: str, **more: str) -> Any:
    return world.post("/variables/reveal", json={"name": name, "deployment": "app", **more})


def test_values_are_set_and_revealed_to_who_asks(world: World, open_vault: Vault) -> None:
    before = reveal(world, "password").json()
    made = put(world, "password", "password", "hush hush")
    assert reveal(world, "password").json() == {**made, "value": "hush hush"}
    assert reveal(world, "password", id=before["id"]).json()["value"] == before["value"]
    rows = world.get("/variables/caisson/app/password").json()
    assert [(row["id"], [use["deployment"] for use in row["uses"]]) for row in rows] == [(made["id"], []), (before["id"], ["app"])]
    told = [(event.action, event.object_name, event.user, event.deployment, event.context["id"]) for event in world.store.events.select()]
    name = "/caisson/app/password"
    assert told == [
        ("reveal", name, "admin", "app", before["id"]), ("reveal", name, "admin", "app", made["id"]),
        ("create", name, "admin", "app", made["id"]), ("reveal", name, "admin", "app", before["id"])]
    assert "hush hush" not in str(world.store.events.select()) + str(rows)
    assert world.anonymous.post("/variables/reveal", json={"name": name}).status_code == 401
    for missing in (reveal(world, "none"), reveal(world, "password", id="none"), world.get("/variables/none")):
        assert missing.status_code == 404


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()).decode()


def test_what_follows_from_a_value_is_filled_in(world: World, open_vault: Vault, key: str) -> None:
    put(world, "/u", "user", {"username": "me", "password": "secret"})
    assert set(open_vault.lookup("app")("/u")) == {"username", "password", "password_hash"}
    put(world, "/r", "rsa", {"private_key": key})
    put(world, "/s", "ssh", {"private_key": key})
    assert open_vault.lookup("app")("/s")["public_key"].startswith("ssh-rsa ")
    assert set(open_vault.lookup("app")("/r")) == {"private_key", "public_key"}
    put(world, "/j", "json", {"a": [1, 2]})
    assert open_vault.lookup("app")("/j") == {"a": [1, 2]}


def test_an_imported_certificate_finds_its_ca(world: World, open_vault: Vault) -> None:
    """So that it takes part in rotations."""
    look = open_vault.lookup("app")
    leaf = {key: look("leaf")[key] for key in ("certificate", "private_key")}
    put(world, "/imported", "certificate", leaf)
    assert open_vault.lookup("app")("/imported") == look("leaf")
    step = rotation.plan_step(open_vault, world.store, "/caisson/app/ca")
    assert {fresh.row.name for fresh in step.fresh} == {"/caisson/app/ca", "/caisson/app/leaf", "/imported"}
    put(world, "/root", "certificate", {key: look("ca")[key] for key in ("certificate", "private_key")})
    assert open_vault.lookup("app")("/root")["ca"] == look("ca")["certificate"]


def test_wrong_values_are_refused_and_not_told(world: World, open_vault: Vault, key: str) -> None:
    look = open_vault.lookup("app")
    for kind, value, problems in (
        ("pasword", "hush hush", ["There is no type 'pasword'"]), ("password", {"a": "hush hush"}, ["must be a text"]),
        ("password", "", ["must be a text that is not empty"]), ("user", "hush hush", ["must be a map"]),
        ("user", {"usrname": "hush hush"}, ["'username' is missing", "'password' is missing", "has no 'usrname'"]),
        ("rsa", {"private_key": "hush hush"}, ["cannot be read"]), ("user", {"username": "x", "password": 1}, ["'password' in the value"]),
        ("certificate", {"certificate": "hush hush", "private_key": key}, ["'certificate' in the value of '/x' cannot be read"]),
        ("certificate", {"certificate": look("leaf")["certificate"], "private_key": key}, ["do not belong together"]),
    ):
        answer = world.put("/variables", json={"name": "/x", "type": kind, "value": value})
        assert answer.status_code == 400
        assert all(problem in answer.text for problem in problems), answer.text
        assert "hush" not in answer.text
    for body, problem in (({"name": "/x"}, "Required property 'value'"), ({"name": "/a.b", "value": 1}, "must only contain alphanumeric"),
                          ({"name": "x", "value": 1}, "is relative")):
        assert problem in world.put("/variables", json=body).text
    assert world.store.variables.latest("/x") is None
