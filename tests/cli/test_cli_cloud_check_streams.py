"""`cloud check`: each check is told when it is known, within a time, and Ctrl-C ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from cli_world import Cli, Script

from cpis import contract
from cpis.contract import Check, Uses
from cpis.fake import FakeCpi
from director.cli import cloud_checking
from tests.cli.test_cli_clouds import check, lines

MANIFEST = """
name: app
releases: []
stemcells: []
instance_groups: []
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1, update_watch_time: 1}
"""


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The fake cloud answers the second question when the event is set, at the end of the test."""
    freed = threading.Event()

    def checks(_: FakeCpi, uses: Uses) -> Iterator[Check]:
        yield Check("door", "reach", True, "open")
        freed.wait(60)
        yield Check("quota", "quota", True)

    monkeypatch.setattr(FakeCpi, "checks", checks)
    yield freed
    freed.set()


def watched(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> list[str]:
    """Names of the rows that are shown; `then` is called once the first is out."""
    shown: list[str] = []
    original = cloud_checking.Shown.row

    def row(self: cloud_checking.Shown, value: cloud_checking.Row) -> None:
        original(self, value)
        shown.append(str(value["name"]))
        if len(shown) == 1:
            then()

    monkeypatch.setattr(cloud_checking.Shown, "row", row)
    return shown


def test_a_check_is_told_while_the_next_is_asked(offline: Cli, monkeypatch: pytest.MonkeyPatch, slow: threading.Event) -> None:
    shown = watched(monkeypatch, slow.set)  # the cloud goes on only after the first row is out
    result = offline.ok("cloud", "check", "--cpi", "fake", "--config", offline.file("cpi.yml", "{}"))
    assert shown == ["door", "quota"]
    assert [line.split("\t")[0].strip() for line in result.out.splitlines()] == ["door", "quota"], "a row each to a pipe, and no more"


def test_what_is_not_told_in_time_is_not_asked(offline: Cli, slow: threading.Event) -> None:
    config, cloud = offline.file("cpi.yml", "{}"), offline.file("cloud.yml", "vm_types: [{name: small, cloud_properties: {memory: 1}}]")
    result = offline("cloud", "check", "--cpi", "fake", "--config", config, "--cloud-config", cloud, "--stemcell", "s-1", "--timeout", "3",
                     "--json")
    assert result.code == 1
    assert [(row["check"], row["result"]) for row in result.rows] == [
        ("door", "ok"), ("time for all checks", "failed"), ("what the account may do, and how much is left", "not asked"),
        ("vm_type small", "not asked"), ("stemcell s-1", "not asked")]
    assert "no answer within 3 s" in result.rows[1]["detail"]
    assert "--timeout 6" in result.rows[1]["what_to_do"]
    assert any("0 cannot be told without making something, 3 not asked" in line for line in result.json["Lines"])


def test_ctrl_c_ends_a_check_that_waits(offline: Cli, monkeypatch: pytest.MonkeyPatch, slow: threading.Event) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    shown = watched(monkeypatch, interrupt)
    offline.terminal = True
    result = offline("cloud", "check", "--cpi", "fake", "--config", offline.file("cpi.yml", "{}"))
    assert (result.code, shown) == (130, ["door"])
    assert "door (reach): ok: open" in result.out
    assert "Stopped" in result.err


def test_rows_of_a_director_are_shown_while_its_task_goes_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.tasks.scripts["check_cloud"] = Script(result=lines(check(True, name="door", kind="reach")), state="queued")

    def go_on() -> None:
        number = cli.tasks.store.tasks.select()[0].id
        cli.tasks.write(number, "result", lines(check(False, name="quota", kind="quota")))
        cli.tasks.store.tasks.finish(number, "done", "1 check(s) failed")

    shown = watched(monkeypatch, go_on)  # without the first row there would be no end
    result = cli("cloud", "check", "--timeout", "90")
    assert (result.code, shown) == (1, ["door", "quota"])
    assert cli.tasks.created[-1] == ("check_cloud", {"cpi": "", "timeout": 90})


def test_why_a_check_failed_as_a_whole_is_told(cli: Cli) -> None:
    error = {"time": 1, "error": {"code": 100, "message": "the CPI refuses its config"}}
    cli.tasks.scripts["check_cloud"] = Script(events=[error], state="error")
    result = cli("cloud", "check")
    assert result.code == 1
    assert "the CPI refuses its config" in result.err


def test_at_a_terminal_there_is_a_line_each_and_a_table_of_what_is_not_well(cli: Cli) -> None:
    rows = [check(True, name="door"), check(False, name="key", suggestion="Ask for one."), check(None, name="attic", asked=False)]
    cli.tasks.scripts["check_cloud"] = Script(result=lines(*rows))
    cli.terminal = True
    told, _, table = cli("cloud", "check").out.partition("What to do")
    assert all(f"{name} (permission): {word}" in told for name, word in (("door", "ok"), ("key", "failed"), ("attic", "not asked")))
    assert "door" not in table
    assert "Ask for one." in table


@pytest.mark.parametrize("timeout", ["0", "4000", "soon"])
def test_a_time_that_is_none_is_refused(cli: Cli, timeout: str) -> None:
    assert "--timeout" in cli("cloud", "check", "--timeout", timeout).err
    assert not cli.tasks.created


@pytest.mark.parametrize("timeout", [0, 3601, "5", True])
def test_the_api_refuses_a_time_that_is_none(cli: Cli, timeout: object) -> None:
    assert cli.world.post("/cloud_checks", json={"timeout": timeout}).status_code == 400
    assert not cli.tasks.created


def test_portability_asks_within_the_time_and_tells_as_it_goes(offline: Cli, slow: threading.Event) -> None:
    config = offline.file("cpis.yml", "cpis: [{name: a, type: fake, properties: {}}]")
    offline.terminal = True
    asked = ("portability", offline.file("app.yml", MANIFEST), "--cloud-config", f"fake={offline.file('c.yml', 'azs: []')}")
    result = offline(*asked, "--live", config, "--timeout", "3")
    assert result.code == 1
    assert "fake: door (reach): ok: open" in result.out
    assert "fake: time for all checks (reach): failed: no answer within 3 s" in result.out
    assert "not asked: the time was over" in result.out
    assert "--timeout goes with --live" in offline(*asked, "--timeout", "1").err


def test_a_cpi_that_breaks_is_told(offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def checks(_: FakeCpi, uses: Uses) -> Iterator[Check]:
        yield Check("door", "reach", True)
        raise contract.Invalid("half an answer", suggestion="Look.")

    monkeypatch.setattr(FakeCpi, "checks", checks)
    result = offline("cloud", "check", "--cpi", "fake", "--config", offline.file("cpi.yml", "{}"))
    assert result.code == 1
    assert "fake: half an answer" in result.err
    assert "door" in result.out
