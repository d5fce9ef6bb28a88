"""ssh users, DNS records, logs: the agent contract, sections 5.5 to 5.7 and rows of section 8."""

from __future__ import annotations

import json
import pwd
import re
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest

from director.guest.agent.actions import fetch_logs, ssh, sync_dns, tail_logs
from director.guest.agent.errors import ActionError, InvalidArguments

from .conftest import Machine


@pytest.mark.parametrize(
    ("pattern", "removed"),
    [(".*", ["bosh_a", "bosh_b"]), ("^bosh_a$", ["bosh_a"]), ("vcap|root", []), ("b$", ["bosh_b"])],
)
def test_cleanup_removes_only_users_made_for_people(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, pattern: str, removed: list[str],
) -> None:
    names = ["root", "vcap", "bosh_a", "bosh_b", "xbosh_c", "bosh"]
    monkeypatch.setattr(pwd, "getpwall", lambda: [SimpleNamespace(pw_name=name) for name in names])
    assert ssh.run(machine.call(), "cleanup", user_regex=pattern) == {"command": "cleanup", "status": "success"}
    assert [command[-1] for command in machine.shell.ran] == removed


def test_setup_makes_the_user_and_tells_where_to_log_in(machine: Machine) -> None:
    layout = machine.host.layout
    networks = {"first": {"ip": "10.0.0.1"}, "second": {"ip": "10.0.0.2", "default": ["dns", "gateway"]}}
    machine.spec(networks=networks)
    layout.etc("ssh").mkdir(parents=True)
    layout.etc("ssh/ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA root@machine\n")
    made = ssh.run(machine.call(), "setup", user="bosh_abc", public_key="ssh-ed25519 BBBB me\n")
    assert made == {"command": "setup", "status": "success", "ip": "10.0.0.2", "host_public_key": "ssh-ed25519 AAAA"}
    assert machine.shell.ran[0][:3] == ["useradd", "-m", "-d"]
    assert "vcap,admin,bosh_sudoers,bosh_sshers" in machine.shell.ran[0]
    keys = layout.vcap / "bosh_ssh/bosh_abc/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 BBBB me\n"
    assert keys.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("user", ["root", "vcap", "bosh", "bosh_../x", "bosh_a b", "bosh_" + "x" * 40, "bosh_\nx"])
def test_other_users_are_refused(machine: Machine, user: str) -> None:
    with pytest.raises(InvalidArguments):
        ssh.run(machine.call(), "setup", user=user, public_key="ssh-ed25519 A")
    assert machine.shell.ran == []


@pytest.mark.parametrize("key", ["", "a\nb"])
def test_a_key_is_one_line(machine: Machine, key: str) -> None:
    with pytest.raises(InvalidArguments):
        ssh.run(machine.call(), "setup", user="bosh_a", public_key=key)


def test_a_broken_expression_is_told(machine: Machine) -> None:
    with pytest.raises(ActionError, match="no regular expression"):
        ssh.run(machine.call(), "cleanup", user_regex="(")
    assert ssh.matching(["bosh_a"], re.compile("a")) == ["bosh_a"]


def records(version: int, *pairs: list[str]) -> str:
    return json.dumps({"version": version, "records": list(pairs)})


def test_records_and_hosts_are_written(machine: Machine) -> None:
    layout = machine.host.layout
    layout.settings.write_text(json.dumps({"agent_id": "agent-1", "networks": {"n": {"ip": "10.0.0.5"}}}))
    assert sync_dns.run(machine.call(), records(7, ["10.0.0.6", "b.g.n.d.bosh"]), 7) == "synced"
    hosts = layout.etc("hosts").read_text().splitlines()
    assert hosts[0] == "127.0.0.1 localhost"
    assert hosts[-2:] == ["10.0.0.5 agent-1", "10.0.0.6 b.g.n.d.bosh"]
    assert json.loads(layout.records.read_text())["version"] == 7
    assert layout.records.stat().st_mode & 0o777 == 0o640


def test_older_records_change_nothing(machine: Machine) -> None:
    sync_dns.run(machine.call(), records(7), 7)
    assert sync_dns.run(machine.call(), "not even read", 5) == "synced"
    assert sync_dns.run(machine.call(), "not even read", 7) == "synced"
    assert json.loads(machine.host.layout.records.read_text())["version"] == 7


def test_records_of_another_version_are_refused(machine: Machine) -> None:
    with pytest.raises(ActionError, match="version from unpacked dns blob does not match version supplied by director"):
        sync_dns.run(machine.call(), records(6), 7)
    assert not machine.host.layout.records.exists()


def packed(machine: Machine, types: str, filters: list[str]) -> list[str]:
    result = fetch_logs.run(machine.call(), types, filters)
    with tarfile.open(machine.root / result["path"][1:]) as archive:
        return sorted(archive.getnames())


@pytest.fixture
def logs(machine: Machine) -> Machine:
    for name, text in {"a/a.log": "1\n2\n3\n", "a/deep/b.log": "x\n", "a/c.txt": "y\n", "z/empty.log": ""}.items():
        path = machine.host.layout.log / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (machine.host.layout.log / "a/way").symlink_to("/etc/passwd")
    return machine


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["./a/a.log", "./a/c.txt", "./a/deep/b.log", "./z/empty.log"]),
        (["a/*.log"], ["./a/a.log"]),
        (["**/*.log"], ["./a/a.log", "./a/deep/b.log", "./z/empty.log"]),
        (["**/*.log", "a/*"], ["./a/a.log", "./a/c.txt", "./a/deep/b.log", "./z/empty.log"]),
        (["../../../etc/*", "/etc/passwd"], []),
    ],
)
def test_job_logs_by_filter(logs: Machine, filters: list[str], names: list[str]) -> None:
    assert packed(logs, "job", filters) == names


def test_several_types_in_one_archive(logs: Machine) -> None:
    agent = logs.host.layout.agent_log
    agent.parent.mkdir(parents=True, exist_ok=True)
    agent.write_text("x")
    system = logs.root / "var/log/syslog"
    system.parent.mkdir(parents=True, exist_ok=True)
    system.write_text("y")
    assert packed(logs, "agent,system", []) == ["./current", "./var/log/syslog"]


def test_unknown_types(logs: Machine) -> None:
    with pytest.raises(ActionError, match="Invalid log type"):
        fetch_logs.run(logs.call(), "foo", [])
    assert list(logs.host.layout.tmp.iterdir()) == []


def test_the_last_lines_of_logs_that_say_something(logs: Machine) -> None:
    logs.spec("a", "z")
    told: dict[str, Any] = tail_logs.run(logs.call(), [], 2)
    assert told == {"a/a.log": "2\n3", "a/deep/b.log": "x"}
    assert tail_logs.run(logs.call(), ["z", "../../etc"], 2) == {}
