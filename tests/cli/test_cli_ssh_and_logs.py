"""The system's `ssh` is replaced by a script that writes down how it was called."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from cli_world import Cli, Script

from director.cli import remote
from director.errors import UsageError
from director.state.instances import InstanceRow

UUID = "aaaaaaaa-1111-2222-3333-444444444444"
OTHER = UUID.replace("a", "b")

FAKE = """#!/bin/sh
key=$(printf '%s\\n' "$@" | sed -n 's/^IdentityFile=//p')
known=$(printf '%s\\n' "$@" | sed -n 's/^UserKnownHostsFile=//p')
{ printf '%s ' "$@"; echo; stat -c 'mode %a' "$key"; cat "$known"; } >>"$CALLS"
echo hello; echo trouble >&2
for last; do :; done
case "$last" in fail) exit 7;; esac
"""


def row(identity: str, index: int, **more: object) -> dict[str, object]:
    return {
        "command": "setup", "status": "success", "ip": f"10.0.0.{index}", "host_public_key": f"ssh-ed25519 KEY{index}", "id": identity,
        "index": index, "job": "web", **more,
    }  # fmt: skip


@pytest.fixture
def web(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    binaries = cli.folder / "bin"
    binaries.mkdir()
    (binaries / "ssh").write_text(FAKE)
    (binaries / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(cli.folder / "calls"))
    cli.world.store.deployments.ensure("app")
    cli.world.store.instances.add(InstanceRow(UUID, "app", "web", 0))
    cli.world.store.instances.add(InstanceRow(OTHER, "app", "web", 1))
    cli.tasks.scripts["ssh"] = Script(result=json.dumps([row(UUID, 0)]) + "\n")
    cli.environ["BOSH_DEPLOYMENT"] = "app"
    return cli


def calls(cli: Cli) -> str:
    return (cli.folder / "calls").read_text()


def test_a_terminal_on_one_instance(web: Cli) -> None:
    web.ok("ssh", "web/0", "--opts=-v")
    text = calls(web)
    assert text.startswith("-tt -o ServerAliveInterval=30 ")
    assert "StrictHostKeyChecking=yes" in text
    assert " -v " in text
    assert "mode 600" in text
    assert "10.0.0.0 ssh-ed25519 KEY0" in text
    (setup, given), (cleanup, taken) = web.tasks.created
    assert (setup, cleanup) == ("ssh", "ssh")
    assert given["target"] == {"job": "web", "ids": ["0"]}
    assert given["user"].startswith("bosh_")
    assert len(given["user"]) == 20
    assert given["public_key"].startswith("ssh-rsa ")
    assert taken["user_regex"] == f"^{given['user']}"
    assert f"-l {given['user']} 10.0.0.0" in text
    assert "PRIVATE KEY" not in text


def test_the_key_is_gone_afterwards(web: Cli) -> None:
    web.ok("ssh", "web/0")
    key = next(word for word in calls(web).split() if word.startswith("IdentityFile=")).partition("=")[2]
    assert not pathlib.Path(key).parent.exists()


def test_a_command_on_many(web: Cli) -> None:
    web.tasks.scripts["ssh"] = Script(result=json.dumps([row(UUID, 0), row(OTHER, 1)]))
    out = web.ok("ssh", "web", "-c", "uptime").out
    assert f"web/{UUID}: stdout | hello\n" in out
    assert f"web/{OTHER}: stderr | trouble\n" in out
    rows = web.ok("ssh", "-c", "uptime", "-r", "--json").rows
    assert [(item["instance"], item["stdout"]) for item in rows] == [(f"web/{UUID}", "hello\n"), (f"web/{OTHER}", "hello\n")]
    assert {item["exit_code"] for item in rows} == {"0"}
    assert "only works for a single host" in web("ssh", "web").err


def test_failing_commands(web: Cli) -> None:
    result = web("ssh", "web/0", "-c", "fail")
    assert result.code == 1
    assert f"web/{UUID}: exit code 7" in result.err
    assert [kind for kind, _ in web.tasks.created] == ["ssh", "ssh"]


def test_an_instance_that_failed_ends_it_all_and_cleans_up(web: Cli) -> None:
    web.tasks.scripts["ssh"] = Script(result=json.dumps([row(UUID, 0), row(OTHER, 1, status="failure")]))
    result = web("ssh", "web", "-c", "uptime")
    assert f"web/{OTHER}" in result.err
    assert not (web.folder / "calls").exists()
    assert web.tasks.created[-1][1]["command"] == "cleanup"


def test_nothing_to_log_in_to(web: Cli) -> None:
    web.tasks.scripts["ssh"] = Script(result="[]")
    assert "No instance to log in to" in web("ssh", "web").err


def test_another_port_is_pinned_with_its_port(web: Cli) -> None:
    web.tasks.scripts["ssh"] = Script(result=json.dumps([row(UUID, 0, port=2222)]))
    web.ok("ssh", "web/0")
    assert "-p 2222 " in calls(web)
    assert "[10.0.0.0]:2222 ssh-ed25519 KEY0" in calls(web)


def test_gateways(web: Cli) -> None:
    web.ok("ssh", "web/0", "--gw-host", "jump", "--gw-user", "me")
    assert "ProxyCommand=ssh -W %h:%p -o PasswordAuthentication=no -l me jump" in calls(web)
    web.tasks.scripts["ssh"] = Script(result=json.dumps([row(UUID, 0, gateway_host="1.2.3.4", gateway_user="vcap")]))
    (web.folder / "calls").unlink()
    web.ok("ssh", "web/0", "--gw-disable")
    assert "ProxyCommand" not in calls(web)
    web.ok("ssh", "web/0")
    assert "-l vcap 1.2.3.4" in calls(web)


def test_own_keys_need_no_user(web: Cli) -> None:
    found = {"job_name": "web", "id": UUID, "index": 0, "active": True, "ips": ["10.0.0.9"], "job_state": "running"}
    web.tasks.scripts["fetch_instances"] = Script(result=json.dumps(found) + "\n")
    web.ok("ssh", "web/0", "-i", "/dev/null", "-l", "me")
    assert "-l me 10.0.0.9" in calls(web)
    assert [kind for kind, _ in web.tasks.created] == ["fetch_instances"]


def test_no_ssh_on_this_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="There is no 'ssh' command"):
        remote._need_ssh()


def test_logs_as_an_archive(web: Cli) -> None:
    blob = web.world.blobs.put(b"archive")
    web.tasks.scripts["fetch_logs"] = Script(short=blob.id)
    web.ok("logs", "web/0", "--dir", str(web.folder), "--job", "nginx", "--job", "php")
    (path,) = web.folder.glob("app.web.0-*.tgz")
    assert path.read_bytes() == b"archive"
    assert web.tasks.created[-1][1] == {"group": "web", "id_or_index": "0", "type": "job", "filters": ["nginx/*", "php/*"]}
    web.ok("logs", "--dir", str(web.folder), "--all-logs")
    assert web.tasks.created[-1][1]["type"] == "agent,job,system"


def test_logs_as_they_come(web: Cli) -> None:
    out = web.ok("logs", "web/0", "-f", "--num", "5", "--job", "my job").out
    assert f"web/{UUID}: stdout | hello\n" in out
    text = calls(web)
    assert "exec tail -F -n 5" in text
    assert "/var/vcap/sys/log/" in text
    assert "my job" in text
    assert "--job goes with" in web("logs", "-f", "--job", "a", "--system").err
