"""The indexed grammar beside a plain one: every record looked at for every name, as the contract is written. Source: sections 3 to 5."""

from __future__ import annotations

import re
from typing import Any

import dnskit
from dnskit import ask, records_text, resolver
from hypothesis import given, settings
from hypothesis import strategies as st

from director.guest.dns import grammar

DOMAINS = ("bosh", "east.bosh", "cf.internal")
GROUPS = ("db", "web", "webx", "q-g7")
STATES = ("running", "failing", "unknown", "unchecked")

ROWS = st.fixed_dictionaries({
    "group": st.sampled_from(GROUPS), "group_ids": st.lists(st.sampled_from(["1", "2", "7"]), unique=True),
    "az": st.sampled_from([None, "1", "2"]), "network": st.sampled_from([("default", "3"), ("other", "4")]),
    "deployment": st.sampled_from(["cf", "cf2"]), "domain": st.sampled_from(DOMAINS), "index": st.integers(0, 2),
    "state": st.sampled_from(STATES), "six": st.booleans(),
})
CODES = st.lists(st.sampled_from(
    ["a1", "a2", "i0", "i1", "m1", "m2", "n3", "n4", "s0", "s1", "s2", "s3", "s4", "y0", "-", "x9", "s03"]), max_size=4)
PLACES = st.one_of(
    st.sampled_from(["q-g1", "q-g2", "q-g7", "q-g9", "*", "nonsense", "a.b", "a.b.c.d"]),
    st.tuples(
        st.sampled_from([*GROUPS, "*", "we*", "*b", "*bx", "none"]), st.sampled_from(["default", "*", "oth*"]),
        st.sampled_from(["cf", "cf*", "*2", "none"])).map(".".join))
FIRSTS = st.one_of(CODES.map(lambda codes: "q-" + "".join(codes)), st.sampled_from(["id-0", "id-1", "ID-2", "0", "nobody"]))


NAMES = st.tuples(FIRSTS, PLACES, st.sampled_from([*DOMAINS, "example"]))


def like(text: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def plainly(rows: list[dict[str, Any]], name: str) -> tuple[str, set[str]]:
    """(code, addresses) of an A question."""
    name = name.lower()
    domains = sorted({row["domain"] for row in rows if name.endswith("." + row["domain"])}, key=len)
    if not domains:
        return "REFUSED", set()
    domain = domains[-1]
    first, *place = name[: -len(domain) - 1].split(".")
    found = re.findall(r"([aismny])([0-9]+)", first[2:]) if first.startswith("q-") else None
    if len(place) not in (1, 3) or found == []:
        return "FORMERR", set()
    asked = re.fullmatch(r"q-g([0-9]+)", place[0])
    matching = []
    for number, row in enumerate(rows):
        fits = row["domain"] == domain and (asked is None or asked[1] in row["group_ids"])
        if len(place) == 3:
            fits = fits and all(map(like, (row["group"], row["network"][0], row["deployment"]), place))
        values = {"a": row["az"], "i": str(row["index"]), "m": str(number), "n": row["network"][1]}
        if found is None:
            fits = fits and first == f"id-{number}"
        else:
            for code in "aimn":
                wanted = [digits for letter, digits in found if letter == code]
                fits = fits and (not wanted or values[code] in wanted)
        if fits:
            matching.append((number, row))
    if not matching:
        return "NXDOMAIN", set()
    filters = [int(digits) for letter, digits in found or [] if letter == "s"]
    status = filters[0] if filters else 0
    states = {1: {"failing"}, 3: {"running"}, 4: set(STATES)}.get(status, {"running", "unchecked"})
    chosen = [item for item in matching if item[1]["state"] in states] or ([] if status in (1, 3, 4) else matching)
    return "NOERROR", {f"10.0.0.{number + 1}" for number, row in chosen if not row["six"]}


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.lists(NAMES, min_size=8, max_size=8))
def test_names_mean_what_the_contract_says(rows: list[dict[str, Any]], names: list[tuple[str, str, str]]) -> None:
    infos = [
        dnskit.row(
            f"id-{number}", str(number), f"fd00::{number}" if row["six"] else f"10.0.0.{number + 1}", "1", row["index"], az_id=row["az"],
            instance_group=row["group"], group_ids=row["group_ids"], network=row["network"][0], network_id=row["network"][1],
            deployment=row["deployment"], domain=row["domain"])
        for number, row in enumerate(rows)
    ]
    known = dnskit.FakeHealth(states={f"id-{number}": row["state"] for number, row in enumerate(rows)})
    server = resolver(records_text(infos), known=known, recursors=False)
    for parts in names:
        name = ".".join(parts)
        reply = ask(server, name)
        assert (reply.code, set(reply.answers)) == plainly(rows, name), name


@settings(max_examples=300, deadline=None)
@given(st.text("ab", max_size=12), st.text("ab*", max_size=10))
def test_patterns(text: str, pattern: str) -> None:
    assert grammar.like(text, pattern) == like(text, pattern)


def test_signs_of_other_patterns_stand_for_themselves() -> None:
    assert [grammar.like("ab", pattern) for pattern in ("a?", "a[b]", "[a]*", "a.", ".*", "a*")] == [False] * 5 + [True]


def test_a_label_of_stars_has_an_end() -> None:
    assert not grammar.like("a" * 63, "*a" * 31 + "b"), "a regular expression of Python 3.8 would still be at it"
