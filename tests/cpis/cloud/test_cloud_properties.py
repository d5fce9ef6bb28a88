"""Schemas of cloud properties, sizes, tags, user data, texts."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
import yaml

from cpis.cloud import sizes, tags, text, userdata
from cpis.cloud.drivers import PerThread
from cpis.cloud.keyed import OnePerToken
from cpis.cloud.schema import Schema
from cpis.contract import Invalid, Login, VmResources

SCHEMA = Schema.read("test", """
cpi:
  region: {type: string, required: true, description: Where.}
  secret_key: {type: string, secret: true}
  options: {type: hash, keys: {password: {type: string, secret: true}}}
az:
  zone: {type: string, required: true}
vm_type:
  size: {type: string, default: small, description: The size.}
  disk: {type: hash, keys: {size: {type: integer}, kind: {type: string, values: [fast, slow]}}}
  groups: {type: list, items: {type: string}}
  labels: {type: hash, open: true}
  pool: {type: [string, hash], keys: {name: {type: string}}}
""")


@pytest.mark.parametrize(
    ("section", "given", "message", "suggestion"),
    [
        ("vm_type", {"sise": "x"}, "unknown key 'sise'", "Did you mean 'size'?"),
        ("vm_type", {"size": 1}, "'size' must be a string, not 1", ""),
        ("vm_type", {"disk": {"sizes": 1}}, "unknown key 'disk.sizes'", "Did you mean 'size'?"),
        ("vm_type", {"disk": {"size": True}}, "'disk.size' must be an integer, not True", ""),
        ("vm_type", {"disk": {"kind": "fats"}}, "'disk.kind' must be one of fast, slow, not 'fats'", "Did you mean 'fast'?"),
        ("vm_type", {"groups": ["a", 2]}, "'groups[1]' must be a string, not 2", ""),
        ("vm_type", {"pool": 3}, "'pool' must be a string or a hash, not 3", ""),
        ("vm_type", {"pool": {"nam": "x"}}, "unknown key 'pool.nam'", "Did you mean 'name'?"),
        ("az", {}, "'zone' is missing", ""),
        ("cpi", {"region": None}, "'region' is missing", "region: Where."),
        ("cpi", {"region": "r", "secret_key": 12345}, "'secret_key' must be a string, not what it is", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_nearest(section: str, given: dict[str, Any], message: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        SCHEMA.check(section, given)
    assert message in str(caught.value)
    assert suggestion in caught.value.suggestion
    assert f"caisson docs cpi/test {section}s" in caught.value.suggestion


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        SCHEMA.check("vm_type", {"sise": "x", "groups": 1, "disk": {"kind": "x", "size": "y"}})
    assert str(caught.value).count(";") == 3


def test_what_is_right_comes_with_defaults_and_without_nulls() -> None:
    given = {"zone": "z1", "labels": {"any": "thing"}, "disk": None, "pool": {"name": "p"}}
    assert SCHEMA.check("vm_type", given) == {"size": "small", "zone": "z1", "labels": {"any": "thing"}, "pool": {"name": "p"}}
    assert SCHEMA.check("cpi", {"region": "r", "director": "d", "state_dir": "s"})["director"] == "d"


def test_secrets_are_known() -> None:
    assert SCHEMA.secrets({"region": "r", "secret_key": "hush", "options": {"password": "quiet"}}) == ("hush", "quiet")


@pytest.mark.parametrize("cloud", ["nowhere", "../etc", ""])
def test_a_cloud_without_a_schema(cloud: str) -> None:
    with pytest.raises(Invalid):
        Schema.of(cloud)


@pytest.mark.parametrize("bad", ["weird: {a: {type: string}}", "az: {a: {type: strin}}", "az: {a: {typ: string}}"])
def test_a_schema_is_checked_itself(bad: str) -> None:
    with pytest.raises(ValueError, match="schema of"):
        Schema.read("test", bad)


@pytest.mark.parametrize(("mib", "gib"), [(1, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3)])
def test_row_12_mib_round_up(mib: int, gib: int) -> None:
    assert sizes.gib(mib) == gib


TYPES = (
    sizes.MachineType("tiny", 1, 1024), sizes.MachineType("small", 2, 4096), sizes.MachineType("wide", 2, 8192),
    sizes.MachineType("own-disk", 2, 4096, 10240), sizes.MachineType("large", 8, 32768),
)


@pytest.mark.parametrize(
    ("cpu", "ram", "disk", "name"),
    [(1, 512, 1, "tiny"), (1, 1025, 1, "small"), (2, 4096, 20480, "small"), (2, 5000, 1, "wide"), (3, 1, 1, "large")],
)
def test_the_smallest_machine(cpu: int, ram: int, disk: int, name: str) -> None:
    assert sizes.smallest(TYPES, VmResources(cpu, ram, disk)).name == name


def test_row_32_none_is_large_enough() -> None:
    with pytest.raises(Invalid) as caught:
        sizes.smallest(TYPES, VmResources(1024, 1, 1))
    assert "large" in caught.value.suggestion
    for bad in (VmResources(0, 1, 1), VmResources(1, -5, 1), VmResources(1, 1, None)):  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="must be a whole number above 0"):
            sizes.smallest(TYPES, bad)


LABELS = tags.Rules(4, 10, 12, r"[^a-z0-9_-]+", r"[^a-z0-9_-]+", lower=True, first_of_key=r"[a-z]")


def test_row_15_metadata_is_cut_cleaned_or_dropped() -> None:
    given = {"Name": "Web/0 (x)", "7": "seven", "empty": "", "none": None, "long-long-key": "v" * 300}
    assert tags.clean(given, LABELS) == {"name": "web-0-x-", "n7": "seven", "long-long-": "v" * 12}


def test_row_16_the_forced_keys_stay() -> None:
    given = {**{f"a{number}": "x" for number in range(60)}, "director": "d", "deployment": "cf", "caisson-token": "t"}
    kept = tags.clean(given, tags.Rules(3, 20, 20))
    assert set(kept) == {"director", "deployment", "caisson-token"}


def test_all_that_is_dropped_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    tags.clean({"director": "d", "b": "2", "a": "1", "none": None, "c": "3"}, tags.Rules(2, 20, 20))
    assert [record.getMessage() for record in caplog.records] == ["metadata that is left out, since this cloud takes 2: b, c"]
    caplog.clear()
    tags.clean({"director": "d", "none": None}, tags.Rules(2, 20, 20))
    assert not caplog.records, "what is empty is nowhere a tag"


def test_user_data_brings_user_and_host_key() -> None:
    login = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "-----BEGIN\nx\n-----END\n")
    data = userdata.cloud_config(login, "vm-1", {"runcmd": [["true"]]})
    assert data.startswith("#cloud-config\n")
    document = yaml.safe_load(data)
    assert document["users"][0]["ssh_authorized_keys"] == ["ssh-ed25519 AAAA"]
    assert document["ssh_keys"] == {"ed25519_private": "-----BEGIN\nx\n-----END\n", "ed25519_public": "ssh-ed25519 BBBB"}
    assert (document["hostname"], document["runcmd"]) == ("vm-1", [["true"]])


def test_row_26_user_data_has_a_limit() -> None:
    userdata.fit("x" * 16384, 16384, "AWS")
    with pytest.raises(Invalid, match="16385 bytes, AWS takes 16384"):
        userdata.fit("x" * 16385, 16384, "AWS")


def test_row_27_secrets_are_hidden_in_all_forms() -> None:
    encoded = base64.b64encode(b"hunter22").decode()
    assert text.redact(f"a hunter22 b {encoded}", ["hunter22", "", "ab"]) == "a <redacted> b <redacted>"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("", ""), ("\n\n  one\ntwo", "one"), ("x" * 500, "x" * 397 + "..."),
        ("<html><body><script>bad()</script><h1>Oops</h1>", "Oops"), ("<HTML><TITLE>A &amp; B</TITLE>", "A & B"),
    ],
)
def test_a_first_line(given: str, line: str) -> None:
    assert text.first_line(given) == line


def test_each_thread_has_its_driver() -> None:
    made: list[object] = []
    ended: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    drivers = PerThread(make, ended.append)
    own = drivers.get()
    assert drivers.get() is own
    other: list[object] = []
    thread = threading.Thread(target=lambda: other.append(drivers.get()))
    thread.start()
    thread.join()
    assert other[0] is not own
    drivers.close()
    assert ended == made
    assert drivers.get() is not own


def test_drivers_of_threads_that_ended_serve_others() -> None:
    made: list[object] = []
    ended: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    drivers = PerThread(make, ended.append)
    for _ in range(20):
        thread = threading.Thread(target=drivers.get)
        thread.start()
        thread.join()
    assert len(made) == 1
    own = drivers.get()
    both: list[object] = []
    thread = threading.Thread(target=lambda: both.append(drivers.get()))
    thread.start()
    thread.join()
    assert both[0] is not own
    drivers.close()
    assert ended == made


def test_one_call_at_a_time_for_a_token() -> None:
    once = OnePerToken()
    inside = threading.Event()
    order: list[str] = []

    def second() -> None:
        inside.wait()
        with once("a"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with once("a"):
        inside.set()
        with once("b"):
            order.append("other token")
        order.append("first")
    thread.join()
    assert order == ["other token", "first", "second"]
    assert once._inside == {}
