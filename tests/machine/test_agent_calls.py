"""The typed calls over a session that remembers; keys; the pool."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from director.errors import AgentError, HostKeyChanged, Unreachable
from director.machine import keys, package
from director.machine.agent import SMALL_BYTES, Agent, Cancel, Dependency, bare, blobs_of, sha256_of
from director.machine.endpoint import Endpoint
from director.machine.machines import Machines


class Remembering:
    """A session; `answers` maps actions to results."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}
        self.is_alive = True
        self.host_public_key = "ssh-ed25519 A"

    def call(
        self, action: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 45.0,
        on_progress: Callable[[dict[str, Any]], None] | None = None, cancel: Cancel | None = None,
    ) -> Any:
        self.calls.append((action, dict(arguments or {})))
        if on_progress is not None:
            on_progress({"stream": "stdout", "text": "words"})
        return self.answers.get(action)

    def put_file(self, source: Path | bytes, target: str) -> str:
        self.files[target] = source if isinstance(source, bytes) else source.read_bytes()
        return hashlib.sha256(self.files[target]).hexdigest()

    def get_file(self, path: str, target: Path) -> str:
        target.write_bytes(self.files[path])
        return hashlib.sha256(self.files[path]).hexdigest()

    def close(self) -> None:
        self.is_alive = False


def test_state_is_typed() -> None:
    agent = Agent(Remembering(get_state={
        "agent_id": "a", "job_state": "failing", "spec": {"x": 1}, "configuration_hash": "h", "disks": ["d"],
        "boot_id": "b", "dns_version": 3, "agent_digest": "e", "hostname": "n", "bootstrapped": "s", "vitals": None,
        "processes": [
            {"name": "web", "state": "running", "uptime": {"secs": 5}, "mem": {"kb": 10, "percent": 0.5}, "cpu": {"total": 1.5}},
            {"name": "worker", "state": "unknown", "uptime": {}, "mem": {"percent": 0.0}, "cpu": {"total": 0.0}},
        ],
    }))
    state = agent.get_state()
    assert (state.not_running, state.disks, state.dns_version, state.vitals) == (("worker",), ("d",), 3, {})
    assert (state.processes[0].uptime_seconds, state.processes[0].memory_kib, state.processes[0].cpu_percent) == (5, 10, 1.5)


def test_blobs_are_uploaded_beside_and_moved_by_the_machine() -> None:
    session = Remembering()
    content = bytes(SMALL_BYTES + 1)
    Agent(session).put_blob(content, sha256_of(content))
    ((action, arguments),) = session.calls
    (upload,) = session.files
    digest = hashlib.sha256(content).hexdigest()
    assert action == "store_file"
    assert arguments == {
        "upload": upload, "target": f"/var/vcap/data/blobs/{digest}", "digest": digest, "mode": 0o600, "size": len(content)}


@pytest.mark.parametrize("as_file", [False, True])
def test_small_blobs_go_with_the_request(tmp_path: Path, as_file: bool) -> None:
    session = Remembering()
    (tmp_path / "blob").write_bytes(b"data")
    Agent(session).put_blob(tmp_path / "blob" if as_file else b"data", sha256_of(b"data"))
    digest = hashlib.sha256(b"data").hexdigest()
    arguments = {"data": "ZGF0YQ==", "target": f"/var/vcap/data/blobs/{digest}", "digest": digest, "mode": 0o600}
    assert session.calls == [("write_file", arguments)]
    assert session.files == {}


def test_a_fetched_file_with_the_wrong_digest_is_not_kept(tmp_path: Path) -> None:
    session = Remembering()
    session.files["/x"] = b"data"
    Agent(session).get_file("/x", tmp_path / "x", sha256_of(b"data"))
    with pytest.raises(AgentError, match="Checksum mismatch"):
        Agent(session).get_file("/x", tmp_path / "x", sha256_of(b"other"))
    assert not (tmp_path / "x").exists()


def test_errand_and_compile_stream() -> None:
    said: list[tuple[str, str]] = []
    session = Remembering(
        run_errand={"exit_code": 3, "stdout": "o", "stderr": "e"}, compile_package={"path": "/p", "digest": "sha256:x", "size": 9},
    )
    agent = Agent(session)
    assert agent.run_errand("e", on_output=lambda *words: said.append(words)).exit_code == 3
    assert agent.compile_package("p", "1.1", "sha256:s", [Dependency("d", "1.1", "sha256:d")]).size == 9
    assert said == [("stdout", "words")]
    assert [arguments["stream"] for _, arguments in session.calls] == [True, False]


@pytest.mark.parametrize(
    ("text", "hexadecimal"), [("sha256:ab", "ab"), ("ab", "ab"), ("0123;sha256:ab;sha512:cd", "ab")],
)
def test_bare(text: str, hexadecimal: str) -> None:
    assert bare(text) == hexadecimal


def test_blobs_of_a_spec() -> None:
    spec = {"rendered_templates_archive": {"sha256": "r"}, "packages": {"p": {"sha1": "sha256:a"}, "q": {"sha1": "sha256:a"}}}
    assert blobs_of(spec) == ("r", "a")
    assert blobs_of({}) == ()


def test_package_is_named_by_its_sources(tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "inner/__main__.py").write_text("x = 1\n")
    first = package.build(folder)
    (folder / "__init__.py").touch()
    (folder / "notes.txt").write_text("not packed")
    assert package.build(folder) == first
    with zipfile.ZipFile(BytesIO(first.data)) as archive:
        sources = [name for name in archive.namelist() if name.endswith(".py")]
    assert sources == ["__main__.py", "thing/__init__.py", "thing/inner/__main__.py"]
    (folder / "__init__.py").write_text("y = 2\n")
    assert package.build(folder).digest != first.digest


def test_a_machine_with_our_python_need_not_compile(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/__init__.py").write_text("")
    (tmp_path / "thing/__main__.py").write_text("def main():\n    print('compiled before')\n")
    made = package.build(tmp_path / "thing")
    broken = tmp_path / "broken.pyz"
    with zipfile.ZipFile(BytesIO(made.data)) as archive, zipfile.ZipFile(broken, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name) if name.endswith(".pyc") else b"raise SystemExit('compiled on the machine')")
    run = subprocess.run([sys.executable, "-IS", str(broken)], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("compiled before\n", "")


def test_keys_are_openssh_and_fingerprinted_like_ssh_keygen() -> None:
    key = keys.generate()
    assert key.public_line.startswith("ssh-ed25519 ")
    assert key.private_pem.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert key.private_pem not in repr(key)
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILEn40JJIWd1tZLeBHa4dEVyQOZ3VIlVI5QXCOz6V346"
    assert keys.fingerprint(line) == "SHA256:vSCG1Xj7bOuCklaAtldAxhjWqV2vYUwtc6mFpklC4D0"


def endpoint(cid: str) -> Endpoint:
    return Endpoint(cid, "10.0.0.1", "ssh-ed25519 A")


def test_the_pool_keeps_replaces_and_forgets() -> None:
    sessions: list[Remembering] = []

    def connect(wanted: Endpoint) -> Agent:
        sessions.append(Remembering())
        return Agent(sessions[-1])

    machines = Machines(connect)
    first = machines.get(endpoint("a"))
    assert machines.get(endpoint("a")) is first
    sessions[0].is_alive = False
    assert machines.get(endpoint("a")) is not first
    machines.get(endpoint("b"))
    machines.forget("a")
    machines.forget("unknown")
    assert [session.is_alive for session in sessions] == [False, False, True]
    machines.close()
    assert not sessions[2].is_alive


def test_one_slow_machine_does_not_hold_up_others_and_is_dialled_once() -> None:
    slow = threading.Event()
    dialled: list[str] = []

    def connect(wanted: Endpoint) -> Agent:
        dialled.append(wanted.cid)
        if wanted.cid == "slow":
            slow.wait(5)
        return Agent(Remembering())

    machines = Machines(connect)
    threads = [threading.Thread(target=machines.get, args=(endpoint("slow"),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    machines.get(endpoint("fast"))
    slow.set()
    for thread in threads:
        thread.join(5)
    assert sorted(dialled) == ["fast", "slow"]


@pytest.mark.parametrize("error", [Unreachable("gone"), HostKeyChanged("other")])
def test_a_failed_dial_is_told_and_tried_again_next_time(error: Exception) -> None:
    answers: list[Exception | Agent] = [error, Agent(Remembering())]

    def connect(wanted: Endpoint) -> Agent:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    machines = Machines(connect)
    with pytest.raises(type(error)):
        machines.get(endpoint("a"))
    assert machines.get(endpoint("a")).is_alive
