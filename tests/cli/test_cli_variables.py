"""`variables --details`, `certificates`, `rotate` and `rotations` on the command line."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import pytest
from api_world import NOW
from cli_world import Cli, Script

from director.api import app
from director.manifest.model import Variable
from director.variables import Vault, rotation

VARIABLES = [
    Variable("ca", "certificate", {"is_ca": True, "common_name": "ca", "duration": 100}),
    Variable("leaf", "certificate", {"ca": "ca", "common_name": "leaf", "duration": 20}),
    Variable("password", "password"),
]


@pytest.fixture
def vault(cli: Cli, tmp_path: pathlib.Path) -> Vault:
    store = cli.world.store
    made = Vault(store, tmp_path / "vault.key", clock=lambda: NOW)
    store.deployments.ensure("app")
    chosen = store.variables.begin_set("app")
    made.ensure("app", VARIABLES, set_id=chosen.id)
    store.variables.mark_deployed(chosen.id)
    store.deployments.update("app", succeeded=True, variable_set_id=chosen.id)
    cli.world.services = dataclasses.replace(cli.world.services, vault=made)
    cli.world.listening.switch.app = app.make_app(cli.world.services)
    return made


def test_variables(cli: Cli, vault: Vault) -> None:
    assert [row["name"] for row in cli.ok("-d", "app", "variables", "--json").rows] == [
        f"/caisson/app/{name}" for name in ("ca", "leaf", "password")]
    rows = cli.ok("-d", "app", "variables", "--details", "--json").rows
    assert [tuple(row[key] for key in ("name", "type", "versions", "in_use_by", "ca", "days_left")) for row in rows] == [
        ("/caisson/app/ca", "certificate", "1", "app", "", "100"),
        ("/caisson/app/leaf", "certificate", "1", "app", "/caisson/app/ca", "20"),
        ("/caisson/app/password", "password", "1", "app", "", "")]
    vault.set("/caisson/app/password", "password", "another")
    rows = cli.ok("variables", "--type", "password", "--json").rows
    assert [(row["versions"], row["in_use_by"]) for row in rows] == [("2", "app (an older version)")]
    assert "another" not in cli.ok("variables", "--details").out


def test_certificates(cli: Cli, vault: Vault) -> None:
    rows = cli.ok("certificates", "--json").rows
    assert [(row["name"], row["days_left"], row["next"]) for row in rows] == [
        ("/caisson/app/leaf", "20", "caisson rotate /caisson/app/leaf"), ("/caisson/app/ca", "100", ""),
        ("the director's server.pem", "3650", "")]
    assert [row["name"] for row in cli.ok("-d", "app", "certificates", "--json").rows] == ["/caisson/app/leaf", "/caisson/app/ca"]


@pytest.mark.parametrize(("days", "names", "code"), [("19", [], 0), ("20", ["leaf"], 2), ("100", ["leaf", "ca"], 2)])
def test_certificates_for_a_pipeline(cli: Cli, vault: Vault, days: str, names: list[str], code: int) -> None:
    result = cli("-d", "app", "certificates", "--expiring-within", days, "--json")
    assert result.code == code
    assert [row["name"].rpartition("/")[2] for row in result.rows] == names
    assert result.err == ""
    assert cli("certificates", "--expiring-within", "-1").code == 1


def told(after: int, *, dry_run: bool = False) -> Script:
    version = {"name": "/caisson/app/ca", "id": "" if dry_run else "some-id", "what": "new CA trusted"}
    step = {"name": "/caisson/app/ca", "before": after - 1, "after": after, "stage": rotation.STAGES[after], "versions": [version]}
    result: dict[str, Any] = {"dry_run": dry_run, "deployments": ["app"], "steps": [step]}
    if dry_run:
        result["plans"] = [{"deployment": "app", "text": "  ~ web/1: update\n", "plan": {}}]
    return Script(result=json.dumps(result) + "\n")


def test_rotate(cli: Cli, vault: Vault) -> None:
    cli.tasks.scripts["rotate_variable"] = told(1)
    cli.terminal = True
    cli.answers = ["yes"]
    out = cli.ok("-d", "app", "rotate", "ca").out
    assert cli.asked == ["Continue? [yN]:"]
    assert cli.tasks.created == [
        ("rotate_variable", {"names": ["/caisson/app/ca"], "signed_by": "", "undo": False, "dry_run": False})]
    for line in ("stage 1 of 3, the new CA is trusted, the old one signs", "Deploy it now: caisson -d app deploy MANIFEST",
                 "Then go on: caisson rotate /caisson/app/ca"):
        assert line in out
    cli.tasks.scripts["rotate_variable"] = told(3)
    assert "Then go on" not in cli.ok("-n", "rotate", "/caisson/app/ca", "--undo").out
    assert cli.tasks.created[-1][1]["undo"] is True
    cli.ok("-n", "-d", "app", "rotate", "--signed-by", "ca")
    assert cli.tasks.created[-1][1]["signed_by"] == "/caisson/app/ca"


def test_rotate_as_a_dry_run_asks_nothing(cli: Cli, vault: Vault) -> None:
    cli.tasks.scripts["rotate_variable"] = told(1, dry_run=True)
    cli.terminal = True
    out = cli.ok("-d", "app", "rotate", "ca", "--dry-run").out
    assert cli.tasks.created[0][1]["dry_run"] is True
    assert "~ web/1: update" in out
    assert "Nothing was changed." in out
    assert cli.asked == []


def test_rotate_needs_to_know_which(cli: Cli, vault: Vault) -> None:
    assert "Expected non-empty deployment name" in cli("-n", "rotate", "ca").err
    assert "Give the names of variables, or --signed-by CA" in cli("-n", "rotate").err
    result = cli("-n", "-d", "app", "rotate", "lead")
    assert result.code == 1
    assert "There is no variable '/caisson/app/lead'" in result.err
    assert "Did you mean '/caisson/app/leaf'?" in result.err


def test_rotations(cli: Cli, vault: Vault) -> None:
    assert cli.ok("rotations", "--json").rows == []
    rotation.apply_step(cli.world.store, rotation.plan_step(vault, cli.world.store, "/caisson/app/ca", user="admin"))
    (row,) = cli.ok("rotations", "--json").rows
    assert (row["stage"], row["by"], row["waits_for"]) == ("1 of 3", "admin", "app at stage 0, it was not deployed since")
    assert row["signing"].startswith("old, ends ")
    assert row["transitional"].startswith("new, ends ")
    assert row["next"] == "caisson -d app deploy MANIFEST"
    assert cli.ok("-d", "app", "variables", "--details", "--type", "certificate", "--json").rows[0]["rotation"] == "stage 1 of 3"


def test_a_value_is_set_from_a_file_or_asked_for_and_never_an_argument(cli: Cli, vault: Vault) -> None:
    cli.ok("-d", "app", "set-variable", "license", "--type", "value", "--file", cli.file("license.txt", "two\nlines\n"))
    assert vault.lookup("app")("license") == "two\nlines"
    row = cli.ok("-d", "app", "set-variable", "me", "--type", "user", "--file", cli.file("me.yml", "{username: me, password: x}"), "--json")
    assert row.rows[0]["name"] == "/caisson/app/me"
    assert vault.lookup("app")("me")["username"] == "me"
    result = cli("set-variable", "/x", "--type", "ssh")
    assert "A value of type 'ssh' is read from a file" in result.err
    assert cli("-d", "app", "set-variable", "a.b", "--file", cli.file("x", "x")).code == 1
    assert cli("set-variable", "/x", "hush").code == 1


def test_a_value_is_revealed_only_on_demand(cli: Cli, vault: Vault) -> None:
    vault.set("/caisson/app/password", "password", "hush hush")
    shown = cli.ok("-d", "app", "variable", "password")
    assert "hush" not in shown.out
    rows = cli.ok("variable", "/caisson/app/password", "--json").rows
    assert [row["in_use_by"] for row in rows] == ["", "app (an older version)"]
    assert cli.ok("-d", "app", "variable", "password", "--reveal").out == "hush hush\n"
    old = cli.ok("-d", "app", "variable", "password", "--reveal", "--id", rows[1]["id"]).out
    assert len(old) == 31
    leaf = vault.lookup("app")("leaf")
    assert cli.ok("-d", "app", "variable", "leaf", "--reveal", "--path", "certificate").out == leaf["certificate"]
    assert json.loads(cli.ok("-d", "app", "variable", "leaf", "--reveal").out) == leaf
    wrong = cli("-d", "app", "variable", "leaf", "--reveal", "--path", "cert")
    assert "The value has no 'cert'" in wrong.err
    assert "Its keys: ca, certificate, private_key." in wrong.err
    assert "go with --reveal" in cli("-d", "app", "variable", "leaf", "--path", "ca").err
