"""Version texts, their order, and the next ones. Release contract, section 5; section 21, rows 7 to 9."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director import errors
from director.release import versions

COMPARED = [
    ("1.10", "1.9", 1), ("1.0", "1", 0), ("1.0-rc.1", "1.0", -1), ("1+dev.1", "1", 1), ("1+dev.10", "1+dev.9", 1), ("2", "1+dev.99", 1),
    ("1.a", "1.5", 1), ("1.a", "1", 1), ("007", "7", 0), ("1.", "1", 0), ("3.4-dev", "3+dev.4", 0), ("1-rc", "1-rc.0", 0),
]


@pytest.mark.parametrize(("left", "right", "expected"), COMPARED)
def test_compare(left: str, right: str, expected: int) -> None:
    assert versions.compare(left, right) == expected
    assert versions.compare(right, left) == -expected


def test_sort() -> None:
    assert versions.sort(["2", "10", "1+dev.2", "1", "1-rc.1", "1.0.1"]) == ["1-rc.1", "1", "1+dev.2", "1.0.1", "2", "10"]


@pytest.mark.parametrize("text", ["", "1..2", ".1", ".", "-", "1-", "1+", "1 2", "1\n2", "a/b", "1+a+b", "ü"])
def test_invalid(text: str) -> None:
    with pytest.raises(errors.ReleaseError) as caught:
        versions.parse(text)
    assert caught.value.code == 30010


component = st.one_of(st.integers(0, 12).map(str), st.sampled_from(["a", "b", "rc", "dev", "0a"]))
part = st.lists(component, min_size=1, max_size=3).map(".".join)
version = st.builds(
    lambda release, pre, post: release + (f"-{pre}" if pre else "") + (f"+{post}" if post else ""), part, st.none() | part, st.none() | part
)


@settings(deadline=None)
@given(version, version, version)
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    assert versions.compare(a, b) == -versions.compare(b, a)
    assert versions.compare(a, a) == 0
    if versions.compare(a, b) <= 0 and versions.compare(b, c) <= 0:
        assert versions.compare(a, c) <= 0
    if versions.compare(a, b) == 0:
        assert versions.compare(a, c) == versions.compare(b, c)


@settings(deadline=None)
@given(version)
def test_what_is_parsed_reads_back(text: str) -> None:
    assert versions.parse(str(versions.parse(text))) == versions.parse(text)


@pytest.mark.parametrize(
    ("prefix", "known", "expected"),
    [
        ("latest", ["1", "10", "2"], "10"), ("1.latest", ["1.2", "1.10", "10.0"], "1.10"), ("1.2.latest", ["1.2", "102"], "1.2"),
        ("3.latest", ["4"], None), ("", [], None), ("3.latest", ["3-rc.1", "3+dev.1", "30"], "3+dev.1"),
    ],
)
def test_latest(prefix: str, known: list[str], expected: str | None) -> None:
    assert versions.latest_of(prefix, known) == expected


def test_stemcell_versions_read_underscores_as_dots() -> None:
    assert versions.latest_of("latest", ["3232_3", "3232.10"], stemcell=True) == "3232.10"
    assert versions.same_line("1.5", "1.9")
    assert not versions.same_line("1.5", "2.0")


@pytest.mark.parametrize(
    ("known", "expected"),
    [([], "0+dev.1"), (["3"], "3+dev.1"), (["3", "3+dev.4"], "3+dev.5"), (["3+dev.4", "4"], "4+dev.1"), (["007"], "007+dev.1"),
     (["1.2-rc.1+dev.9"], "1.2-rc.1+dev.10")],
)
def test_next_dev(known: list[str], expected: str) -> None:
    assert versions.next_dev(known) == expected


def test_other_next_versions() -> None:
    assert versions.timestamped(["1.2-rc.1"], 99) == "1.2-rc.1+dev.99"
    assert versions.next_final([]) == "1"
    assert versions.next_final(["1.2", "1.1"]) == "1.3"
    with pytest.raises(errors.ReleaseError, match="'a' is not an integer"):
        versions.next_dev(["1+dev.a"])


@pytest.mark.parametrize(
    ("text", "stored", "expected"),
    [
        ("5+dev.1", ["5+dev.3"], "5+dev.4"), ("5+dev.1", ["5"], "5+dev.1"), ("5+dev.1", [], "5+dev.1"),
        ("5+dev.1", ["5.0+dev.3"], "5.0+dev.4"), ("5-rc.1+dev.8", ["5"], "5-rc.1+dev.1"),
    ],
)
def test_rebase(text: str, stored: list[str], expected: str) -> None:
    assert versions.rebased(text, stored) == expected


def test_only_dev_versions_are_rebased() -> None:
    with pytest.raises(errors.ReleaseError, match="Failed to Rebase"):
        versions.rebased("5", ["5+dev.3"])
