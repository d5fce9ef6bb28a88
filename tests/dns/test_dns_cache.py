"""What is remembered of others' answers, for how long, and what is given when nobody answers. Source: DNS contract, section 8.1."""

from __future__ import annotations

import dnskit
import pytest
from upstreamworld import Answerer, World, answering, saying, silent, soa, world

from director.guest.dns import message
from director.guest.dns.cache import Cache

__all__ = ["world"]  # a fixture


def test_the_cache_counts_down_and_keeps_the_askers_spelling(world: World) -> None:
    resolver = world.resolver(answering("1.2.3.4", ttl=100), cache=True)
    world.ask(resolver, "example.com")
    world.now += 30
    world.asked.clear()
    reply = world.ask(resolver, "eXample.COM")
    assert (reply.ttls, reply.name, world.asked) == ((70,), "eXample.COM.", [])
    world.now += 71
    world.ask(resolver, "example.com")
    assert world.asked == [0]


@pytest.mark.parametrize(("ttl", "kept"), [(0, 5), (7200, 3600)])
def test_the_caches_shortest_and_longest_time(world: World, ttl: int, kept: int) -> None:
    resolver = world.resolver(answering("1.2.3.4", ttl=ttl), cache=True)
    world.ask(resolver)
    assert world.ask(resolver).ttls == (kept,)


def test_denials_without_a_term_are_not_kept(world: World) -> None:
    resolver = world.resolver(saying(3), cache=True)
    world.ask(resolver)
    world.ask(resolver)
    assert world.asked == [0, 0]


def test_the_cache_is_bounded() -> None:
    cache = Cache(lambda: 0.0, most=10)
    answer = message.read(answering("1.2.3.4")(dnskit.question("n.example")))
    for number in range(50):
        cache.put(b"%d" % number, answer)
    assert [number for number in range(50) if cache.get(b"%d" % number)] == list(range(40, 50))


def test_denials_are_kept_for_as_long_as_their_soa_says(world: World) -> None:
    resolver = world.resolver(soa(3, 600, 60), cache=True)
    assert world.ask(resolver).code == "NXDOMAIN"
    world.now += 59
    assert world.ask(resolver).code == "NXDOMAIN"
    assert len(world.asked) == 1
    world.now += 2
    world.ask(resolver)
    assert len(world.asked) == 2


def test_an_empty_answer_without_a_term_is_kept_for_a_moment(world: World) -> None:
    resolver = world.resolver(saying(0), cache=True)
    world.ask(resolver)
    world.ask(resolver)
    assert len(world.asked) == 1
    world.now += 6
    world.ask(resolver)
    assert len(world.asked) == 2


def test_questions_without_recursion_pass_the_cache_by(world: World) -> None:
    resolver = world.resolver(answering("1.2.3.4"), cache=True)
    for _ in range(2):
        world.ask(resolver, flags=0)
    assert len(world.asked) == 2


def test_a_stale_answer_is_given_when_nobody_answers(world: World) -> None:
    answers: list[Answerer] = [answering("1.2.3.4", ttl=60)]
    resolver = world.resolver(lambda packet: answers[0](packet), cache=True)
    world.ask(resolver)
    answers[0] = silent
    world.now += 3600
    began = world.now
    reply = world.ask(resolver)
    assert (reply.answers, reply.ttls) == (("1.2.3.4",), (30,))
    assert world.now - began <= 2.0, "before most askers give up"
    world.pump(lambda: not world.pool.pending)
    world.asked.clear()
    assert world.ask(resolver).answers == ("1.2.3.4",)
    assert world.asked == [], "a failure is not repeated at once"
    answers[0] = answering("5.6.7.8")
    world.now += 31
    assert world.ask(resolver).answers == ("5.6.7.8",)


def test_stale_answers_have_an_end_and_a_denial_ends_them_too(world: World) -> None:
    answers: list[Answerer] = [answering("1.2.3.4", ttl=60)]
    resolver = world.resolver(lambda packet: answers[0](packet), cache=True)
    world.ask(resolver)
    answers[0] = saying(3)
    world.now += 3600
    assert world.ask(resolver).code == "NXDOMAIN"
    answers[0] = silent
    assert world.ask(resolver).code == "SERVFAIL", "what was denied is not remembered"
    answers[0] = answering("1.2.3.4")
    world.ask(resolver, "b.example")
    answers[0] = silent
    world.now += 2 * 86400
    assert world.ask(resolver, "b.example").code == "SERVFAIL"
