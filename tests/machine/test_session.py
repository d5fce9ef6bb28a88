"""Sessions against an SSH server in this process, whose `exec` runs real commands: the agent at the other end is the real one."""

from __future__ import annotations

import dataclasses
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from director.errors import AgentError, Cancelled, HostKeyChanged, MachineError, Unreachable
from director.machine import keys, package, session
from director.machine.agent import sha256_of
from director.machine.endpoint import Endpoint

AGENT = '''
import json, sys, time
def main():
    print(json.dumps({"hello": {"protocol": 1}}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "cancel" in message:
            print(json.dumps({"id": held, "error": {"message": "cancelled", "kind": "cancelled", "output": ""}}), flush=True)
            continue
        number, action = message["id"], message["action"]
        if action == "hold":
            held = number
            print(json.dumps({"id": number, "progress": {"n": 1}}), flush=True)
        elif action == "die":
            sys.exit(3)
        elif action == "full":
            print(json.dumps({"id": number, "error": {"message": "No space left", "kind": "disk_full", "output": ""}}), flush=True)
        else:
            print(json.dumps({"id": number, "result": message["arguments"]}), flush=True)
'''


class Server(paramiko.ServerInterface):
    def __init__(self, key: str, refusals: list[str]) -> None:
        self.key = key
        self.refusals = refusals

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if self.refusals:
            self.refusals.pop()
            return paramiko.AUTH_FAILED
        return paramiko.AUTH_SUCCESSFUL if f"{key.get_name()} {key.get_base64()}" == self.key else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=run, args=(channel, command.decode()), daemon=True).start()
        return True


def run(channel: paramiko.Channel, command: str) -> None:
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None

    def feed(stdin: Any) -> None:
        try:
            while piece := channel.recv(65536):
                stdin.write(piece)
        except OSError:
            pass
        finally:
            stdin.close()

    threading.Thread(target=feed, args=(process.stdin,), daemon=True).start()
    with process.stdout, process.stderr:
        while piece := process.stdout.read(65536):
            channel.sendall(piece)
        channel.sendall_stderr(process.stderr.read())
    channel.send_exit_status(process.wait())
    channel.close()


@dataclasses.dataclass
class World:
    endpoint: Endpoint
    login: keys.KeyPair
    refusals: list[str]
    transports: list[paramiko.Transport]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    login, host = keys.generate(), keys.generate()
    listener = socket.create_server(("127.0.0.1", 0))
    made = World(Endpoint("vm-1", "127.0.0.1", host.public_line, listener.getsockname()[1], "root"), login, [], [])
    host_key = paramiko.Ed25519Key.from_private_key(io.StringIO(host.private_pem))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=Server(login.public_line, made.refusals))
            made.transports.append(transport)

    threading.Thread(target=serve, daemon=True).start()
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text(AGENT)
    packed = package.build(folder)
    monkeypatch.setattr(package, "agent", lambda: packed)
    monkeypatch.setattr(session, "BIN", str(tmp_path / "bin"))
    monkeypatch.setattr(session, "PYTHON", f"{sys.executable} -I")
    yield made
    listener.close()
    for transport in made.transports:
        transport.close()


def dial(world: World, **changes: Any) -> session.Session:
    endpoint = dataclasses.replace(world.endpoint, **changes)
    return session.connect(endpoint, world.login.private_pem, wait_seconds=5, sleep=lambda seconds: None)


def test_the_agent_is_pushed_once_and_speaks(world: World, tmp_path: Path) -> None:
    for _ in range(2):
        opened = dial(world)
        assert opened.call("echo", {"a": "é"}) == {"a": "é"}
        opened.close()
    assert [path.name for path in (tmp_path / "bin").iterdir()] == [f"agent-{package.agent().digest}.pyz"]


def test_a_machine_with_another_python_gets_the_agent_unpacked(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(package, "MAGIC", b"oth\r")
    monkeypatch.setattr(package, "COMPILED_BY", "cpython-30")
    for _ in range(2):
        opened = dial(world)
        assert opened.call("echo", {"a": "é"}) == {"a": "é"}
        opened.close()
    digest = package.agent().digest
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == [f"agent-{digest}", f"agent-{digest}.pyz"]
    assert list((tmp_path / "bin").rglob("__main__.*.pyc")), "the machine's Python keeps what it compiled"


def test_another_host_key_is_refused_before_logging_in(world: World) -> None:
    other = keys.generate()
    with pytest.raises(HostKeyChanged) as caught:
        dial(world, host_public_key=other.public_line)
    assert keys.fingerprint(other.public_line) in str(caught.value)
    assert keys.fingerprint(world.endpoint.host_public_key) in str(caught.value)
    opened = dial(world, host_public_key=other.public_line, next_host_public_key=world.endpoint.host_public_key)
    assert opened.host_public_key == world.endpoint.host_public_key
    opened.close()


def test_the_first_key_of_a_machine_that_took_none_of_ours_is_taken_once(world: World) -> None:
    opened = dial(world, host_public_key="", trust_first=True)
    assert opened.host_public_key == world.endpoint.host_public_key
    opened.close()
    with pytest.raises(HostKeyChanged):
        dial(world, host_public_key=keys.generate().public_line, trust_first=True)


def test_a_machine_that_boots_refuses_logins_for_a_while(world: World) -> None:
    world.refusals += ["booting"] * 3
    dial(world).close()
    assert world.refusals == []


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(Unreachable, match=f"cannot be reached at 127.0.0.1:{port}") as caught:
        session.connect(
            Endpoint("vm-1", "127.0.0.1", keys.generate().public_line, port), keys.generate().private_pem, wait_seconds=60,
            clock=lambda: now[0], sleep=sleep,
        )
    assert "refused" in caught.value.diagnostics[0].detail
    assert caught.value.diagnostics[0].suggestion
    assert 55 < now[0] <= 60


def test_the_wrong_login_key(world: World) -> None:
    world.login = keys.generate()
    now = iter(range(100))
    with pytest.raises(Unreachable, match=r"login of user 'root' by key was refused"):
        session.connect(world.endpoint, world.login.private_pem, wait_seconds=3, clock=lambda: next(now), sleep=lambda seconds: None)


def test_cancelled_while_dialling() -> None:
    cancel = threading.Event()
    cancel.set()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Cancelled):
        session.connect(Endpoint("vm-1", "127.0.0.1", keys.generate().public_line, port), keys.generate().private_pem, cancel=cancel)


def test_many_calls_at_once_get_their_own_answers(world: World) -> None:
    opened = dial(world)
    got: dict[int, Any] = {}

    def call(number: int) -> None:
        got[number] = opened.call("echo", {"n": number})

    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert got == {number: {"n": number} for number in range(20)}
    opened.close()


def test_progress_cancel_and_timeout(world: World) -> None:
    opened = dial(world)
    cancel = threading.Event()
    seen: list[Any] = []

    def progress(message: dict[str, Any]) -> None:
        seen.append(message)
        cancel.set()

    with pytest.raises(Cancelled):
        opened.call("hold", on_progress=progress, cancel=cancel)
    assert seen == [{"n": 1}]
    with pytest.raises(Unreachable, match="Timed out sending 'hold' to machine 'vm-1' after 0 seconds"):
        opened.call("hold", timeout=0.1)
    with pytest.raises(AgentError, match="No space left") as caught:
        opened.call("full")
    assert "bigger disk" in caught.value.diagnostics[0].suggestion
    opened.close()


@pytest.mark.parametrize("how", ["agent", "connection"])
def test_a_lost_connection_ends_all_that_waits(world: World, how: str) -> None:
    opened = dial(world)
    assert opened.call("echo") == {}
    failed: list[BaseException] = []
    waiting = threading.Event()

    def call() -> None:
        try:
            opened.call("hold", on_progress=lambda message: waiting.set())
        except Unreachable as error:
            failed.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert waiting.wait(5)
    if how == "agent":
        with pytest.raises(Unreachable):
            opened.call("die")
    else:
        world.transports[-1].close()
    thread.join(5)
    assert len(failed) == 1
    assert not opened.is_alive
    with pytest.raises(Unreachable):
        opened.call("echo")
    opened.close()


def test_an_image_that_lacks_something(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PYTHON", "no-such-python3")
    monkeypatch.setattr(session, "SFTP_SERVERS", ("/no/such/sftp-server",))
    opened = dial(world)
    with pytest.raises(MachineError, match="Files cannot be copied") as lacking:
        opened.put_file(b"x", "/x")
    assert lacking.value.diagnostics[0].detail == "no sftp-server"
    with pytest.raises(AgentError, match="cannot be started") as caught:
        opened.call("echo")
    assert "Python 3.8" in caught.value.diagnostics[0].suggestion
    opened.close()


def test_files_are_fetched_whole_or_not_at_all(world: World, tmp_path: Path) -> None:
    opened = dial(world)
    data = bytes(range(256)) * 40000
    (tmp_path / "there").write_bytes(data)
    assert "sha256:" + opened.get_file(str(tmp_path / "there"), tmp_path / "back") == sha256_of(data)
    assert (tmp_path / "back").read_bytes() == data
    with pytest.raises(MachineError, match="No such file"):
        opened.get_file(str(tmp_path / "none"), tmp_path / "back2")
    assert not (tmp_path / "back2").exists()
    assert not (tmp_path / "back2.part").exists()
    assert opened.run("echo out; echo err >&2; exit 4") == (4, "out\n", "err\n")
    opened.close()
