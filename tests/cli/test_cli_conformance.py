"""`conformance`: offline, on the cloud in memory."""

from __future__ import annotations

import json
import pathlib

import pytest
from cli_world import Cli

from cpis.conformance import CASES

FILE = """
properties: {state_file: cloud.json}
vm_type: {cpu: 1, ram: ((ram))}
networks: [{name: default, range: 10.0.0.0/24, gateway: 10.0.0.1, first: 10.0.0.50}]
more_networks: [{name: second, range: 10.0.1.0/24, first: 10.0.1.50}]
dynamic: {name: dynamic}
vip: {ips: [192.0.2.1]}
machines: 3
skip: {address_outside_its_subnet: the fake cloud has no subnets, long_keys_are_taken: slow}
"""


@pytest.fixture
def file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    (tmp_path / "site.yml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_whole_suite_on_the_fake_cloud(offline: Cli, file: pathlib.Path) -> None:
    found = offline.ok("conformance", "--cpi", "fake", "--config", "site.yml", "-v", "ram=512", "--report", "out", "--tty", "-n")
    assert f"{len(CASES)} cases on 'fake': makes " in found.out
    assert "at most 3 of them at once" in found.out
    assert "0 broken, 0 left behind" in found.out
    tree = json.loads((file / "out/conformance.json").read_text())["clouds"][0]
    assert (tree["broken"], tree["held"] + tree["skipped"]) == (0, len(CASES))
    assert {"address_outside_its_subnet", "long_keys_are_taken"} <= {
        outcome["case"] for outcome in tree["outcomes"] if outcome["verdict"] == "skipped"}
    page = (file / "out/conformance.html").read_text()
    assert all(case.name in page for case in CASES)


def test_nothing_is_made_without_a_yes(offline: Cli, file: pathlib.Path) -> None:
    found = offline("conformance", "--cpi", "fake", "--config", "site.yml", "-v", "ram=512", "--json")
    assert found.code == 1
    assert not (file / "cloud.json").exists()


def test_one_case_makes_what_it_needs(offline: Cli, file: pathlib.Path) -> None:
    found = offline.ok("conformance", "--cpi", "fake", "--config", "site.yml", "-v", "ram=512", "--only", "reboot_brings_it_back", "-n")
    assert "1 case on 'fake': makes 1 machines (cpu 1, ram 512)" in found.out


def test_a_broken_promise_is_told(offline: Cli, file: pathlib.Path) -> None:
    """A quota of one machine breaks the cases that need two."""
    (file / "site.yml").write_text(FILE.replace("state_file: cloud.json", "limits: {vms: 1}"))
    found = offline("conformance", "--cpi", "fake", "--config", "site.yml", "-v", "ram=512", "--only", "attached_disk_is_safe", "-n")
    assert found.code == 1
    assert "attached_disk_is_safe: broken: Quota: quota of vms is used up" in found.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("vm_type:", "vm_types:"), ["'vm_type' is missing", "no key 'vm_types' (did you mean 'vm_type'?)"]),
        (("first: 10.0.0.50", "first: 10.9.0.50"), ["10.9.0.50 is not in 10.0.0.0/24"]),
        (("machines: 3", "machines: many"), ["'machines' must be a int, not 'many'"]),
        (("skip: {", "skip: {no_such_case: x, "), ["there is no case 'no_such_case' to skip"]),
        (("{state_file: cloud.json}", "{state_fiel: x}"), ["the fake CPI has no setting 'state_fiel'"]),
        (("dynamic: {name: dynamic}", "dynamic: {}"), ["network 3 must be a hash with a name"]),
        (("dynamic: {name: dynamic}", "dynamic: {name: d, range: 10.0.0.0/24, first: 10.0.0.9}"), ["leave 'first' out"]),
        (("ips: [192.0.2.1]", "ips: 192.0.2.1"), ["'vip' must have a list of addresses in 'ips'"]),
        (("gateway:", "gatewya:"), ["network 'default' has no key 'gatewya'"]),
    ],
)
def test_what_is_wrong_in_the_file_is_told(offline: Cli, file: pathlib.Path, change: tuple[str, str], words: list[str]) -> None:
    (file / "site.yml").write_text(FILE.replace(*change, 1))
    found = offline("conformance", "--cpi", "fake", "--config", "site.yml", "-v", "ram=512", "-n")
    assert found.code == 1
    assert not [word for word in words if word not in found.err], found.err


def test_usage(offline: Cli) -> None:
    assert "Expected --cpi and --config" in offline("conformance").err
    assert "There is no case 'x'" in offline("conformance", "--cpi", "fake", "--config", "f", "--only", "x").err
    assert "vm_lives_and_dies" in offline.ok("conformance", "--list").out
