"""`plan`, `deploy --plan`, dry runs of state changes, and `why`."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import stat
from typing import Any

import pytest
from cli_world import Cli, Script

from director.plan import planfile
from director.plan.explain import explain
from director.plan.model import Action, Reason, Reservation
from director.plan.outline import Entry, Outline, reason_json, to_json
from director.plan.planfile import PlanFile
from director.state.instances import InstanceRow

MANIFEST = "name: app\nreleases: []\n"
UUID = "aaaaaaaa-1111-2222-3333-444444444444"
DIRECTOR = "11111111-2222-3333-4444-555555555555"
CHANGED = Outline("app", (
    Entry(Action.CREATE, "web", UUID, 0, "z1", "started", (Reason("new", "a new instance", "", "", 3, "app.yml"),),
          (Reservation("default", "10.0.0.2", "dynamic"),), effect="start"),
    Entry(Action.DELETE, "old", UUID.replace("a", "b"), 0)), warnings=("mind the gap",))
NOTHING = Outline("app", (Entry(Action.KEEP, "web", UUID, 0, "z1", "started"),))


def kept(plan: Outline = CHANGED, **more: Any) -> PlanFile:
    return PlanFile(**{
        "director_name": "caisson", "director_uuid": DIRECTOR, "deployment": "app", "made_at": 1.0, "options": {}, "plan": plan,
        "plan_digest": "sha256:1", "rests_on": {}, "sealed": "c2VhbGVk", **more})


def answer(plan: Outline) -> dict[str, Any]:
    return {"text": explain(plan), "plan": to_json(plan), "warnings": [], "file": planfile.to_tree(kept(plan))}


@pytest.fixture
def planned(cli: Cli) -> Cli:
    cli.world.plan_answer = answer(CHANGED)
    return cli


def test_plan_shows_and_writes_nothing(planned: Cli) -> None:
    result = planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST))
    assert result.out == explain(CHANGED)
    assert (planned.tasks.created, planned.world.store.deployments.all()) == ([], [])
    options = planned.world.planned[-1][1]
    assert options["file"].endswith("/app.yml")
    assert json.loads(planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST), "--json").json["Blocks"][-1]) == to_json(CHANGED)


def test_colours_are_for_terminals_only(planned: Cli) -> None:
    planned.terminal = True
    told = planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST)).out
    assert f"\x1b[32m  + web/{UUID} (0) in z1: create" in told
    assert "\x1b[31m  - old/" in told
    assert "\x1b[33mWarning: mind the gap" in told
    assert "\x1b" not in planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST), "--no-color").out


@pytest.mark.parametrize(("plan", "flags", "code"), [
    (CHANGED, [], 0), (NOTHING, [], 0), (CHANGED, ["--detailed-exitcode"], 2), (NOTHING, ["--detailed-exitcode"], 0)])
def test_exit_codes(cli: Cli, plan: Outline, flags: list[str], code: int) -> None:
    cli.world.plan_answer = answer(plan)
    assert cli("-d", "app", "plan", cli.file("app.yml", MANIFEST), *flags).code == code


def test_an_error_is_1_with_detailed_exit_codes_too(planned: Cli) -> None:
    assert planned("-d", "app", "plan", planned.file("app.yml", "name: ["), "--detailed-exitcode").code == 1
    assert planned("-d", "app", "plan", "/nowhere.yml", "--detailed-exitcode").code == 1


@pytest.mark.parametrize("flag", ["-o", "--out"])
def test_a_plan_is_kept_for_its_owner_only(planned: Cli, tmp_path: pathlib.Path, flag: str) -> None:
    target = tmp_path / "plan.json"
    planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST), flag, str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert planfile.read(target.read_text()) == kept()
    target.chmod(0o644)
    planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST), flag, str(target))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600, "an older plan that others could read is replaced"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".plan")] == []


def test_ops_files_and_the_plan_share_a_short_flag(planned: Cli, tmp_path: pathlib.Path) -> None:
    ops = planned.file("ops.yml", "- {type: replace, path: /tags?/a, value: b}\n")
    planned.ok("-d", "app", "plan", planned.file("app.yml", MANIFEST), "-o", ops, "-o", str(tmp_path / "plan.json"))
    sent, options = planned.world.planned[-1]
    assert "a: b" in sent
    assert options["file"].endswith("app.yml (interpolated)"), "lines are no longer those of the file"


def test_what_is_no_plan_is_not_overwritten(planned: Cli, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "ops.json"
    other.write_text('[{"type": "remove", "path": "/a"}]')
    result = planned("-d", "app", "plan", planned.file("app.yml", MANIFEST), "-o", str(other))
    assert (result.code, other.read_text()) == (1, '[{"type": "remove", "path": "/a"}]')
    assert "is no plan file, so it is not overwritten" in result.err
    assert planned.world.planned == []
    assert "folder that is there" in planned("-d", "app", "plan", planned.file("app.yml", MANIFEST), "-o", "/nowhere/plan.json").err
    twice = planned("-d", "app", "plan", planned.file("app.yml", MANIFEST), "-o", "a.json", "--out", "b.json")
    assert "in one file only" in twice.err


# deploy --plan


@pytest.fixture
def plan_file(cli: Cli) -> str:
    return cli.file("plan.json", planfile.write(kept()))


def test_deploy_does_what_a_plan_says(cli: Cli, plan_file: str) -> None:
    result = cli.ok("-n", "deploy", "--plan", plan_file)
    assert explain(CHANGED).strip() in result.out
    kind, arguments = cli.tasks.created[-1]
    assert (kind, list(arguments)) == ("update_deployment", ["plan"])
    assert planfile.of_tree(arguments["plan"]) == kept()
    task = cli.world.last_task()
    assert (task.deployment, task.description) == ("app", "create deployment")


def test_deploy_asks_before_it_does_what_a_plan_says(cli: Cli, plan_file: str) -> None:
    cli.terminal = True
    cli.answers = ["n"]
    assert "Stopped" in cli("deploy", "--plan", plan_file).err
    assert (cli.asked, cli.tasks.created) == (["Continue? [yN]:"], [])


@pytest.mark.parametrize(("args", "words"), [
    (["app.yml"], "--plan stands alone, without app.yml"),
    (["-v", "a=b"], "without variables and ops files"),
    (["--recreate", "--canaries", "2"], "without --canaries, --recreate"),
    (["--dry-run"], "without --dry-run"),
    (["--skip-drain"], "without --skip-drain"),
])
def test_a_plan_stands_alone(cli: Cli, plan_file: str, args: list[str], words: str) -> None:
    result = cli("-n", "deploy", "--plan", plan_file, *args)
    assert (result.code, cli.tasks.created) == (1, [])
    assert words in result.err


@pytest.mark.parametrize(("text", "words"), [
    (planfile.write(kept())[:300], "The plan file is cut off, or no plan file"),
    (planfile.write(kept()).replace("10.0.0.2", "10.0.0.3"), "was changed after it was made"),
    (planfile.write(kept(director_uuid="other")), "made by director 'caisson' (other)"),
    (json.dumps({**planfile.to_tree(kept()), "caisson_plan": 2}), "version 2"),
    ("name: app", "no plan file"),
])
def test_plans_that_cannot_be_done_are_refused(cli: Cli, text: str, words: str) -> None:
    result = cli("-n", "deploy", "--plan", cli.file("plan.json", text))
    assert (result.code, cli.tasks.created, cli.world.store.deployments.all()) == (1, [], [])
    assert words in result.err


def test_a_plan_of_another_deployment_is_refused(cli: Cli, plan_file: str) -> None:
    result = cli("-n", "-d", "other", "deploy", "--plan", plan_file)
    assert (result.code, cli.tasks.created) == (1, [])
    assert "The plan is for deployment 'app', not for 'other'" in result.err
    cli.ok("-n", "-d", "app", "deploy", "--plan", plan_file)


def test_no_plan_file_at_all(cli: Cli) -> None:
    assert "The plan file cannot be read: No such file or directory (/nowhere.json)" in cli("-n", "deploy", "--plan", "/nowhere.json").err


def test_a_dry_run_passes_the_manifests_name_on(planned: Cli) -> None:
    planned.ok("-d", "app", "deploy", planned.file("app.yml", MANIFEST), "--dry-run")
    assert planned.world.planned[-1][1]["file"].endswith("/app.yml")


# Dry runs of state changes


@pytest.mark.parametrize(("command", "state"), [
    (["recreate", "web"], "recreate"), (["restart"], "restart"), (["start", "web/0"], "started"), (["stop", "web"], "stopped"),
    (["stop", "web", "--hard"], "detached")])
def test_state_changes_are_previewed_with_the_same_words(cli: Cli, command: list[str], state: str) -> None:
    cli.world.store.deployments.ensure("app")
    cli.world.store.instances.add(InstanceRow(id=UUID, deployment="app", group="web", index=0))
    cli.tasks.scripts["change_state"] = Script([{"time": 1, "stage": "x", "task": "y", "state": "started"}], explain(CHANGED))
    result = cli.ok("-d", "app", *command, "--dry-run")
    assert result.out == explain(CHANGED)
    assert cli.asked == []
    arguments = cli.tasks.created[-1][1]
    assert (arguments["state"], arguments["options"]["dry_run"]) == (state, True)
    assert cli.ok("-d", "app", *command, "--dry-run", "--json").json["Blocks"] == [explain(CHANGED)]


# why


@dataclasses.dataclass
class Events:
    """Records what tasks would have recorded."""

    cli: Cli

    def change(self, action: str = "update", *, id: str = UUID, group: str = "web", error: str = "", ended: bool = True, index: int = 0,
               reasons: tuple[Reason, ...] = (), at: float = 1_790_000_000.0, **context: Any) -> None:
        name = f"{group}/{id}"
        facts = {"az": "z1", "index": index, "changes": [item.kind for item in reasons],
                 "reasons": [reason_json(item) for item in reasons], **context}
        store = self.cli.world.store.events
        common = {"user": "admin", "task": 7, "deployment": "app", "instance": name, "context": facts}
        start = store.add(action, "instance", name, timestamp=at, **common)
        if ended:
            store.add(action, "instance", name, parent_id=start, error=error, timestamp=at + 42, **common)


@pytest.fixture
def events(cli: Cli) -> Events:
    cli.world.store.deployments.ensure("app")
    cli.world.store.instances.add(InstanceRow(id=UUID, deployment="app", group="web", index=0))
    return Events(cli)


GREETING = Reason("configuration", "rendered templates differ", "web.greeting", "web.greeting", 12, "app.yml")
STEMCELL = Reason("stemcell", "stemcell changes", "linux/1", "linux/2", 3, "app.yml")


def test_why_tells_the_last_change(events: Events) -> None:
    events.change("create", reasons=(Reason("new", "a new instance"),))
    events.change("recreate", reasons=(GREETING, STEMCELL), at=1_790_000_100.0)
    told = events.cli.ok("-d", "app", "why", "web/0").out
    assert told == (
        f"web/{UUID} (0) in z1\n\n"
        "Mon Sep 21 14:15:00 UTC 2026: recreate by admin, task 7, took 42 s\n"
        "  configuration: rendered templates differ (web.greeting), app.yml:12\n"
        "  stemcell: stemcell changes (linux/1 -> linux/2), app.yml:3\n")
    assert events.cli.ok("-d", "app", "why", f"web/{UUID}").out == told


def test_why_tells_the_history(events: Events) -> None:
    for number in range(5):
        events.change(reasons=(GREETING,), at=1_790_000_000.0 + number)
    count = lambda *flags: events.cli.ok("-d", "app", "why", "web/0", *flags).out.count("update by admin")  # noqa: E731
    assert (count(), count("-n", "3"), count("--all")) == (1, 3, 5)
    events.cli.terminal = True
    assert "4 earlier changes are recorded: --all shows them." in events.cli.ok("-d", "app", "why", "web/0").out


def test_why_tells_what_an_interrupted_change_was_about(events: Events) -> None:
    events.change("create")
    events.change("recreate", reasons=(STEMCELL,), ended=False)
    events.change(reasons=(Reason("dirty", "its last update did not complete"),))
    told = events.cli.ok("-d", "app", "why", "web/0").out
    assert "dirty: its last update did not complete" in told
    assert "stemcell: stemcell changes (linux/1 -> linux/2), app.yml:3" in told
    assert ": create by" not in told


def test_why_as_json(events: Events) -> None:
    events.change(reasons=(GREETING,), error="it did not start")
    (found,) = json.loads(events.cli.ok("-d", "app", "why", "web/0", "--json").json["Blocks"][0])
    assert found == {
        "instance": f"web/{UUID}", "action": "update", "began_at": 1_790_000_000.0, "ended_at": 1_790_000_042.0, "user": "admin",
        "task": "7", "error": "it did not start", "az": "z1", "index": 0, "migrated_from": "", "reasons": [reason_json(GREETING)]}


def test_why_tells_failures_and_what_has_not_ended(events: Events) -> None:
    events.change(error="'web' is not running")
    assert "  failed: 'web' is not running\n" in events.cli.ok("-d", "app", "why", "web/0").out
    events.change(ended=False)
    assert "update by admin, task 7, not ended" in events.cli.ok("-d", "app", "why", "web/0").out


def test_why_of_deleted_instances_and_deployments(events: Events) -> None:
    events.change("delete", id=UUID.replace("a", "c"), index=3, reasons=(Reason("obsolete", "its deployment was deleted"),))
    told = events.cli.ok("-d", "app", "why", "web/3").out
    assert "delete by admin" in told
    assert "obsolete: its deployment was deleted" in told
    events.cli.world.store.instances.delete(UUID)
    events.cli.world.store.deployments.delete("app")
    assert events.cli.ok("-d", "app", "why", "web/3").out == told


def test_why_goes_on_under_the_old_name(events: Events) -> None:
    events.change("create", group="front")
    events.change("update", reasons=(Reason("job", "instance group is renamed", "front", "web"),), migrated_from="front")
    told = events.cli.ok("-d", "app", "why", "web/0", "--all").out
    assert "was in instance group 'front'" in told
    assert told.index("update by") < told.index("create by")


def test_why_reads_all_pages(events: Events) -> None:
    events.change("create", id=UUID.replace("a", "d"), group="db", index=9)
    for _ in range(120):
        events.change()
    assert "create by admin" in events.cli.ok("-d", "app", "why", "db/9").out
    assert events.cli.ok("-d", "app", "why", "web/0", "--all").out.count("update by") == 120


def test_why_says_clearly_when_nothing_is_known(events: Events) -> None:
    for slug in ("web/0", "web/77", "nope/0", f"web/{UUID}"):
        result = events.cli("-d", "app", "why", slug)
        assert result.code == 1
        assert "Nothing is recorded of" in result.err
        assert "newest 10,000 events" in result.err
    assert "Expected one instance" in events.cli("-d", "app", "why", "web").err


def test_why_of_events_without_reasons(events: Events) -> None:
    """As older directors, and BOSH itself, record them."""
    name = f"web/{UUID}"
    events.cli.world.store.events.add(
        "recreate", "instance", name, deployment="app", instance=name, context={"az": "z1", "changes": ["stemcell", "env"]}, timestamp=1.0)
    told = events.cli.ok("-d", "app", "why", "web/0").out
    assert "  stemcell: changed\n  env: changed\n" in told
    events.cli.world.store.events.add("restart", "instance", name, deployment="app", instance=name, timestamp=2.0)
    assert "no reason was recorded" in events.cli.ok("-d", "app", "why", "web/0").out


def test_events_show_reasons_as_words(events: Events) -> None:
    events.change(reasons=(GREETING,))
    row = events.cli.ok("-d", "app", "events", "--json").rows[0]
    assert "reasons: configuration: rendered templates differ (web.greeting), app.yml:12" in row["context"]
