from __future__ import annotations

import json
import pathlib
import stat
from typing import Any

import pytest
from cli_world import Cli, Script, event

from director.cli import commands, follow
from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError
from director.state.instances import InstanceRow

UUID = "aaaaaaaa-1111-2222-3333-444444444444"
MANIFEST = "name: app\ninstance_groups: []\n"


def test_every_command_loads_and_helps(offline: Cli) -> None:
    for entry in commands.ENTRIES:
        result = offline.ok(entry.name, "--help")
        assert f"Usage: caisson {entry.name}" in result.out, entry.name
        assert "Examples:" in result.out, entry.name


def test_help_lists_commands_without_importing_them(offline: Cli) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from director.cli import main; import io, os\n"
        "out = io.StringIO(); main.run(['--help'], main.Startup(out, out, {}, False))\n"
        "print(sorted({'httpx', 'rich', 'yaml', 'cryptography', 'starlette'} & set(sys.modules)), 'run-errand' in out.getvalue())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[] True\n"


def test_a_deploy_starts_without_the_planner_and_without_httpxs_own_command_line() -> None:
    import subprocess
    import sys

    code = (
        "import sys, director.cli.verbs.deploy; from director.cli.client import Endpoint, connect; connect(Endpoint('localhost', 1));"
        "print('httpx' in sys.modules, [name for name in ('director.plan', 'director.release.create', 'pygments') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True []\n"


def test_help_as_a_command(offline: Cli) -> None:
    assert offline.ok("help").out.splitlines()[:20] == offline.ok("--help").out.splitlines()[:20]
    assert "Usage: caisson deploy [OPTIONS] [PATH]" in offline.ok("help", "deploy").out
    assert "Did you mean 'deploy'?" in offline("help", "deplyo").err


def test_version(offline: Cli) -> None:
    assert offline.ok("--version").out.startswith("version ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("deplyo",), "Did you mean 'deploy'?"),
        (("deploy", "--recreat", "x.yml"), "'--recreate'"),
        (("deploy",), "Missing argument 'PATH'"),
        (("vms",), "Expected non-empty Director URL"),
        (("-e", "127.0.0.1:1", "vms"), "caisson director start"),
        (("-e", "https://host:abc", "vms"), "to be a URL of a director"),
        (("-e", "127.0.0.1:1", "--ca-cert", "/nope", "vms"), "cannot be read"),
        (("int", "/nope.yml"), "cannot be read"),
        (("-d", "app", "ignore", "web"), "for example: web/0"),
        (("disks",), "Only --orphaned is supported"),
        (("docs", "instance_grup"), "Did you mean 'instance_group'?"),
        (("docs", "cpi/lokal"), "Did you mean 'local'?"),
        (("docs", "cpi/"), "There are: cpi/"),
        (("docs", "cpi/local", "vm_typs"), "Did you mean 'vm_types'?"),
        (("docs", "manifest", "vm_types"), "caisson docs cpi/aws vm_types"),
    ],
)
def test_errors_say_what_to_do_next(offline: Cli, args: tuple[str, ...], words: str) -> None:
    result = offline(*args)
    assert result.code == 1
    assert words in result.err
    assert result.err.endswith("Exit code 1\n")


def test_errors_as_json(offline: Cli) -> None:
    result = offline("vms", "--json")
    assert result.code == 1
    assert result.json["Lines"][-1] == "Exit code 1"
    assert result.json["Tables"] is None


def test_docs(offline: Cli) -> None:
    assert "instance_group" in offline.ok("docs").out.split()
    assert "lifecycle" in offline.ok("docs", "instance-group").out


def test_docs_of_cloud_properties(offline: Cli) -> None:
    whole = offline.ok("docs", "cpi/local").out
    assert "# local: cpi_config" in whole
    assert "# local: stemcells" in whole
    part = offline.ok("docs", "cpi/local", "vm-types").out
    assert "# Memory in MiB." in part
    assert "stemcells" not in part
    rows = {row["key"]: row for row in offline.ok("docs", "cpi/local", "vm_types", "--json").rows}
    assert rows["memory"]["type"] == "integer"
    assert rows["memory"]["part"] == "vm_types"


def test_interpolate(offline: Cli) -> None:
    path = offline.file("m.yml", "name: ((name))\nport: ((port))\nold: 1\n")
    ops = offline.file("o.yml", "- {type: remove, path: /old}\n")
    assert offline.ok("int", path, "-o", ops, "-v", "name=app", "--var=port=8080").out == "name: app\nport: 8080\n"
    assert offline.ok("int", path, "-v", "name=app", "--path", "/name").out == "app\n"
    result = offline("int", path, "--var-errs")
    assert result.code == 1
    assert "name" in result.err
    assert "port" in result.err


def test_interpolate_keeps_texts_texts(offline: Cli) -> None:
    path = offline.file(
        "m.yml",
        'a: "1"\nb: "yes"\nc: "0o7"\nd: "1_000"\ne: "~"\nf: "2001-01-01"\ng: "a: b"\nh: ""\ni: |\n  x\n  y\nj: "012"\nk: "="\nl: ".5"\n',
    )
    out = offline.ok("int", path).out
    again = offline.ok("int", offline.file("n.yml", out)).out
    assert out == again
    from director.manifest.load import load_yaml

    assert load_yaml(out, "x").tree == load_yaml(pathlib.Path(path).read_text(), "x").tree


def test_vars_store_generates_once(offline: Cli) -> None:
    path = offline.file("m.yml", "a: ((pw))\nvariables: [{name: pw, type: password}]\n")
    store = offline.folder / "vars.yml"
    first = offline.ok("int", path, f"--vars-store={store}").out
    assert first == offline.ok("int", path, f"--vars-store={store}").out
    assert "((pw))" not in first
    assert stat.S_IMODE(store.stat().st_mode) == 0o600


def test_environment(cli: Cli) -> None:
    rows = cli.ok("env", "--json").rows
    assert rows == [
        {
            "name": "caisson",
            "uuid": "11111111-2222-3333-4444-555555555555",
            "version": "0.1.0 (00000000)",
            "cpi": "local_cpi",
            "features": "config_server: disabled\nlocal_dns: enabled\nsnapshots: disabled",
            "user": "admin",
        }
    ]
    cli.terminal = True
    text = cli.ok("env", "--no-color").out
    assert text.startswith(f"Using environment '{cli.environ['BOSH_ENVIRONMENT']}' as client 'admin'\n\nName      caisson ")
    assert text.endswith("\nSucceeded\n")
    assert "\x1b[" not in text
    assert "\x1b[" in cli.ok("env").out


def test_global_flags_stand_anywhere(cli: Cli) -> None:
    cli.world.store.deployments.ensure("app")
    for args in (("-d", "app", "variables", "--json"), ("variables", "-d", "app", "--json"), ("--json", "vars", "-d=app")):
        assert cli.ok(*args).json["Tables"][0]["Content"] == "variables"
    cli.environ["CAISSON_DEPLOYMENT"] = "app"
    cli.environ["BOSH_DEPLOYMENT"] = "other"
    cli.ok("variables")
    assert "Deployment 'third' doesn't exist" in cli("variables", "-d", "third").err


def test_alias_log_in_and_out(cli: Cli) -> None:
    for name in ("BOSH_CLIENT", "BOSH_CLIENT_SECRET"):
        del cli.environ[name]
    cli.ok("alias-env", "here")
    assert cli.ok("envs", "--json").rows == [{"url": cli.environ["BOSH_ENVIRONMENT"], "alias": "here"}]
    cli.environ.update(BOSH_ENVIRONMENT="here", BOSH_CA_CERT="")
    assert "does not know you" in cli("tasks").err
    cli.answers = ["admin", "wrong", "admin", "secret"]
    cli.ok("log-in")
    assert cli.asked == ["Username:", "Password:"] * 2
    cli.ok("tasks")
    config = pathlib.Path(cli.environ["BOSH_CONFIG"])
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    cli.ok("log-out")
    assert "secret" not in config.read_text()
    assert cli("tasks").code == 1
    assert "Did you mean 'here'?" in cli("-e", "heer", "tasks").err
    cli.ok("unalias-env", "here")
    assert cli("unalias-env", "here").code == 1


def test_log_in_with_wrong_client(cli: Cli) -> None:
    cli.environ["BOSH_CLIENT_SECRET"] = "wrong"
    assert "Invalid credentials" in cli("log-in").err


def test_deploy_shows_asks_and_follows(cli: Cli) -> None:
    cli.terminal = True
    cli.answers = ["yes"]
    cli.tasks.scripts["update_deployment"] = Script(
        [
            event("Preparing deployment", "Preparing deployment", "started", 10),
            event("Preparing deployment", "Preparing deployment", "finished", 13),
        ]
    )
    result = cli.ok("-d", "app", "deploy", cli.file("app.yml", MANIFEST), "--no-color", "--fix", "--skip-drain", "--max-in-flight=2")
    assert "+ name: app\n" in result.out
    assert "Task 1 | 00:00:10 | Preparing deployment: Preparing deployment (00:00:03)" in result.out
    assert "Task 1 done" in result.out
    assert cli.asked == ["Continue? [yN]:"]
    ((kind, arguments),) = cli.tasks.created
    assert (kind, arguments["manifest"]) == ("update_deployment", MANIFEST)
    options = arguments["options"]
    assert (options["fix"], options["skip_drain"], options["max_in_flight"]) == (True, "*", "2")
    assert options["context"] == {"cloud_config_ids": [], "runtime_config_ids": []}


def test_deploy_stops_when_told_no(cli: Cli) -> None:
    cli.answers = ["n"]
    result = cli("-d", "app", "deploy", cli.file("app.yml", MANIFEST))
    assert (result.code, cli.tasks.created) == (1, [])
    assert "Stopped" in result.err
    assert cli.world.store.deployments.all() == []


def test_deploy_checks_the_name_with_its_line(cli: Cli) -> None:
    result = cli("-d", "other", "deploy", cli.file("app.yml", "---\nname: app\n"), "-n")
    assert "Expected manifest to specify deployment name 'other' but was 'app'" in result.err
    assert "app.yml:2" in result.err


def test_deploy_sends_the_text_as_it_is_unless_it_changes(cli: Cli) -> None:
    text = "name: app # mine\n"
    cli.ok("-n", "-d", "app", "deploy", cli.file("app.yml", text))
    assert cli.tasks.created[-1][1]["manifest"] == text
    cli.ok("-n", "-d", "app", "deploy", cli.file("app.yml", "name: ((n))\n"), "-v", "n=app")
    assert cli.tasks.created[-1][1]["manifest"] == "name: app\n"


def test_dry_run_writes_nothing(cli: Cli) -> None:
    result = cli.ok("-d", "app", "deploy", cli.file("app.yml", MANIFEST), "--dry-run")
    assert "+ web/0  new" in result.out
    assert (cli.tasks.created, cli.world.store.deployments.all()) == ([], [])
    found = json.loads(cli.ok("-d", "app", "deploy", cli.file("app.yml", MANIFEST), "--dry-run", "--json").json["Blocks"][-1])
    assert found == {"changes": [{"action": "create"}]}


def test_all_diagnostics_are_shown(cli: Cli) -> None:
    cli.world.plan_error = ManifestError(
        Diagnostic("Unknown network 'x'", where=Where("manifest", 7, "instance_groups/web"), suggestion="Did you mean 'y'?"),
        Diagnostic("Unknown AZ 'z'"),
    )
    result = cli("-d", "app", "deploy", cli.file("app.yml", MANIFEST), "--dry-run")
    assert "Unknown network 'x' (manifest:7 instance_groups/web)\n  -> Did you mean 'y'?\nUnknown AZ 'z'" in result.err


def test_failing_tasks_end_with_1(cli: Cli) -> None:
    cli.tasks.scripts["update_deployment"] = Script(
        [{"time": 5, "error": {"code": 400007, "message": "web is not running"}}], state="error"
    )
    result = cli("-n", "-d", "app", "deploy", cli.file("app.yml", MANIFEST))
    assert result.code == 1
    assert "Error: web is not running" in result.out
    assert "Expected task '1' to succeed but state is 'error'" in result.err


def test_ctrl_c_leaves_the_task_and_says_how_to_follow_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: Any) -> str:
        raise KeyboardInterrupt

    cli.tasks.scripts["update_deployment"] = Script(state="queued")
    monkeypatch.setattr(follow, "_watch", interrupted)
    result = cli("-n", "-d", "app", "deploy", cli.file("app.yml", MANIFEST))
    assert result.code == 130
    assert "Task 1 goes on. Follow it with 'caisson task 1', end it with 'caisson cancel-task 1'." in result.err
    assert cli.world.store.tasks.get(1).state == "queued"


def test_ctrl_c_for_real(cli: Cli) -> None:
    import os
    import signal
    import subprocess
    import sys

    cli.tasks.scripts["update_deployment"] = Script(state="queued")
    number = cli.tasks.create(kind="update_deployment", arguments={}, description="x")
    cli.tasks.write(number, "event", json.dumps(event("Preparing deployment", "Preparing deployment", "started", 10)) + "\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from director.cli import main; main.main()"
    environ = {**os.environ, **cli.environ}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "task", str(number)], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"Task {number} goes on. Follow it with 'caisson task {number}'" in err


def test_deploy_flags_from_configs(cli: Cli) -> None:
    cli.world.store.configs.save("deploy", "default", "flags: [fix, recreate]\ninclude: [app]\n")
    cli.ok("-n", "-d", "app", "deploy", cli.file("app.yml", MANIFEST))
    options = cli.tasks.created[-1][1]["options"]
    assert (options["fix"], options["recreate"]) == (True, True)
    cli.ok("-n", "-d", "other", "deploy", cli.file("other.yml", "name: other\n"))
    assert cli.tasks.created[-1][1]["options"]["fix"] is False


def test_state_changes(cli: Cli) -> None:
    cli.world.store.deployments.ensure("app")
    cli.environ["BOSH_DEPLOYMENT"] = "app"
    cli.ok("-n", "stop", "web", "--hard", "--skip-drain", "--canaries=1")
    kind, arguments = cli.tasks.created[-1]
    assert (kind, arguments["group"], arguments["state"], arguments["options"]["skip_drain"]) == ("change_state", "web", "detached", "web")
    cli.ok("-n", "recreate", "--fix")
    assert (cli.tasks.created[-1][1]["group"], cli.tasks.created[-1][1]["state"]) == ("", "recreate")
    for name, state in (("start", "started"), ("restart", "restart")):
        cli.ok("-n", name, "web")
        assert cli.tasks.created[-1][1]["state"] == state
    assert "needs one instance" in cli("-n", "stop", "web", "--no-converge").err
    assert "cannot be used with --no-converge" in cli("-n", "stop", "web/0", "--no-converge", "--canaries=1").err
    assert "to be INSTANCE-GROUP" in cli("-n", "stop", "a/b/c").err


def test_run_errand(cli: Cli) -> None:
    cli.world.store.deployments.ensure("app")
    cli.world.store.deployments.update("app", resolved={"instance_groups": [{"name": "smoke", "lifecycle": "errand"}]})
    answer = {
        "instance": {"group": "smoke", "id": UUID},
        "errand_name": "smoke",
        "exit_code": 0,
        "stdout": "fine",
        "stderr": "",
        "logs": None,
    }
    cli.tasks.scripts["run_errand"] = Script(result=json.dumps(answer) + json.dumps({**answer, "exit_code": 3}))
    result = cli("-d", "app", "run-errand", "smoke", "--instance", "smoke/first", "--keep-alive", "--json")
    assert result.code == 1
    assert result.rows == [
        {"instance": f"smoke/{UUID}", "exit_code": "0", "stdout": "fine", "stderr": ""},
        {"instance": f"smoke/{UUID}", "exit_code": "3", "stdout": "fine", "stderr": ""},
    ]
    assert "Errand 'smoke' completed with error (exit code 3)" in result.json["Lines"]
    assert cli.tasks.created[-1][1] == {
        "errand": "smoke",
        "keep_alive": True,
        "when_changed": False,
        "instances": [{"group": "smoke", "id": "first"}],
    }
    cli.tasks.scripts["run_errand"] = Script()
    cli.ok("-d", "app", "run-errand", "smoke")
    assert cli.ok("-d", "app", "errands", "--json").rows == [{"name": "smoke"}]
    assert "Did you mean 'smoke'?" in cli("-d", "app", "run-errand", "smok").err


def test_tasks(cli: Cli) -> None:
    cli.tasks.scripts["delete_deployment"] = Script(state="queued")
    cli.world.store.deployments.ensure("app")
    cli.tasks.create(kind="delete_deployment", arguments={}, description="delete deployment app", deployment="app", user="admin")
    cli.tasks.create(kind="ssh", arguments={}, description="ssh", deployment="app")
    table = cli.ok("tasks", "--json").json["Tables"][0]
    assert table["Rows"] == [
        {
            "id": "1",
            "state": "queued",
            "started_at": "-",
            "finished_at": "-",
            "user": "admin",
            "deployment": "app",
            "description": "delete deployment app",
            "result": "",
        }
    ]
    assert [row["id"] for row in cli.ok("tasks", "-r", "--json").rows] == ["1"]
    assert [row["id"] for row in cli.ok("tasks", "--recent=1", "--all", "--json").rows] == ["2"]
    cli.ok("cancel-task", "1")
    assert cli.world.store.tasks.get(1).state == "cancelling"
    assert "invalid state (done)" in cli("cancel-task", "2").err
    assert "Task 99 not found" in cli("cancel-task", "99").err
    cli.ok("cancel-tasks")


def test_task(cli: Cli) -> None:
    assert "No task found" in cli("task").err
    number = cli.tasks.create(kind="update_deployment", arguments={}, description="x")
    cli.tasks.write(number, "debug", "all of it\n")
    assert "all of it" in cli.ok("task", str(number), "--debug").out
    cli.ok("task", str(number))


def test_a_reader_that_goes_away_is_no_traceback(offline: Cli) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m director.cli.main docs instance_group | true"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_ignore_and_unignore(cli: Cli) -> None:
    cli.world.store.deployments.ensure("app")
    cli.world.store.instances.add(InstanceRow(UUID, "app", "web", 0))
    for verb, ignored in (("ignore", True), ("unignore", False)):
        cli.ok("-d", "app", verb, "web/0")
        assert cli.world.store.instances.get(UUID).ignored is ignored
    assert "nope" in cli("-d", "app", "ignore", "nope/0").err
