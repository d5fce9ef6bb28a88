"""Records on their way: deltas, the director's word, what a machine keeps, and what its resolver keeps out.

Source: DNS contract, sections 1 and 2; agent contract, section 5.7; "bad input" of issue 5.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from director.execute.dns_keys import Keys
from director.guest.agent.actions import explain_name, sync_dns, sync_names
from director.guest.agent.errors import ActionError
from director.guest.agent.host import Call, Host
from director.guest.dns.loading import BadRecords
from director.guest.dns.loop import Loop
from director.guest.dns.peers.keys import Ring, pair, records_mac
from director.guest.dns.sealed import Seal
from director.guest.dns.sources import FileSource
from director.plan import dns_delta, dns_records
from director.plan.model import NumericIds

AGENT = "Agent-Own"  # ids count without their case, as names do
KEYS = Keys(b"k" * 32)


def document(version: int, names: list[str], aliases: dict[str, Any] | None = None) -> dict[str, Any]:
    entries = [
        dns_records.DnsEntry(f"id-{name}", index, "web", "z1", "default", "app", f"10.0.{index // 250}.{index % 250 + 1}", f"agent-{name}")
        for index, name in enumerate(names)]
    return {**dns_records.records(entries, NumericIds(), version), "aliases": aliases or {}}


def sent(tree: dict[str, Any], known: list[str] = []) -> dict[str, Any]:  # noqa: B006 - never changed
    """What goes with any version: digest, word, ring."""
    text = json.dumps(tree)
    digest = hashlib.sha256(text.encode()).hexdigest()
    speakers = {agent: KEYS.speaker(agent) for agent in dns_delta.agents(tree) if agent not in known}
    return {
        "version": tree["version"], "digest": digest, "word": KEYS.word(AGENT, tree["version"], digest),
        "ring": KEYS.ring(AGENT, speakers)}


@pytest.fixture
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as folder:  # a short path: a socket's may have 107 signs
        made = Host(Path(folder))
        made.layout.instance.mkdir(parents=True)
        (Path(folder) / "etc").mkdir()
        yield made


def whole(host: Host, tree: dict[str, Any]) -> dict[str, Any]:
    return sync_names.run(Call(host), **sent(tree), records=json.dumps(tree))


def changed(host: Host, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    delta = dns_delta.delta(old, new)
    assert delta is not None
    known = [*dns_delta.agents(old)]
    return sync_names.run(Call(host), **sent(new, known), base=old["version"], delta=json.loads(json.dumps(delta)))


def usable(host: Host) -> int:
    """The version that a resolver takes from this machine's files; BadRecords when it takes none."""
    ring = Ring(str(host.layout.ring))
    steps = Seal(ring, str(host.layout.records_word)).reading(host.layout.records.read_text())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return int(end.value.version)


def test_both_sides_make_the_same_keys() -> None:
    """The director and the machines share no code, only this."""
    ring = KEYS.ring("agent-a", {"agent-b": KEYS.speaker("agent-b")})
    assert ring["peers"] == {"agent-b": pair(KEYS.speaker("agent-b"), "agent-a").hex()}
    assert KEYS.word("agent-a", 7, "abc") == records_mac(bytes.fromhex(str(ring["records"])), "agent-a", 7, "abc")
    assert "k" * 8 not in repr(KEYS)


def test_keys_differ_between_machines_and_between_uses() -> None:
    found = [KEYS.ring(name, {"agent-c": KEYS.speaker("agent-c")}) for name in ("agent-a", "agent-b")]
    texts = [str(value) for ring in found for value in (ring["speaker"], ring["records"], ring["peers"]["agent-c"])]  # type: ignore[index]
    assert len(set(texts)) == 6
    assert Keys(b"x" * 32).speaker("agent-a") != KEYS.speaker("agent-a")


def test_a_delta_gives_byte_by_byte_the_whole_document(host: Host) -> None:
    old, new = document(5, ["a", "b", "c"]), document(6, ["a", "x", "c", "d"], {"db.internal": [{"group_id": "7"}]})
    assert whole(host, old) == {"version": 5, "result": "synced", "in_use": None}
    assert changed(host, old, new) == {"version": 6, "result": "synced", "in_use": None}
    assert host.layout.records.read_text() == json.dumps(new)
    assert usable(host) == 6


def test_any_change_travels_as_a_delta(host: Host) -> None:
    chosen = random.Random(7)
    names = [f"n{number:03d}" for number in range(40)]
    tree = document(1, names[:20])
    whole(host, tree)
    for version in range(2, 30):
        some = sorted(chosen.sample(names, chosen.randint(0, 40)))
        entries = [
            dns_records.DnsEntry(name, int(name[1:]), f"g{int(name[1:]) % 3}", "z1", "default", "app", f"10.0.0.{int(name[1:]) + 1}", name)
            for name in some]
        new = dns_records.records(entries, NumericIds(), version)
        if dns_delta.delta(tree, new) is None:
            whole(host, new)
        else:
            assert changed(host, tree, new)["result"] == "synced"
        assert host.layout.records.read_text() == json.dumps(new)
        assert {line.split()[1] for line in host.layout.ring.read_text().splitlines()[3:]} >= dns_delta.agents(new)
        tree = new


def test_a_delta_is_small() -> None:
    old = document(5, [f"n{number:04d}" for number in range(1000)])
    new = document(6, [f"n{number:04d}" for number in range(1000) if number != 500])
    new["record_infos"] = [row for row in old["record_infos"] if row[0] != "id-n0500"]
    new["records"] = [row for row in old["records"] if not row[1].startswith("id-n0500")]
    assert dns_delta.delta(old, new) == {"records": [[500, 1, []]], "record_infos": [[500, 1, []]]}


def test_rows_in_another_order_are_sent_as_a_whole() -> None:
    old = document(5, ["a", "b"])
    new = {**old, "records": old["records"][::-1]}
    assert dns_delta.delta(old, new) is None
    assert dns_delta.delta(old, {**old, "record_keys": [*old["record_keys"], "more"]}) is None


@pytest.mark.parametrize("state", ["nothing", "another version", "torn", "changed by hand", "without the word", "without keys"])
def test_a_machine_that_lacks_the_base_asks_for_the_whole(host: Host, state: str) -> None:
    old, new = document(5, ["a"]), document(6, ["a", "b"])
    if state != "nothing":
        whole(host, document(4, ["a"]) if state == "another version" else old)
    if state == "torn":
        host.layout.records.write_text(host.layout.records.read_text()[:40])
    if state == "changed by hand":
        host.layout.records.write_text(host.layout.records.read_text().replace("10.0.0.1", "10.6.6.6"))
    if state == "without the word":
        host.layout.records_word.unlink()
    if state == "without keys":
        host.layout.ring.unlink()
    assert changed(host, old, new)["result"] == "behind"
    assert whole(host, new)["result"] == "synced"
    assert usable(host) == 6


def test_a_file_changed_by_hand_is_made_good_by_the_same_version(host: Host) -> None:
    tree = document(5, ["a"])
    whole(host, tree)
    host.layout.records.write_text("{}")
    assert whole(host, tree)["version"] == 5
    assert usable(host) == 5


def test_an_older_version_changes_nothing(host: Host) -> None:
    """Row 19 of the agent contract: `sync_dns` with 5 where 7 is."""
    whole(host, document(7, ["a", "b"]))
    before = host.layout.records.read_bytes()
    assert whole(host, document(5, ["a"])) == {"version": 7, "result": "synced", "in_use": None}
    assert host.layout.records.read_bytes() == before


def test_what_was_spoilt_on_its_way_is_refused_and_nothing_is_written(host: Host) -> None:
    old, new = document(5, ["a"]), document(6, ["b"])
    whole(host, old)
    with pytest.raises(ActionError, match="digest differs"):
        sync_names.run(Call(host), **sent(new), records=json.dumps(new)[:-3])
    with pytest.raises(ActionError, match="does not match version supplied by director"):
        sync_names.run(Call(host), **{**sent(new), "version": 8}, records=json.dumps(new))
    assert usable(host) == 5


def test_keys_are_roots_and_go_with_the_machines(host: Host) -> None:
    old = document(5, ["a", "b"])
    whole(host, old)
    assert os.stat(host.layout.ring).st_mode & 0o777 == 0o600
    assert os.stat(host.layout.records).st_mode & 0o777 == 0o640
    new = document(6, ["a"])
    changed(host, old, new)
    changed(host, new, document(7, ["a", "c"]))
    peers = [line.split()[1] for line in host.layout.ring.read_text().splitlines()[3:]]
    assert peers == ["agent-a", "agent-c"], "of those that are gone the key goes one version later"


def test_dying_at_any_point_leaves_records_that_can_be_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power goes between any two files; also before the new records are in place."""
    old, new = document(5, ["a"]), document(6, ["a", "b"])
    for dies_at in range(4):
        whole_host = Host(host.layout.root / f"m{dies_at}")
        (whole_host.layout.root / "etc").mkdir(parents=True)
        whole(whole_host, old)
        written: list[Path] = []
        real = sync_names.files.write

        def write(path: Path, text: str, *more: Any, dies_at: int = dies_at, written: list[Path] = written, real: Any = real) -> bool:
            if len(written) == dies_at:
                raise KeyboardInterrupt
            written.append(path)
            return bool(real(path, text, *more))

        with monkeypatch.context() as patched:
            patched.setattr(sync_names.files, "write", write)
            with pytest.raises(KeyboardInterrupt):
                changed(whole_host, old, new)
        assert usable(whole_host) in (5, 6)
        assert changed(whole_host, old, new)["version"] == 6
        assert usable(whole_host) == 6


@pytest.mark.parametrize(("spoil", "why"), [
    pytest.param(lambda host: host.layout.records.write_text(json.dumps(document(6, ["evil"]))), "did not send it", id="another document"),
    pytest.param(lambda host: host.layout.ring.unlink(), "keys are not here", id="no keys"),
    pytest.param(lambda host: host.layout.records_word.unlink(), "cannot be read", id="no word"),
    pytest.param(lambda host: host.layout.records_word.write_text("x\n"), "did not send it", id="a word that says nothing"),
    pytest.param(
        lambda host: host.layout.records_word.write_text(host.layout.records_word.read_text()[:-10] + "0" * 9 + "\n"),
        "signed with another key", id="a wrong signature"),
])
def test_a_resolver_keeps_out_what_is_not_the_directors(host: Host, spoil: Callable[[Host], Any], why: str) -> None:
    whole(host, document(5, ["a"]))
    spoil(host)
    with pytest.raises(BadRecords, match=why):
        usable(host)


def test_another_machines_records_are_kept_out(host: Host, tmp_path: Path) -> None:
    """As on a machine made from a copy of another one's disk: its keys are the other one's, until the director gives it its own."""
    tree = document(5, ["a"])
    whole(host, tree)
    text = json.dumps(tree)
    digest = hashlib.sha256(text.encode()).hexdigest()
    host.layout.records_word.write_text(f"5 {digest} {KEYS.word('agent-other', 5, digest)}\n")
    with pytest.raises(BadRecords, match="another key"):
        usable(host)


def test_the_last_good_records_stay_in_use_and_the_reason_is_said(host: Host) -> None:
    whole(host, document(5, ["a"]))
    seal = Seal(Ring(str(host.layout.ring)), str(host.layout.records_word))
    now = [0.0]
    loop = Loop(lambda: now[0])
    source = FileSource(str(host.layout.records), reading=seal.reading)
    source.start(loop, lambda: None)
    assert source.records.version == 5

    def later() -> None:
        for _ in range(30):
            now[0] += 0.1
            loop.turn(0.0)

    host.layout.records.write_text(json.dumps(document(9, ["evil"])))
    later()
    assert source.records.version == 5
    assert "did not send it" in source.problem
    whole(host, document(6, ["a", "b"]))
    later()
    assert (source.records.version, source.problem) == (6, "")
    loop.close()


def test_a_reference_agents_records_have_no_word(host: Host) -> None:
    """Records of an earlier agent, or `sync_dns` of the contract: kept out where the job asks for signatures."""
    sync_dns.run(Call(host), json.dumps(document(5, ["a"])), 5)
    with pytest.raises(BadRecords):
        usable(host)
    assert sync_names.version_of(host) == 5


class FakeResolver:
    """Its control socket; `pages` by path without the query."""

    def __init__(self, host: Host, pages: dict[str, Any]) -> None:
        host.layout.resolver_socket.parent.mkdir(parents=True)
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(host.layout.resolver_socket))
        self._socket.listen()
        self._pages = pages
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                path = connection.recv(4096).decode().split()[1]
                self.asked.append(path)
                page = self._pages.get(path.partition("?")[0])
                status = "200 OK" if page is not None else "400 Bad Request"
                connection.sendall(f"HTTP/1.1 {status}\r\n\r\n{json.dumps(page) if page is not None else 'no'}".encode())


def test_it_is_told_whether_the_resolver_uses_them(host: Host) -> None:
    tree = document(5, ["a"])
    assert sync_names.run(Call(host), **sent(tree), records=json.dumps(tree), use_seconds=0.2)["in_use"] is None, "there is no resolver"
    resolver = FakeResolver(host, {"/status": {"records": {"version": 5}}})
    assert sync_names.run(Call(host), **sent(tree), records=json.dumps(tree), use_seconds=0.2)["in_use"] is True
    new = document(6, ["b"])
    assert sync_names.run(Call(host), **sent(new), records=json.dumps(new), use_seconds=0.2)["in_use"] is False
    assert set(resolver.asked) == {"/status"}


def test_a_name_is_explained_by_the_running_resolver(host: Host) -> None:
    with pytest.raises(ActionError, match="No resolver runs"):
        explain_name.run(Call(host), "a.bosh")
    resolver = FakeResolver(host, {"/explain": {"name": "a.bosh."}, "/status": {"records": {}}})
    assert explain_name.run(Call(host), "a.bosh&x", "AAAA") == {"explanation": {"name": "a.bosh."}, "status": {"records": {}}}
    assert resolver.asked[0] == "/explain?name=a.bosh%26x&type=AAAA"
