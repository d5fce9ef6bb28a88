"""Records as they come from a file: read in slices, kept out when they are no good, and what is wrong said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dnskit
import pytest
from dnskit import KEYS, UUID_A, UUID_B, records_text, row

from director.guest.dns.loading import BadRecords, load, loading
from director.guest.dns.loop import Loop
from director.guest.dns.records import Record, Records
from director.guest.dns.service import Service
from director.guest.dns.settings import parse
from director.guest.dns.sources import FileSource

NAME = "q-s4.db.default.cf.bosh"


class Followed:
    """A source with its file and a clock that tests move."""

    def __init__(self, folder: Path, **more: bool) -> None:
        self.now = 0.0
        self.path = folder / "records.json"
        self.loop = Loop(lambda: self.now)
        self.source = FileSource(str(self.path), **more)
        self.changes = 0

    def start(self) -> None:
        self.source.start(self.loop, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def write(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.rename(self.path)
        self.look()

    def look(self) -> None:
        self.now += 0.3
        for _ in range(500):
            self.loop.turn(0)
            if self.source._steps is None:
                return


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    made = Followed(tmp_path)
    made.path.write_text(records_text(), "utf-8")
    made.start()
    return made


def test_what_is_there_is_read_before_the_start_is_over(followed: Followed) -> None:
    assert (followed.source.records.version, followed.source.records.count, followed.source.problem) == (17, 2, "")


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    late = Followed(tmp_path)
    late.start()
    assert "does not exist" in late.source.problem
    late.write(records_text())
    assert (late.source.records.count, late.source.problem, late.changes) == (2, "", 1)


@pytest.mark.parametrize(("text", "why"), [
    ("", "no JSON object"), ("{", "no JSON"), ("null", "no JSON object"), ("[]", "no JSON object"), ("{}", "`record_keys` is no list"),
    ('{"records": null, "record_infos": null, "record_keys": null}', "is no list"), (records_text(version=18)[:-200], "no JSON"),
    (records_text(version=18) + "}", "something stands behind"), ("[" * 100_000, "no JSON"),
    ('{"version": 18, "records": []}', "`record_keys`"),
    (records_text(version=16), "version 16, which is older"), ('{"records": [[', "no JSON"), ('{"aliases": ' + "[" * 50_000, "no JSON"),
])
def test_what_is_no_good_is_kept_out_and_said(followed: Followed, text: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    followed.write(text)
    assert why in followed.source.problem
    assert why in caplog.text
    assert "version 17 stays in use" in caplog.text
    assert (followed.source.records.count, followed.changes) == (2, 0)
    followed.write(records_text([UUID_A], version=19))
    assert (followed.source.records.count, followed.source.problem, followed.changes) == (1, "", 1)


def test_bytes_that_are_no_text_are_kept_out(followed: Followed) -> None:
    followed.path.write_bytes(b'{"version": 18, "records": [["\xff\xfe"]]}')
    followed.look()
    assert followed.source.problem
    assert followed.source.records.count == 2


def test_a_file_that_goes_leaves_its_records(followed: Followed) -> None:
    followed.path.unlink()
    followed.look()
    assert followed.source.records.count == 2


def test_row_37_an_older_version_is_loaded_where_that_is_wanted(tmp_path: Path) -> None:
    willing = Followed(tmp_path, accept_older=True)
    willing.path.write_text(records_text(), "utf-8")
    willing.start()
    willing.write(records_text([UUID_B], version=3))
    assert (willing.source.records.version, willing.source.records.count) == (3, 1)


def test_row_37_on_the_wire(tmp_path: Path) -> None:
    for accept, expected in ((True, {"10.0.0.6"}), (False, {"10.0.0.5", "10.0.0.6"})):
        path = tmp_path / f"{accept}.json"
        path.write_text(records_text(), "utf-8")
        now = [0.0]
        tree = {"listen": ["127.0.0.1:0"], "records": str(path), "disable_recursors": True, "accept_older_records": accept}
        service = Service(parse(tree), Loop(lambda now=now: now[0]))
        service.start()
        path.write_text(records_text([UUID_B], version=3), "utf-8")
        os.utime(path, ns=(1, 1))
        now[0] += 1
        for _ in range(20):
            service.loop.turn(0)
        assert set(dnskit.ask(service.resolver, NAME).answers) == expected
        service.stop()


def test_reading_goes_on_in_slices(followed: Followed) -> None:
    rows = [row(f"id-{number}", str(number), "10.0.0.1", "1", number) for number in range(1000)]
    steps = loading(records_text(rows))
    assert len(list(steps)) >= 1000 // 40 + 1000 // 80


@pytest.mark.parametrize("order", [
    ["record_infos", "records", "aliases", "record_keys", "version"], ["version", "aliases", "record_keys", "records", "record_infos"],
])
def test_the_order_of_the_document_does_not_matter(order: list[str]) -> None:
    tree = json.loads(records_text(aliases={"x.int": []}))
    found = load(json.dumps({name: tree[name] for name in order}, indent=1))
    assert (found.version, found.count, found.names_of(b"\x0a\0\0\5")) == (17, 2, ("uuid-A.db.default.cf.bosh",))
    assert found.warnings == []


def test_columns_may_stand_anywhere_be_unknown_or_missing() -> None:
    keys = ["colour", "ip", *[key for key in KEYS if key not in ("ip", "az", "agent_id", "num_id")]]
    values = dict(zip(KEYS, UUID_A, strict=True))
    infos = [["red", *[values[key] for key in keys[1:]]]]
    found = load(json.dumps({"Version": 5, "records": [], "record_keys": keys, "record_infos": infos}))
    record = found.with_id("uuid-a")[0]
    assert (found.version, record.ip, record.agent_id, record.num_id, record.az_id) == (5, "10.0.0.5", "", "", "1")


@pytest.mark.parametrize(("changes", "why"), [
    ({"ip": "10.0.0"}, "no IP address"), ({"ip": ""}, "no IP address"), ({"ip": 5}, "`ip` is no text"), ({"id": None}, "`id` is no text"),
    ({"domain": ""}, "`domain` is empty"), ({"group_ids": "1"}, "`group_ids` is no list"),
    ({"group_ids": [None]}, "`group_ids` is no list"),
    ({"az_id": [1]}, "`az_id` is no text"), ({"ip": "10.0.0.5\x00"}, "no IP address"), ({"ip": "١٠.0.0.5"}, "no IP address"),
])
def test_a_row_that_cannot_be_read_is_left_out_and_said(changes: dict[str, object], why: str) -> None:
    bad = [changes.get(key, value) for key, value in zip(KEYS, row("bad", "1", "10.0.0.9", "1", 0), strict=True)]
    found = load(records_text([bad, UUID_B]))
    assert [record.id for record in found] == ["uuid-b"]
    assert why in " ".join(found.warnings)


def test_what_the_reference_reads_loosely_is_read() -> None:
    found = load(records_text([row("a", "1", "10.0.0.1", "1", 0, az_id=1, group_ids=[7], domain="Bosh.", instance_index="x")]))
    record = found.with_id("a")[0]
    assert (record.az_id, record.group_ids, record.domain, record.instance_index) == ("1", ("7",), ("bosh",), 0)


def test_warnings_are_bounded() -> None:
    assert len(load(records_text([["short"]] * 1000)).warnings) == 100


def test_bad_hosts_are_left_out_and_said() -> None:
    tree = json.loads(records_text())
    tree["records"] = [["10.0.0.5", "a.b"], ["x", "c.d"], ["10.0.0.6"], None]
    found = load(json.dumps(tree))
    assert found.names_of(b"\x0a\0\0\5") == ("a.b",)
    assert len(found.warnings) == 3


def test_records_change_in_place() -> None:
    found = load(records_text())
    first, second = found.with_id("uuid-a")[0], found.with_id("uuid-b")[0]
    found.remove(first)
    assert (found.count, list(found), list(found.in_group(("bosh",), "7"))) == (1, [second], [second])
    assert found.with_agent("agent-uuid-a") == ()
    with pytest.raises(KeyError):
        found.remove(first)
    found.add(first)
    assert set(found.in_domain(("bosh",))) == {first, second}
    for record in (first, second):
        found.remove(record)
    assert list(found.domains) == []
    found.add_host(b"\x0a\0\0\5", "second")
    found.remove_host(b"\x0a\0\0\5", "uuid-A.db.default.cf.bosh")
    assert found.names_of(b"\x0a\0\0\5") == ("second",)
    found.remove_host(b"\x0a\0\0\5", "second")
    assert found.names_of(b"\x0a\0\0\5") == ()


def test_many_records_of_one_instance() -> None:
    base = load(records_text()).with_id("uuid-a")[0]
    two = base._replace(network="other", packed=b"\x0b\0\0\5")
    found = Records([base, two])
    assert found.with_id("uuid-a") == (base, two)
    found.remove(base)
    assert found.with_id("uuid-a") == (two,)
    assert isinstance(two, Record)


def test_a_document_without_records_is_not_one() -> None:
    with pytest.raises(BadRecords):
        load("{}")
