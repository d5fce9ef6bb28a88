"""`python -m tests.docs.names_rows`: writes docs/operator/names-rows.md, the table of names and the test of each row, from the tests."""

from __future__ import annotations

import sys
from typing import Any

from tests.docs.proofs import ROOT, as_pytest_names, rows

PAGE = ROOT / "docs/operator/names-rows.md"
HEAD = """# What names are answered, row by row

The table "Easy to get wrong" of the DNS contract, and what proves each row on the wire. Made of the tests by
`python -m tests.docs.names_rows`; a test sees that it is up to date. Group `db` (id 1, link's group 7), network `default` (id 3),
deployment `cf`, domain `bosh`: A is uuid-A, 10.0.0.5, zone 1, number 42, index 0, healthy; B is uuid-B, 10.0.0.6, zone 2, number 43,
index 1, failing.
What the letters of queries mean is on [the page about names](names.md).

| Row | Asked | Answered | Test |
|---|---|---|---|
"""
TOLD = {
    21: ("`q-s3.db.default.cf.bosh.`, before anything was checked", "NOERROR, empty: unchecked is not healthy"),
    22: ("`q-s3y1.db.default.cf.bosh.`, before anything was checked", "A, once the checks are back; after a second what is known then"),
    23: ("`s1`, `s3`, `s4` and `s0` while B does not answer checks",
         "B is in `s4`, and in `s0` when nobody is better; not in `s1`, not in `s3`"),
    24: ("`q-s1.db.default.cf.bosh.`, health switched off", "NOERROR, empty; `s3` has both"),
    25: ("`q-s3.q-g7.bosh.` while the group's own check fails on A", "NOERROR, empty; a name without the group follows the machine"),
    26: ("`x.int.`, an alias of `q-s4.db.default.cf.bosh` and 1.2.3.4", "A, B and 1.2.3.4"),
    27: ("`uuid-A.cell.int.`, alias `_.cell.int`", "A; `a.b.cell.int.` is NXDOMAIN"),
    28: ("`other.x.int.`, with an alias `x.int`", "NXDOMAIN, and nobody else is asked"),
    29: ("a group of a hundred over UDP without EDNS", "at most 512 bytes with TC; all hundred over TCP"),
    30: ("PTR `5.0.0.10.in-addr.arpa.`", "`uuid-A.db.default.cf.bosh.`, authoritative, no recursion"),
    31: ("`example.com.`; the first recursor denies, the second answers", "the second's answer"),
    32: ("`example.com.`; all recursors are silent",
         "SERVFAIL after two seconds for each; NXDOMAIN, as the contract has it, with `recursor_failure: NXDOMAIN`"),
    33: ("`example.com.` with `disable_recursors`", "REFUSED"),
    36: ("any name, while a row of the records is too short", "that row is left out, all others are served"),
    37: ("any name, after records of a lower version were put in place",
         "the newer ones stay in use, and the log says so; with `accept_older_records` the older are loaded, as the contract has it"),
}


def text() -> str:
    """The page."""
    names = _names()
    lines = []
    for number, tests in rows("dns").items():
        asked = [row for row in names if row[0] == number]
        lines += [f"| {number} | {_type(row)}`{row[1]}` | {_answer(row)} | `{_test(tests[0], row)}` |" for row in asked]
        if not asked:
            question, answer = TOLD[number]
            lines.append(f"| {number} | {question} | {answer} | {', '.join(f'`{_test(test)}`' for test in tests)} |")
    return HEAD + "\n".join(lines) + "\n"


def _names() -> list[tuple[Any, ...]]:
    sys.path.insert(0, str(ROOT / "tests/dns"))
    try:
        import test_dns_rows
    finally:
        sys.path.pop(0)
    return [*test_dns_rows.NAMES]


def _type(row: tuple[Any, ...]) -> str:
    return "" if row[2] == "A" else f"{row[2]} "


def _answer(row: tuple[Any, ...]) -> str:
    return ", ".join(sorted(row[4])) if row[4] else "NOERROR, empty" if row[3] == "NOERROR" else str(row[3])


def _test(proof: str, row: tuple[Any, ...] | None = None) -> str:
    """As pytest names it."""
    return as_pytest_names(proof) + (f"[{row[0]} {row[2]} {row[1]}]" if row else "")


if __name__ == "__main__":
    PAGE.write_text(text())
