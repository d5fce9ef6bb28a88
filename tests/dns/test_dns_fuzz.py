"""The fuzz program itself: it runs, and it finds what is wrong."""

from __future__ import annotations

import pytest

from director.guest.dns import prepared, server
from tests.fuzz import dns as fuzz


def test_some_packets() -> None:
    told = fuzz.run(3000, 60, seed=7)
    assert told["packets"] == 3000
    codes = {"NOERROR", "FORMERR", "NXDOMAIN", "REFUSED", "NOTIMP"}
    assert {*codes, "ignored", "upstream refused", "upstream passed on"} <= set(told["outcomes"])


def test_a_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> object:
        made = prepared.prepare(*args, **more)  # type: ignore[arg-type]
        return made + b"x" if isinstance(made, bytes) else made

    monkeypatch.setattr(server, "prepare", broken)
    with pytest.raises(AssertionError, match="bytes left over") as caught:
        fuzz.run(3000, 60, seed=7)
    assert caught.value.__notes__
