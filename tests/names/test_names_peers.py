"""Whom a resolver believes, how soon it knows, and what it costs others: the peers on a network in memory.

Source: DNS contract, section 4; the promises of issue 5 in seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from peersworld import Machine, Network, pair_of_machines, record, ring_text, speaker_key

from director.guest.dns.health import FAILING, RUNNING, UNCHECKED, UNKNOWN
from director.guest.dns.peers import letters
from director.guest.dns.peers.keys import pair

NAME = ("q-s0", "web", "default", "app", "bosh")


@pytest.fixture
def world(tmp_path: Path) -> tuple[Network, Machine, Machine, object]:
    return pair_of_machines(tmp_path)


def seconds_until(network: Network, true: object, most: float = 30.0) -> float:
    began = network.now
    while not true() and network.now - began < most:  # type: ignore[operator]
        network.turn(0.05)
    return network.now - began


def test_nobody_is_asked_who_was_not_asked_for(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    network.turn(10)
    assert network.traffic == []
    assert a.sees(other) == UNCHECKED


def test_the_first_question_makes_a_machine_known(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    assert a.sees(other) == UNCHECKED
    assert seconds_until(network, lambda: a.sees(other) == RUNNING) <= 0.3


def test_a_change_is_told_at_once_and_only_while_somebody_wants_it(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    b.become(False)
    assert seconds_until(network, lambda: a.sees(other) == FAILING) <= 0.1
    b.become(True)
    assert seconds_until(network, lambda: a.sees(other) == RUNNING) <= 0.1


def test_a_change_whose_letter_is_lost_is_known_within_three_seconds(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    network.lost = lambda source, target: True
    b.become(False)
    network.turn(0.05)
    network.lost = lambda source, target: False
    assert seconds_until(network, lambda: a.sees(other) == FAILING) <= 2.0


@pytest.mark.parametrize("age", [0.0, 0.4, 0.9, 1.3, 7.7, 23.0, 31.4])
def test_a_silent_machine_is_unknown_within_three_seconds(tmp_path: Path, age: float) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1 + age)
    del network.machines[b.ip]
    assert seconds_until(network, lambda: a.sees(other) == UNKNOWN) <= 2.9


def test_a_machine_that_comes_back_is_known_within_three_seconds(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    machine = network.machines.pop(b.ip)
    network.turn(20)
    assert a.sees(other) == UNKNOWN
    network.machines[b.ip] = machine
    assert seconds_until(network, lambda: a.sees(other) == RUNNING) <= 3.0


def test_one_lost_letter_is_no_change(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    letters_seen: list[int] = []

    def every_third(source: str, target: str) -> bool:
        letters_seen.append(1)
        return len(letters_seen) % 3 == 0

    network.lost = every_third
    for _ in range(80):
        network.turn(0.5)
        assert a.sees(other) == RUNNING


def test_a_machine_with_another_ones_address_is_not_believed(tmp_path: Path) -> None:
    """Row "an answer that survived its machine": the address is now another machine's, of the same director."""
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    assert a.sees(other) == RUNNING
    newcomer = network.machine("agent-c", b.ip, ["agent-a"], [])
    newcomer.become(True)
    network.turn(3)
    assert a.sees(other) == UNKNOWN
    network.turn(60)
    assert a.sees(other) == UNKNOWN
    assert not [1 for source, target, _ in network.traffic if source == b.ip and newcomer.peers.speaker and len(newcomer.peers.speaker)]


def test_the_records_name_the_newcomer_and_it_is_believed_as_itself(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    newcomer = network.machine("agent-c", b.ip, ["agent-a"], [])
    newcomer.become(False)
    fresh = record("agent-c", b.ip)
    a.ring.write_text(ring_text("agent-a", ["agent-b", "agent-c"]) + "\n")
    a.peers.renewed(lambda name: [fresh])
    network.turn(4)
    assert a.sees(fresh) == FAILING
    assert a.sees(other) == UNCHECKED


def forged(network: Network, a: Machine, other: object, sender: str, key: bytes) -> bytes:
    """A letter that says `agent-b` fails, in answer to the lease that `a` has, made with some key."""
    asked = next(packet for source, target, packet in reversed(network.traffic) if source == a.ip)
    nonce = letters.opened(asked).nonce  # type: ignore[union-attr]
    told = letters.Tell(b"x" * 8, 0xFFFFFFF0, 1.4, False, {})
    return letters.tell(key, nonce, sender, "agent-a", told)


@pytest.mark.parametrize("key", [
    pytest.param(b"", id="no key"), pytest.param(pair(speaker_key("agent-c"), "agent-a"), id="another machine's key"),
    pytest.param(pair(speaker_key("agent-b"), "agent-c"), id="the key of another pair"),
    pytest.param(pair(speaker_key("agent-a"), "agent-b"), id="the key of the other direction"),
])
def test_nobody_speaks_for_another(tmp_path: Path, key: bytes) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    a.peers.hear(forged(network, a, other, "agent-b", key), (b.ip, 8853))
    assert a.sees(other) == RUNNING
    assert a.peers.tell()["not_believed"] == 1


def test_a_letter_is_believed_once(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    running = [packet for source, _, packet in network.traffic if source == b.ip]
    b.become(False)
    network.turn(0.1)
    for packet in running:
        a.peers.hear(packet, (b.ip, 8853))
    assert a.sees(other) == FAILING


def test_a_letter_from_another_address_is_not_believed(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    key = pair(speaker_key("agent-b"), "agent-a")
    a.peers.hear(forged(network, a, other, "agent-b", key), ("10.0.0.9", 8853))
    assert a.sees(other) == RUNNING


def test_a_question_that_is_no_machines_gets_no_answer(tmp_path: Path) -> None:
    network, a, b, _other = pair_of_machines(tmp_path)
    for packet in (
        letters.ask(b"guessed", b"n" * 16, "agent-a", "agent-b", letters.Ask(60, ())),
        letters.ask(pair(speaker_key("agent-c"), "agent-a"), b"n" * 16, "agent-a", "agent-c", letters.Ask(60, ())),
        b"", b"CN", b"CN\x01\x01" + b"\0" * 60, b"\xff" * 1500,
    ):
        b.peers.hear(packet, (a.ip, 8853))
    assert network.traffic == []


def test_no_answer_is_longer_than_its_question(tmp_path: Path) -> None:
    network, a, b, _other = pair_of_machines(tmp_path)
    key = pair(speaker_key("agent-b"), "agent-a")
    for count in (0, 1, 7, 64, 80):
        network.traffic.clear()
        question = letters.ask(key, b"n" * 16, "agent-a", "agent-b", letters.Ask(60, tuple(range(count))))
        b.peers.hear(question, (a.ip, 8853))
        assert [len(packet) <= len(question) for _, _, packet in network.traffic] == [True]


def test_letters_go_again_only_to_addresses_of_the_asker(tmp_path: Path) -> None:
    """A question that was seen on the way and is sent again with somebody else's address makes nobody a receiver."""
    network, _a, b, _other = pair_of_machines(tmp_path)
    key = pair(speaker_key("agent-b"), "agent-a")
    question = letters.ask(key, b"n" * 16, "agent-a", "agent-b", letters.Ask(60, ()))
    b.peers.hear(question, ("192.0.2.7", 8853))
    assert [target for _, target, _ in network.traffic] == ["192.0.2.7"]
    network.turn(30)
    assert [target for _, target, _ in network.traffic] == ["192.0.2.7"]


def test_a_lease_ends(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    for number in range(6):  # other names push it out
        a.peers.interested([record(f"agent-x{number}", f"10.0.1.{number}")], (f"n{number}",))
    assert a.sees(other) == UNCHECKED
    network.turn(70)
    network.traffic.clear()
    network.turn(30)
    assert [1 for source, _, _ in network.traffic if source == b.ip] == []


def test_a_machine_that_another_name_wants_is_not_forgotten(tmp_path: Path) -> None:
    """Row 4.2 "quirk" of the contract, done better."""
    network, a, _b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], ("one",))
    a.peers.interested([other], ("two",))
    network.turn(1)
    for number in range(4):
        a.peers.interested([other if number % 2 else record("agent-y", "10.0.1.9")], (f"n{number}",))
    network.turn(1)
    assert a.sees(other) == RUNNING


def test_the_least_recently_asked_name_goes(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    for number in range(9):
        a.peers.interested([record(f"agent-x{number}", f"10.0.1.{number}")], (f"n{number}",))
        a.peers.interested([other], NAME)
    network.turn(1)
    assert a.sees(other) == RUNNING
    assert a.peers.tell()["names"] == 5


def test_other_records_are_looked_up_anew(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    gone, there = other, record("agent-d", "10.0.0.4")
    d = network.machine("agent-d", "10.0.0.4", ["agent-a"], [record("agent-a", "10.0.0.1")])
    d.become(True)
    a.ring.write_text(ring_text("agent-a", ["agent-b", "agent-d"]) + "\n")
    a.peers.renewed(lambda name: [there])
    network.turn(4)
    assert (a.sees(gone), a.sees(there)) == (UNCHECKED, RUNNING)


def test_waiting_for_first_checks_ends_when_all_are_known(tmp_path: Path) -> None:
    network, a, _b, other = pair_of_machines(tmp_path)
    silent = record("agent-s", "10.0.0.8")
    a.ring.write_text(ring_text("agent-a", ["agent-b", "agent-s"]) + "\n")
    network.turn(1)
    done: list[str] = []
    a.peers.interested([other, silent], NAME)
    a.peers.check([other], lambda: done.append("one"))
    a.peers.check([other, silent], lambda: done.append("both"))
    network.turn(0.3)
    assert done == ["one"]
    network.turn(0.7)
    assert a.sees(silent) == UNCHECKED, "within the second that an asker waits it stays unchecked, and the smart filter names it"
    network.turn(1.2)
    assert done == ["one", "both"]
    assert a.sees(silent) == UNKNOWN


def test_nobody_waits_for_who_cannot_be_asked(tmp_path: Path) -> None:
    network, a, _b, _other = pair_of_machines(tmp_path)
    strangers = [record("", "10.0.0.7"), record("agent-without-key", "10.0.0.6")]
    a.peers.interested(strangers, NAME)
    done: list[int] = []
    a.peers.check(strangers, lambda: done.append(1))
    assert done == [1]
    network.turn(5)
    assert {a.sees(item) for item in strangers} == {UNCHECKED}


def test_groups_have_states_of_their_own(tmp_path: Path) -> None:
    """Row 25: group 7 failing, and a group without a script as the machine is."""
    network, a, b, other = pair_of_machines(tmp_path)
    b.become(False, {7: False})
    a.peers.interested([other], NAME)
    network.turn(1)
    assert (a.sees(other, "7"), a.sees(other, "1"), a.sees(other)) == (FAILING, FAILING, FAILING)
    b.become(False, {7: True})
    network.turn(0.2)
    assert (a.sees(other, "7"), a.sees(other, "1"), a.sees(other)) == (RUNNING, FAILING, FAILING)


def test_this_machine_knows_of_itself_without_asking(tmp_path: Path) -> None:
    network, a, _b, _other = pair_of_machines(tmp_path)
    own = record("agent-a", "10.0.0.1")
    a.peers.interested([own], NAME)
    network.turn(3)
    assert network.traffic == []
    assert a.sees(own) == RUNNING
    a.become(True, {7: False})
    assert (a.sees(own), a.sees(own, "7")) == (RUNNING, FAILING)


def test_a_reboot_is_no_riddle(tmp_path: Path) -> None:
    """The same machine with another epoch: its letters count from the beginning again."""
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(10)
    again = network.machine("agent-b", b.ip, ["agent-a"], [record("agent-a", a.ip), other])
    again.become(False)
    assert seconds_until(network, lambda: a.sees(other) == FAILING) <= 3.0
    network.turn(10)
    again.become(True)
    assert seconds_until(network, lambda: a.sees(other) == RUNNING) <= 0.2


def test_subscribers_hear_of_changes_and_of_nothing_else(tmp_path: Path) -> None:
    network, a, b, other = pair_of_machines(tmp_path)
    a.peers.interested([other], NAME)
    network.turn(1)
    before = a.changes
    network.turn(60)
    assert a.changes == before
    b.become(False)
    network.turn(0.2)
    assert a.changes == before + 1


def test_what_followed_machines_cost(tmp_path: Path) -> None:
    """In letters: about one each 1.4 seconds for each, whichever side one looks from; never a storm."""
    network = Network(tmp_path)
    others = [record(f"agent-{number}", f"10.0.2.{number}") for number in range(20)]
    own = record("agent-a", "10.0.0.1")
    a = network.machine("agent-a", "10.0.0.1", [other.agent_id for other in others], [own, *others])
    for other in others:
        network.machine(other.agent_id, other.ip, ["agent-a"], [own]).become(True)
    a.peers.interested(others, NAME)
    network.turn(3)
    assert {a.sees(other) for other in others} == {RUNNING}
    network.traffic.clear()
    network.turn(7)
    assert 80 <= len(network.traffic) <= 130
