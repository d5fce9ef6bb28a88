"""The table "Easy to get wrong" of the DNS contract, asked as packets; health is a fake that tests set.

Rows 31 and 32 are in test_dns_upstream.py, row 37 is in test_dns_sources.py.
"""

from __future__ import annotations

import dnskit
import pytest
from dnskit import UUID_A, UUID_B, FakeHealth, ask, records_text, resolver, row

from director.guest.dns import health
from director.guest.dns.loop import Loop

A, B = "10.0.0.5", "10.0.0.6"
BOTH = {A, B}


def tracked() -> FakeHealth:
    return FakeHealth(states={"uuid-b": health.FAILING})


NAMES: list[tuple[int, str, str, str, set[str]]] = [
    (1, "q-s0.db.default.cf.bosh.", "A", "NOERROR", {A}),
    (2, "q-s4.db.default.cf.bosh.", "A", "NOERROR", BOTH),
    (3, "q-s1.db.default.cf.bosh.", "A", "NOERROR", {B}),
    (4, "q-s3a2.db.default.cf.bosh.", "A", "NOERROR", set()),
    (5, "q-a2s0.db.default.cf.bosh.", "A", "NOERROR", {B}),
    (6, "q-a1a2s4.db.*.*.bosh.", "A", "NOERROR", BOTH),
    (7, "q-s0.q-g1.bosh.", "A", "NOERROR", {A}),
    (8, "q-m43n3s0.q-g7.bosh.", "A", "NOERROR", {B}),
    (9, "q-i1s4.db.default.cf.bosh.", "A", "NOERROR", {B}),
    (10, "0.db.default.cf.bosh.", "A", "NXDOMAIN", set()),
    (11, "uuid-A.db.default.cf.bosh.", "A", "NOERROR", {A}),
    (12, "q-s4.nonsense.bosh.", "A", "NOERROR", BOTH),
    (13, "q-s4.*.bosh.", "A", "NOERROR", BOTH),
    (14, "q-s4.a.b.bosh.", "A", "FORMERR", set()),
    (15, "q-x1.db.default.cf.bosh.", "A", "FORMERR", set()),
    (16, "q-s4.nope.default.cf.bosh.", "A", "NXDOMAIN", set()),
    (17, "Q-S4.DB.default.cf.BOSH.", "A", "NOERROR", BOTH),
    (18, "q-s4.db.default.cf.bosh.", "AAAA", "NOERROR", set()),
    (19, "q-s4.db.default.cf.bosh.", "TXT", "NOERROR", set()),
    (19, "q-s4.nope.default.cf.bosh.", "TXT", "NXDOMAIN", set()),
    (19, "q-x1.db.default.cf.bosh.", "TXT", "NOERROR", set()),
    (20, "q-s2.db.default.cf.bosh.", "A", "NOERROR", {A}),
    (34, "upcheck.bosh-dns.", "A", "NOERROR", {"127.0.0.1"}),
    (34, "upcheck.bosh-dns.", "AAAA", "NOERROR", {"::1"}),
    (34, "upcheck.bosh-dns.", "TXT", "NOERROR", set()),
    (35, "agent-uuid-A.bosh-agent-id.", "A", "NOERROR", {A}),
    (0, "bosh.", "A", "NXDOMAIN", set()),
    (0, "q-s0.bosh.", "A", "FORMERR", set()),
    (0, "q-s1-a2.db.default.cf.bosh.", "A", "NOERROR", {B}),
    (0, "uuid-A.q-g1.bosh.", "A", "NOERROR", {A}),
    (0, "q-s4.d*.*ault.cf.bosh.", "A", "NOERROR", BOTH),
    (0, "q-s4.x*.default.cf.bosh.", "A", "NXDOMAIN", set()),
    (0, "q-s4.db.default.cf.bosh.", "ANY", "NOERROR", BOTH),
    (0, "q-m42a2s4.db.default.cf.bosh.", "A", "NXDOMAIN", set()),
]
"""Row, name, type, code and addresses; row 0 is not in the table."""


@pytest.mark.parametrize(("number", "name", "kind", "code", "expected"), NAMES, ids=[f"{row[0]} {row[2]} {row[1]}" for row in NAMES])
def test_names(number: int, name: str, kind: str, code: str, expected: set[str]) -> None:
    reply = ask(resolver(known=tracked()), name, kind)
    assert (reply.code, set(reply.answers)) == (code, expected), f"row {number}"
    assert reply.name == name, "the question comes back as it was asked"
    assert set(reply.ttls) <= {0}
    assert reply.authoritative
    assert reply.recursion_available


def test_the_order_is_random_and_each_address_is_first_as_often() -> None:
    server = resolver(known=tracked())
    firsts = [ask(server, "q-s4.db.default.cf.bosh.").answers[0] for _ in range(600)]
    assert 200 < firsts.count(A) < 400


def test_row_21_what_was_never_checked_is_not_healthy() -> None:
    server = resolver(known=FakeHealth(health.UNCHECKED))
    assert ask(server, "q-s3.db.default.cf.bosh.").answers == ()
    assert set(ask(server, "q-s0.db.default.cf.bosh.").answers) == BOTH


def test_row_23_unknown_is_in_neither_set() -> None:
    server = resolver(known=FakeHealth(states={"uuid-b": health.UNKNOWN}))
    assert ask(server, "q-s1.db.default.cf.bosh.").answers == ()
    assert ask(server, "q-s3.db.default.cf.bosh.").answers == (A,)
    assert set(ask(server, "q-s4.db.default.cf.bosh.").answers) == BOTH
    assert ask(server, "q-a2s0.db.default.cf.bosh.").answers == (B,), "smart falls back to all"


def test_row_24_without_health_everybody_runs() -> None:
    server = resolver()
    assert ask(server, "q-s1.db.default.cf.bosh.").code == "NOERROR"
    assert ask(server, "q-s1.db.default.cf.bosh.").answers == ()
    assert set(ask(server, "q-s3.db.default.cf.bosh.").answers) == BOTH


def test_row_22_a_query_that_waits_for_first_checks_gets_them() -> None:
    now = [0.0]
    loop = Loop(lambda: now[0])
    known = FakeHealth(health.UNCHECKED)
    server = resolver(known=known, loop=loop)
    assert ask(server, "q-s3.db.default.cf.bosh.").answers == (), "without y1 nobody waits"
    replies: list[bytes] = []
    server.handle(dnskit.question("q-s3y1.db.default.cf.bosh."), replies.append)
    loop.turn(0)
    assert replies == []
    assert sorted(known.checked) == ["uuid-a", "uuid-b"]
    known.become(uuid_a=health.RUNNING, uuid_b=health.FAILING)
    known.waiting.pop()()
    loop.turn(0)
    assert [dnskit.read(reply).answers for reply in replies] == [(A,)]
    assert ask(server, "q-s3y1.db.default.cf.bosh.").answers == (A,), "what is known is not waited for"
    loop.close()


def test_row_22_nobody_waits_longer_than_a_second() -> None:
    now = [0.0]
    loop = Loop(lambda: now[0])
    known = FakeHealth(health.UNCHECKED)
    server = resolver(known=known, loop=loop)
    replies: list[bytes] = []
    for name in ("q-s3y1.db.default.cf.bosh.", "q-s0y1.db.default.cf.bosh."):
        server.handle(dnskit.question(name), replies.append)
    now[0] = 0.9
    loop.turn(0)
    assert replies == []
    now[0] = 1.0
    loop.turn(0)
    assert [set(dnskit.read(reply).answers) for reply in replies] == [set(), BOTH]
    known.waiting.pop()()
    loop.turn(0)
    assert len(replies) == 2, "who is late is not answered twice"
    loop.close()


def test_an_answer_that_was_waited_for_does_not_outlive_its_records() -> None:
    loop = Loop(lambda: 0.0)
    known = FakeHealth(health.UNCHECKED)
    server = resolver(known=known, loop=loop)
    name = "q-s0y1.db.default.cf.bosh."
    replies: list[bytes] = []
    server.handle(dnskit.question(name), replies.append)
    server.replace(resolver(records_text([UUID_B]), known=FakeHealth(), loop=loop).chain)
    known.waiting.pop()()
    loop.turn(0)
    assert set(dnskit.read(replies[0]).answers) == BOTH
    assert ask(server, name).answers == (B,)
    loop.close()


def test_row_25_a_groups_own_state_counts_where_a_query_names_the_group() -> None:
    rows = [row("uuid-A", "42", A, "1", 0)]
    known = FakeHealth(states={"uuid-a": health.FAILING, ("uuid-a", "7"): health.FAILING, ("uuid-a", "1"): health.RUNNING})
    server = resolver(records_text(rows), known=known)
    assert ask(server, "q-s3.q-g7.bosh.").answers == ()
    assert ask(server, "q-s3.db.default.cf.bosh.").answers == (), "any failing script marks the machine"
    assert ask(server, "q-s3.q-g1.bosh.").answers == (A,), "a group that runs on a failing machine runs"
    assert ask(server, "q-s1.q-g7.bosh.").answers == (A,)


def test_answers_follow_health_and_nobody_is_asked_after_for_nothing() -> None:
    known = FakeHealth()
    server = resolver(known=known)
    name = "q-s3.db.default.cf.bosh."
    assert set(ask(server, name).answers) == BOTH
    asked = len(known.asked)
    assert set(ask(server, name).answers) == BOTH
    assert len(known.asked) == asked == 2, "a prepared answer asks after nobody"
    known.become(uuid_a=health.FAILING)
    assert ask(server, name).answers == (B,)
    known.asked.clear()
    for name in ("uuid-A.db.default.cf.bosh.", "q-m42s0.q-g1.bosh.", "q-s4.q-g1.bosh.", "q-s0.q-g9.bosh."):
        ask(server, name)
    assert known.asked == [], "their answers do not depend on health"
    ask(server, "q-m42s3.q-g1.bosh.")
    assert known.asked == ["uuid-a"]


def test_row_26_an_alias_joins_its_targets() -> None:
    server = resolver(files={"x.int": ["q-s4.db.default.cf.bosh", "1.2.3.4", "::5"]})
    assert set(ask(server, "x.int.").answers) == {*BOTH, "1.2.3.4"}
    assert ask(server, "X.INT", "AAAA").answers == ("::5",)


def test_row_27_an_alias_with_a_placeholder_takes_one_label() -> None:
    server = resolver(files={"_.cell.int": ["_.db.default.cf.bosh"]})
    assert ask(server, "uuid-A.cell.int.").answers == (A,)
    assert ask(server, "a.b.cell.int.").code == "NXDOMAIN"


def test_row_28_names_below_an_alias_stay_here() -> None:
    assert ask(resolver(files={"x.int": ["q-s4.db.default.cf.bosh"]}), "other.x.int.").code == "NXDOMAIN"


def test_row_29_what_does_not_fit_is_cut_and_whole_over_tcp() -> None:
    rows = [row(f"uuid-{number}", str(number), f"10.0.1.{number}", "1", number) for number in range(100)]
    server = resolver(records_text(rows))
    short = ask(server, "q-s4.db.default.cf.bosh.")
    assert short.truncated
    assert short.size <= 512
    assert 26 <= len(short.answers) <= 30
    middle = ask(server, "q-s4.db.default.cf.bosh.", edns=1232)
    assert middle.truncated
    assert 512 < middle.size <= 1232
    assert middle.edns == 1232
    seen = {answer for _ in range(200) for answer in ask(server, "q-s4.db.default.cf.bosh.").answers}
    assert len(seen) == 100, "every address has its turn"
    whole = ask(server, "q-s4.db.default.cf.bosh.", tcp=True)
    assert not whole.truncated
    assert len(set(whole.answers)) == 100
    assert not ask(server, "q-s4.db.default.cf.bosh.", edns=4096).truncated


def test_row_30_reverse() -> None:
    reply = ask(resolver(files={"first.int": ["uuid-A.db.default.cf.bosh"]}), "5.0.0.10.in-addr.arpa.", "PTR")
    assert set(reply.answers) == {"uuid-A.db.default.cf.bosh.", "first.int."}
    assert reply.authoritative
    assert not reply.recursion_available
    assert ask(resolver(), "foo.arpa.", "PTR").code == "FORMERR"


def test_reverse_of_ipv6() -> None:
    server = resolver(records_text([row("uuid-6", "6", "fd00::a", "1", 0)]))
    name = ".".join(reversed("fd00000000000000000000000000000a")) + ".ip6.arpa."
    assert ask(server, name, "PTR").answers == ("uuid-6.db.default.cf.bosh.",)
    assert ask(server, "q-s0.db.default.cf.bosh.", "AAAA").answers == ("fd00::a",)


def test_row_33_without_recursors_other_names_are_refused() -> None:
    server = resolver(recursors=False)
    assert ask(server, "example.com.").code == "REFUSED"
    assert ask(server, "5.0.0.10.in-addr.arpa.", "PTR").code == "REFUSED"


def test_row_36_a_short_row_is_left_out() -> None:
    server = resolver(records_text([UUID_A[:-1], UUID_B]))
    assert ask(server, "q-s4.db.default.cf.bosh.").answers == (B,)
    assert len(server.chain.parts.lookup.records.warnings) == 1


def test_names_in_records_are_compared_without_case() -> None:
    server = resolver(records_text([row("UUID-A", "1", A, "1", 0, instance_group="DB")]))
    assert ask(server, "uuid-a.db.default.cf.bosh.").answers == (A,)


def test_the_longest_domain_wins_and_domains_end_at_labels() -> None:
    rows = [row("one", "1", A, "1", 0), row("two", "2", B, "1", 0, domain="east.bosh")]
    server = resolver(records_text(rows), recursors=False)
    assert ask(server, "q-s4.db.default.cf.east.bosh.").answers == (B,)
    assert ask(server, "q-s4.db.default.cf.bosh.").answers == (A,)
    assert ask(server, "q-s4.db.default.cf.xbosh.").code == "REFUSED"


def test_an_alias_of_records_with_and_without_placeholder() -> None:
    entry = {"root_domain": "bosh", "group_id": "7", "health_filter": "all", "initial_health_check": None, "placeholder_type": None}
    each = {**entry, "placeholder_type": "uuid"}
    text = records_text(aliases={"db.int": [entry, entry], "_.each.int": [each], "none.int": []})
    server = resolver(text, recursors=False, known=tracked())
    assert sorted(ask(server, "db.int.").answers) == sorted(BOTH), "each address once"
    assert ask(server, "uuid-b.each.int.").answers == (B,)
    assert ask(server, "none.int.").code == "REFUSED", "an alias of nothing makes no zone"


def test_file_aliases_win_over_those_of_records() -> None:
    entry = {"root_domain": "bosh", "group_id": "7", "health_filter": "all", "initial_health_check": None, "placeholder_type": None}
    server = resolver(records_text(aliases={"db.int": [entry]}), files={"db.int": ["1.2.3.4"], "all.int": ["*.db.default.cf.bosh"]})
    assert ask(server, "db.int.").answers == ("1.2.3.4",)
    assert set(ask(server, "all.int.").answers) == BOTH
