"""Other names, rule by rule. Source: DNS contract, section 5 and its corrections."""

from __future__ import annotations

from typing import Any

import dnskit
import pytest
from dnskit import UUID_A, UUID_B, FakeHealth, ask, records_text, resolver

from director.guest.dns import health
from director.guest.dns.aliases import Aliases, BadAliases
from director.guest.dns.loop import Loop
from director.guest.dns.records import Records

A, B = "10.0.0.5", "10.0.0.6"
GROUP = "q-s4.db.default.cf.bosh"


def entry(**more: Any) -> dict[str, Any]:
    return {"root_domain": "bosh", "group_id": "7", "health_filter": "all", "initial_health_check": None, "placeholder_type": None, **more}


@pytest.mark.parametrize(("files", "name", "code", "expected"), [
    ({"X.Int.": [GROUP]}, "x.int", "NOERROR", {A, B}),
    ({"x.int": [GROUP.upper() + "."]}, "X.INT", "NOERROR", {A, B}),
    ({"x.int": ["*.db.default.cf.bosh"]}, "x.int", "NOERROR", {A}),
    ({"x.int": ["1.2.3.4"]}, "x.int", "NOERROR", {"1.2.3.4"}),
    ({"x.int": [GROUP, GROUP, "1.2.3.4", "1.2.3.4"]}, "x.int", "NOERROR", {A, B, "1.2.3.4"}),
    ({"x.int": ["y.int", "1.2.3.4"], "y.int": ["uuid-A.db.default.cf.bosh"]}, "x.int", "NOERROR", {A, "1.2.3.4"}),
    ({"x.int": ["q-s4.nobody.default.cf.bosh"]}, "x.int", "NXDOMAIN", set()),
    ({"x.int": [GROUP, "q-x.db.default.cf.bosh"]}, "x.int", "FORMERR", set()),
    ({"x.int": [GROUP, "a.b.c.bosh"]}, "x.int", "FORMERR", set()),
    ({"x.int": ["q-s1a1.db.default.cf.bosh"]}, "x.int", "NOERROR", set()),
    ({"x.int": []}, "x.int", "NXDOMAIN", set()),
    ({"x.int": []}, "below.x.int", "NXDOMAIN", set()),
    ({"x.int": [GROUP]}, "other.x.int", "NXDOMAIN", set()),
    ({"x.int": [GROUP]}, "uuid-A.x.int", "NOERROR", {A}),
    ({"x.int": [GROUP]}, "uuid-A.any.thing.x.int", "NOERROR", {A}),
    ({"x.int": [GROUP]}, "int", "REFUSED", set()),
    ({"x.int": [GROUP]}, "yx.int", "REFUSED", set()),
    ({"x.int": ["uuid-A.somewhere.else"]}, "x.int", "NOERROR", {A}),
    ({"x.int": ["www.example.com"]}, "x.int", "NXDOMAIN", set()),
    ({"x.int": ["agent-uuid-A.bosh-agent-id"]}, "x.int", "NOERROR", {A}),
    ({"_.s": ["_.db.default.cf.bosh"]}, "uuid-A.s", "NOERROR", {A}),
    ({"_.s": ["_.db.default.cf.bosh"]}, "a.uuid-A.s", "NXDOMAIN", set()),
    ({"_.s": ["_.db.default.cf.bosh"]}, "s", "NXDOMAIN", set()),
    ({"_.s": ["_.db.default.cf.bosh"]}, "_.s", "NXDOMAIN", set()),
    ({"_.s": ["_.db.default.cf.bosh", "1.2.3.4"]}, "_.s", "NOERROR", {"1.2.3.4"}),
    ({"_.s": [GROUP]}, "anything.s", "NOERROR", {A, B}),
    ({"_.s": [GROUP], "one.s": ["1.2.3.4"]}, "one.s", "NOERROR", {"1.2.3.4"}),
    ({"*.w.int": ["1.2.3.4"]}, "a.w.int", "REFUSED", set()),
    ({"*.w.int": ["1.2.3.4"]}, "*.w.int", "NOERROR", {"1.2.3.4"}),
    ({"db.bosh": [GROUP]}, "db.bosh", "NOERROR", {A, B}),
    ({"db.bosh": [GROUP]}, "q-s4.q-g1.bosh", "NOERROR", {A, B}),
    ({"db.bosh": [GROUP]}, "q-s0.db.bosh", "NOERROR", {A}),
])
def test_aliases_of_files(files: dict[str, list[str]], name: str, code: str, expected: set[str]) -> None:
    known = FakeHealth(states={"uuid-b": health.FAILING})
    reply = ask(resolver(files=files, known=known, recursors=False), name)
    assert (reply.code, set(reply.answers)) == (code, expected)
    assert len(reply.answers) == len(set(reply.answers)), "each address once"


@pytest.mark.parametrize(("aliases", "name", "code", "expected"), [
    ({"x.int": [entry()]}, "x.int", "NOERROR", {A, B}),
    ({"x.int": [entry(health_filter="smart")]}, "x.int", "NOERROR", {A}),
    ({"x.int": [entry(health_filter="healthy")]}, "x.int", "NOERROR", {A}),
    ({"x.int": [entry(health_filter="unhealthy")]}, "x.int", "NOERROR", {B}),
    ({"x.int": [entry(health_filter=None)]}, "x.int", "NOERROR", {A}),
    ({"x.int": [entry(), entry(group_id="1")]}, "x.int", "NOERROR", {A, B}),
    ({"x.int": [entry(group_id="9")]}, "x.int", "NXDOMAIN", set()),
    ({"x.int": []}, "x.int", "REFUSED", set()),
    ({"x.int": "nonsense"}, "x.int", "REFUSED", set()),
    ({"x.int": [None, 5]}, "x.int", "REFUSED", set()),
    ({"": [entry()]}, "x.int", "REFUSED", set()),
    ({"_.x.int": [entry(placeholder_type="uuid")]}, "uuid-A.x.int", "NOERROR", {A}),
    ({"_.x.int": [entry(placeholder_type="uuid")]}, "UUID-b.x.int", "NOERROR", {B}),
    ({"_.x.int": [entry(placeholder_type="uuid")]}, "other.x.int", "REFUSED", set()),
    ({"a._.b.int": [entry(placeholder_type="uuid")]}, "a.uuid-A.b.int", "NOERROR", {A}),
    ({"_.x.int": [entry(placeholder_type="index")]}, "anything.x.int", "NOERROR", {A, B}),
    ({"_.x.int": [entry(placeholder_type="uuid"), entry(placeholder_type="uuid")]}, "uuid-A.x.int", "NOERROR", {A}),
])
def test_aliases_of_records(aliases: dict[str, Any], name: str, code: str, expected: set[str]) -> None:
    known = FakeHealth(states={"uuid-b": health.FAILING})
    reply = ask(resolver(records_text([UUID_A, UUID_B], aliases), known=known, recursors=False), name)
    assert (reply.code, set(reply.answers)) == (code, expected)
    assert len(reply.answers) == len(set(reply.answers))


def test_a_synchronous_first_check_of_an_alias_is_waited_for() -> None:
    loop = Loop(lambda: 0.0)
    known = FakeHealth(health.UNCHECKED)
    text = records_text(aliases={"x.int": [entry(health_filter="healthy", initial_health_check="synchronous")]})
    server = resolver(text, known=known, loop=loop)
    replies: list[bytes] = []
    server.handle(dnskit.question("x.int"), replies.append)
    assert replies == []
    known.become(uuid_a=health.RUNNING)
    known.waiting.pop()()
    loop.turn(0)
    assert dnskit.read(replies[0]).answers == (A,)
    loop.close()


@pytest.mark.parametrize(("files", "why"), [
    ({"a": ["b"], "b": ["a"]}, r"recursion detected: alias a stands for itself \(a -> b -> a\)"),
    ({"a": ["a"]}, r"\(a -> a\)"), ({"z": ["a"], "a": ["b"], "b": ["c"], "c": ["b"]}, r"\(b -> c -> b\)"),
    ({"": ["a"]}, "bad alias format: empty alias name"), ({".": ["a"]}, "empty alias name"),
    ({"a": "b"}, "targets of alias a are no list"), ({"a": [5]}, "targets of alias a are no list"), ({"a": [""]}, "no list of names"),
])
def test_aliases_that_cannot_be_are_said(files: Any, why: str) -> None:
    with pytest.raises(BadAliases, match=why):
        Aliases(files, Records())


def test_aliases_of_aliases_do_not_multiply_and_have_a_depth() -> None:
    files = {f"a{number}": [f"a{number + 1}", f"a{number + 1}", f"10.0.0.{number}"] for number in range(60)}
    assert len(Aliases(files, Records()).of(("a0",)) or ()) == 61
    deep = {f"a{number:04}": [f"a{number + 1:04}"] for number in range(2000)}
    with pytest.raises(BadAliases, match="more than 100 times"):
        Aliases(deep, Records())
