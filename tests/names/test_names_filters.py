"""Names with the health that machines tell: the filters of the DNS contract, sections 4.1 and 4.2, over a network in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from peersworld import Machine, Network, record, ring_text

from director.guest.dns import wire
from director.guest.dns.aliases import Aliases
from director.guest.dns.answer import Answer
from director.guest.dns.lookup import Lookup
from director.guest.dns.records import Records

AGENTS = {"agent-b": "10.0.0.2", "agent-c": "10.0.0.3"}


class World:
    """`a` resolves; `b` and `c` are what the names stand for."""

    def __init__(self, folder: Path) -> None:
        self.network = Network(folder)
        rows = [record(agent, ip) for agent, ip in AGENTS.items()]
        own = record("agent-a", "10.0.0.1")
        self.a = self.network.machine("agent-a", "10.0.0.1", [*AGENTS], rows)
        self.others = {agent: self.network.machine(agent, ip, ["agent-a"], [own]) for agent, ip in AGENTS.items()}
        for machine in self.others.values():
            machine.become(True)
        self.lookup = self._lookup(rows)

    def _lookup(self, rows: list[object]) -> Lookup:
        records = Records(rows)  # type: ignore[arg-type]
        return Lookup(records, Aliases({}, records), self.a.peers, self.a.loop.later)

    def become(self, rows: list[object]) -> None:
        """Other records."""
        self.lookup = self._lookup(rows)
        self.a.peers.renewed(self.lookup.followed)

    def ask(self, name: str) -> tuple[list[str], float]:
        """The addresses, and how long it took."""
        question = wire.encode_name(name) + wire.A.to_bytes(2, "big") + wire.IN.to_bytes(2, "big")
        query = wire.parse(wire.HEAD.pack(0, wire.RD, 1, 0, 0, 0) + question)
        later: list[Answer] = []
        began = self.network.now
        answer = self.lookup.answer(query, self.lookup.meaning, later.append)
        while answer is None and not later:
            self.network.turn(0.05)
        found = answer or later[0]
        return sorted(f"10.0.0.{part[-1]}" for part in found.records), self.network.now - began


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def name(codes: str) -> str:
    return f"q-{codes}.web.default.app.bosh"


B, C = AGENTS.values()


def test_the_first_answer_comes_before_the_first_check(world: World) -> None:
    assert world.ask(name("s3")) == ([], 0.0)
    assert world.ask(name("s0"))[0] == [B, C]
    world.network.turn(0.5)
    assert world.ask(name("s3"))[0] == [B, C]


def test_who_wants_to_wait_gets_the_first_check(world: World) -> None:
    found, seconds = world.ask(name("s3y1"))
    assert found == [B, C]
    assert seconds < 0.5


def test_nobody_waits_for_a_silent_machine_for_longer_than_a_second_and_only_once(world: World) -> None:
    del world.network.machines[C]
    found, seconds = world.ask(name("s3y1"))
    assert found == [B]
    assert seconds == pytest.approx(1.0, abs=0.1)
    world.network.turn(2.0)
    assert world.ask(name("s3y1")) == ([B], 0.0)


def test_each_filter(world: World) -> None:
    world.others["agent-c"].become(False)
    world.ask(name("s0"))
    world.network.turn(0.5)
    assert {codes: world.ask(name(codes))[0] for codes in ("s0", "s1", "s3", "s4")} == {
        "s0": [B], "s1": [C], "s3": [B], "s4": [B, C]}
    world.others["agent-b"].become(False)
    world.network.turn(0.5)
    assert {codes: world.ask(name(codes))[0] for codes in ("s0", "s1", "s3", "s4")} == {
        "s0": [B, C], "s1": [B, C], "s3": [], "s4": [B, C]}


def test_a_dead_machine_is_in_neither_set(world: World) -> None:
    world.ask(name("s0"))
    world.network.turn(0.5)
    del world.network.machines[C]
    world.network.turn(3.0)
    assert {codes: world.ask(name(codes))[0] for codes in ("s0", "s1", "s3", "s4")} == {
        "s0": [B], "s1": [], "s3": [B], "s4": [B, C]}


def test_a_smart_question_for_one_instance_follows_nobody(world: World) -> None:
    assert world.ask("i-agent-b.web.default.app.bosh")[0] == [B]
    assert world.ask("q-m1s0.web.default.app.bosh")[0] == [B, C]
    world.network.traffic.clear()
    lonely = World(world.network.folder)
    lonely.become([record("agent-b", B)])
    lonely.ask(name("s0"))
    lonely.network.turn(3.0)
    assert lonely.network.traffic == []
    lonely.ask(name("s3"))
    lonely.network.turn(0.5)
    assert lonely.ask(name("s3"))[0] == [B]


def test_a_group_of_its_own_state(world: World) -> None:
    """Row 25: the group's script fails on a machine; the machine says failing with it."""
    world.others["agent-c"].become(False, {7: False})
    world.ask("q-s3.q-g7.bosh")
    world.network.turn(0.5)
    assert world.ask("q-s3.q-g7.bosh")[0] == [B]
    world.others["agent-c"].become(False, {7: True})
    world.network.turn(0.5)
    assert world.ask("q-s3.q-g7.bosh")[0] == [B, C]
    assert world.ask(name("s3"))[0] == [B]


def test_new_machines_of_a_followed_name_are_asked_at_once(world: World) -> None:
    world.ask(name("s3"))
    world.network.turn(0.5)
    newcomer: Machine = world.network.machine("agent-d", "10.0.0.4", ["agent-a"], [record("agent-a", "10.0.0.1")])
    newcomer.become(True)
    world.a.ring.write_text(ring_text("agent-a", [*AGENTS, "agent-d"]) + "\n")
    world.network.turn(0.6)
    world.become([record("agent-b", B), record("agent-d", "10.0.0.4")])
    world.network.turn(0.5)
    assert world.ask(name("s3"))[0] == [B, "10.0.0.4"]
    assert world.a.peers.follower.count()["running"] == 2, "who is no more is not followed any more"
