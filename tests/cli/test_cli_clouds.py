"""`cloud check` and `orphans`: tables, exit codes, and what is asked before anything is deleted."""

from __future__ import annotations

import json
import pathlib

import pytest
from cli_world import Cli, Script

from cpis.contract import DiskRequest
from cpis.fake import FakeCpi


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def check(ok: bool | None, **more: object) -> dict[str, object]:
    return {"cpi": "east", "name": "ec2:RunInstances", "kind": "permission", "ok": ok, "detail": "", "suggestion": "", **more}


ORPHAN = {
    "cpi": "east", "kind": "disk", "cid": "vol-1", "token": "disk-1", "age_seconds": 7200.0,
    "metadata": {"deployment": "app", "instance_group": "db"},
}
LOST = {"cpi": "", "kind": "vm", "cid": "", "token": "vm-1", "age_seconds": None, "metadata": {}}


@pytest.mark.parametrize(("rows", "code"), [([check(True), check(None)], 0), ([check(True), check(False)], 1), ([], 0)])
def test_the_exit_code_tells_whether_a_check_failed(cli: Cli, rows: list[dict[str, object]], code: int) -> None:
    cli.tasks.scripts["check_cloud"] = Script(result=lines(*rows))
    result = cli("cloud", "check", "--json")
    assert result.code == code, result.err
    assert len(result.rows) == len(rows)
    assert cli.tasks.created[-1] == ("check_cloud", {"cpi": ""})


def test_checks_say_what_to_do(cli: Cli) -> None:
    denied = check(False, detail="UnauthorizedOperation", suggestion="Add it to the policy.")
    cli.tasks.scripts["check_cloud"] = Script(result=lines(denied))
    cli.terminal = True
    told = cli("cloud", "check").out
    for word in ("ec2:RunInstances", "failed", "UnauthorizedOperation", "Add it to the policy.", "0 ok, 1 failed, 0 cannot be told"):
        assert word in told


def test_an_unknown_cpi_is_refused_before_a_task(cli: Cli) -> None:
    result = cli("cloud", "check", "eest")
    assert result.code == 1
    assert "CPI 'eest' not found in cpi-config" in result.err
    assert not cli.tasks.created


def test_a_cloud_is_checked_from_here_without_a_director(offline: Cli, tmp_path: pathlib.Path) -> None:
    state = str(tmp_path / "cloud.json")
    FakeCpi({"state_file": state}).create_disk(DiskRequest("t", 1))
    config = offline.file("cpi.yml", f"{{state_file: {state}, limits: {{disks: 1}}}}")
    result = offline("cloud", "check", "--cpi", "fake", "--config", config, "--json")
    assert result.code == 1
    assert [(row["check"], row["result"]) for row in result.rows] == [("the fake cloud", "ok"), ("disks", "failed")]
    entries = offline.file("cpis.yml", "cpis: [{name: a, type: fake, properties: {state_file: ((file))}}, {name: b, type: fake}]")
    result = offline.ok("cloud", "check", "a", "--cpi", "fake", "--config", entries, "-v", f"file={state}", "--json")
    assert [row["detail"] for row in result.rows] == [state]


def test_images_are_looked_for_by_their_cid(offline: Cli) -> None:
    config = offline.file("cpi.yml", "{}")
    result = offline("cloud", "check", "--cpi", "fake", "--config", config, "--stemcell", "stemcell-9", "--json")
    assert result.code == 1
    assert [(row["kind"], row["check"], row["result"]) for row in result.rows[1:]] == [("image", "stemcell-9", "failed")]


def test_a_cloud_config_is_looked_at_too(offline: Cli) -> None:
    config = offline.file("cpi.yml", "state_dir: /nowhere")
    cloud = offline.file("cloud.yml", "azs: [{name: z1, cpi: any}]\nvm_types:\n- name: small\n  cloud_properties: {memry: 1}\n")
    result = offline("cloud", "check", "--cpi", "local", "--config", config, "--cloud-config", cloud, "--json")
    assert result.code == 1
    assert f"{cloud}:4" in result.rows[0]["check"]
    assert "Did you mean 'memory'?" in result.rows[0]["what_to_do"]


@pytest.mark.parametrize(("args", "words"), [
    (("--config", "x"), "go with --cpi"), (("--cpi", "fake"), "--cpi needs --config"),
    (("--cpi", "fkae", "--config", "CPI"), "Did you mean 'fake'?"), (("--cpi", "fake", "--config", "LIST"), "has 2 entries"),
    (("none", "--cpi", "fake", "--config", "LIST"), "has no entries of type 'fake' and name 'none'"),
    (("--cpi", "fake", "--config", "BAD"), "the fake CPI has no setting 'colour'"),
])
def test_wrong_ways_to_check_are_told(offline: Cli, args: tuple[str, ...], words: str) -> None:
    files = {
        "CPI": offline.file("cpi.yml", "{}"), "LIST": offline.file("list.yml", "cpis: [{name: a, type: fake}, {name: b, type: fake}]"),
        "BAD": offline.file("bad.yml", "colour: red"),
    }
    result = offline("cloud", "check", *(files.get(arg, arg) for arg in args))
    assert result.code == 1
    assert words in result.err


def test_orphans_of_clouds_are_listed_and_left(cli: Cli) -> None:
    cli.tasks.scripts["cloud_orphans"] = Script(result=lines(ORPHAN, LOST, {"young": 2}))
    result = cli.ok("orphans", "--cloud", "--json")
    assert [(row["cpi"], row["kind"], row["cid"], row["was"]) for row in result.rows] == [
        ("east", "disk", "vol-1", "app db"), ("", "vm", "unknown", "")]
    assert result.rows[0]["age"]
    assert result.rows[1]["age"] == "unknown"
    assert any("2 more are younger than 15 minutes" in line for line in result.json["Lines"])
    assert cli.tasks.created == [("cloud_orphans", {})]
    cli.ok("orphans", "--cloud", "--cpi", "east")
    assert cli.tasks.created[-1] == ("cloud_orphans", {"cpi": "east"})


def test_orphans_go_only_after_a_yes(cli: Cli) -> None:
    cli.tasks.scripts["cloud_orphans"] = Script(result=lines(ORPHAN, LOST, {"young": 0}))
    cli.terminal = True
    cli.answers = ["no"]
    assert cli("orphans", "--cloud", "--remove").code == 1
    assert "Delete these 2 for ever, with all data on them?" in cli.asked[-1]
    assert [kind for kind, _ in cli.tasks.created] == ["cloud_orphans"]
    cli.answers = ["yes"]
    cli("orphans", "--cloud", "--remove")
    assert cli.tasks.created[-1] == ("cloud_orphans", {"remove": [
        {"cpi": "east", "kind": "disk", "cid": "vol-1", "token": "disk-1"}, {"cpi": "", "kind": "vm", "cid": "", "token": "vm-1"}]})


def test_nothing_is_asked_when_there_is_nothing(cli: Cli) -> None:
    cli.tasks.scripts["cloud_orphans"] = Script(result=lines({"young": 0}))
    cli.ok("orphans", "--cloud", "--remove")
    assert cli.asked == []


def test_orphans_of_the_records_need_no_cloud(cli: Cli) -> None:
    assert cli.ok("orphans", "--json").rows == []
    assert not cli.tasks.created
    assert "go with --cloud" in cli("orphans", "--remove").err


@pytest.mark.parametrize("body", [{"orphans": [{"cid": 5, "kind": "vm"}]}, {"orphans": ["x"]}, {}])
def test_the_api_refuses_what_is_no_list_of_orphans(cli: Cli, body: object) -> None:
    assert cli.world.post("/cloud_orphans/deletions", json=body).status_code == 400
    assert not cli.tasks.created
