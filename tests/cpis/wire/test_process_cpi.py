"""An executable as a CPI of ours: the conformance suite through the wire, and every answer that an executable may give."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cpis import hurry
from cpis.conformance import CASES, Case, Site, check
from cpis.conformance.suite import Outcome
from cpis.contract import (
    CloudChecker,
    Conflict,
    CpiError,
    DiskHint,
    DiskRequest,
    Found,
    Invalid,
    Login,
    Network,
    NoCapacity,
    NotFound,
    NotSupported,
    Quota,
    Unavailable,
    Uses,
    VmRequest,
)
from cpis.fake import FakeCpi
from cpis.process import ProcessCpi
from cpis.process.run import Ended
from cpis.wire.errors import BadCall
from cpis.wire.methods import METHODS
from cpis.wire.server import Cloud, answer

LOGIN = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "host-key-word")


def _network(name: str, number: int, **more: Any) -> Network:
    return Network(name, ip=f"10.{len(name)}.0.{10 + number}", gateway=f"10.{len(name)}.0.1", **more)


SITE = Site(
    networks=lambda number: (_network("default", number, default=("dns", "gateway")),),
    several=lambda number: (_network("b", number), _network("default", number, default=("dns", "gateway"))),
    dynamic=lambda number: (Network("dynamic", "dynamic", default=("dns", "gateway")),),
    vip=lambda number: (_network("default", number, default=("dns", "gateway")), Network("vip", "vip", ip="192.0.2.1")),
    login=LOGIN, vm_properties={"cpu": 1, "ram": 512}, skips={"address_outside_its_subnet": "the fake cloud has no subnets"},
)


class InProcess:
    """Runs the wire's server of a fake cloud in this process. A `foreign` one does not say that it is ours, as no other CPI does."""

    def __init__(self, state: Path, *, foreign: bool) -> None:
        self._state, self._foreign, self._lock = str(state), foreign, threading.Lock()
        self.requests: list[dict[str, Any]] = []

    def __call__(self, command: Sequence[str], text: str) -> Ended:
        with self._lock:
            self.requests.append(json.loads(text))
            got = answer(text, Cloud("fake", lambda config: FakeCpi({"state_file": self._state, "director": config["director"]})))
        if self._foreign and isinstance(got["result"], dict):
            got["result"].pop("caisson", None)
        return Ended(json.dumps(got), "", 0)


def over_the_wire(folder: Path, *, foreign: bool) -> ProcessCpi:
    config = {"path": "/cpi", "state_dir": str(folder / "state"), "director": "the-director"}
    return ProcessCpi(config, runner=InProcess(folder / "cloud.json", foreign=foreign))


def outcome_of(case: Case, folder: Path, *, foreign: bool) -> Outcome:
    def cpi() -> ProcessCpi:
        return over_the_wire(folder, foreign=foreign)

    def faulty() -> ProcessCpi:
        config = {"faults": [{"method": "*", "times": 1000}]}
        return ProcessCpi({"path": "/cpi"}, runner=lambda command, text: Ended(
            json.dumps(answer(text, Cloud("fake", lambda more: FakeCpi(config)))), "", 0))

    (outcome,) = check(cpi(), dataclasses.replace(SITE, again=cpi, unreachable=faulty), [case])
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    return outcome


@pytest.mark.walk
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_contract_holds_through_our_executables(case: Case, tmp_path: Path) -> None:
    outcome = outcome_of(case, tmp_path, foreign=False)
    assert outcome.held, outcome.detail


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_contract_holds_through_any_executable(case: Case, tmp_path: Path) -> None:
    outcome = outcome_of(case, tmp_path, foreign=True)
    if case.name in OTHER_CLASS:
        assert "CpiError" in outcome.detail, outcome.detail
        assert "left behind" not in outcome.detail
    else:
        assert outcome.held, outcome.detail


# The wire has no class for "taken" and "wrong": these are refused, as they must be, and only the class of the error is another.
OTHER_CLASS = {
    "address_conflict_leaves_nothing", "unknown_property_leaves_nothing", "unknown_stemcell_is_refused", "unknown_disk_is_refused",
    "properties_of_wrong_types", "attached_disk_is_safe", "one_disk_to_two_machines_at_once", "one_address_to_two_machines_at_once",
}


def request(token: str, **changes: Any) -> VmRequest:
    base = {
        "cloud_properties": {}, "networks": SITE.networks(0), "login": LOGIN, "metadata": {"deployment": "zoo"},
        "env": {"bosh": {"group": "g"}},
    }
    return VmRequest(token, "agent-1", "stemcell-000001", **{**base, **changes})


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "foreign"])
def test_a_refused_machine_leaves_nothing(foreign: bool, tmp_path: Path) -> None:
    cpi = over_the_wire(tmp_path, foreign=foreign)
    cpi.create_stemcell("", {}, "stemcell-1")
    cpi.create_vm(request("vm-1"))
    with pytest.raises(CpiError, match=r"the address 10.7.0.10 is in use by vm-000001"):
        cpi.create_vm(request("vm-2"))
    assert not cpi.find("vm-2")
    assert {found.cid for found in cpi.owned()} == {"stemcell-000001", "vm-000001"}


class Scripted:
    """An executable that answers what it is told to; `info` is that of a CPI of version 2 unless told otherwise."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = {"info": {"stemcell_formats": ["aws-raw"], "api_version": 2}, **answers}
        self.requests: list[dict[str, Any]] = []

    def __call__(self, command: Sequence[str], text: str) -> Ended:
        asked = json.loads(text)
        self.requests.append(asked)
        given = self._answers.get(asked["method"])
        if isinstance(given, Ended):
            return given
        if isinstance(given, tuple):
            error = dict(zip(("type", "message", "ok_to_retry"), given, strict=True))
            return Ended(json.dumps({"result": None, "error": error, "log": ""}), "", 0)
        return Ended(json.dumps({"result": given, "error": None, "log": "done"}), "", 0)

    def of(self, method: str) -> list[dict[str, Any]]:
        return [asked for asked in self.requests if asked["method"] == method]


def scripted(answers: Mapping[str, Any], **config: Any) -> tuple[ProcessCpi, Scripted]:
    runner = Scripted(answers)
    cpi = ProcessCpi({"path": "/cpi", "director": "the-director", **config}, runner=runner, number=lambda: 123456, clock=lambda: 1.0)
    return cpi, runner


def test_a_call_is_that_of_a_bosh_director() -> None:
    properties = {"region": "r", "secret_access_key": "secret-word"}
    cpi, runner = scripted({"create_vm": ["i-1", {"default": {"ip": "10.7.0.10"}}]}, properties=properties)
    cpi.create_vm(request("vm-1", disk_cids=("disk-1",)))
    assert runner.requests[0] == {
        "method": "info", "arguments": [], "context": {**properties, "director_uuid": "the-director", "request_id": "cpi-123456"}}
    (create,) = runner.of("create_vm")
    assert create["api_version"] == 2
    assert create["context"] == {
        **properties, "director_uuid": "the-director", "request_id": "cpi-123456", "vm": {"stemcell": {"api_version": 2}}}
    assert create["arguments"] == [
        "agent-1", "stemcell-000001", {},
        {"default": {
            "type": "manual", "ip": "10.7.0.10", "netmask": "255.255.255.0", "prefix": "32", "gateway": "10.7.0.1", "dns": [],
            "default": ["dns", "gateway"], "cloud_properties": {}}},
        ["disk-1"],
        {"bosh": {
            "group": "g", "authorized_keys": ["ssh-ed25519 AAAA"], "tags": {"deployment": "zoo", "caisson-token": "vm-1"}}},
    ]
    assert "host-key-word" not in json.dumps(runner.requests), "a foreign CPI has no use for it"
    (tagged,) = runner.of("set_vm_metadata")
    assert tagged["arguments"] == ["i-1", {"deployment": "zoo", "caisson-token": "vm-1"}]


def test_a_machine_made_by_a_foreign_cpi_has_a_login_of_its_own() -> None:
    cpi, _ = scripted({"create_vm": ["i-1", {}]}, ssh_user="ubuntu")
    vm = cpi.create_vm(request("vm-1"))
    assert (vm.ssh_address, vm.ssh_user, vm.host_key_known) == ("10.7.0.10", "ubuntu", False)


@pytest.mark.parametrize(
    ("networks", "answered", "address"),
    [
        ([Network("a", ip="10.0.0.4"), Network("b", ip="10.0.1.4", default=("gateway",))], {}, "10.0.1.4"),
        ([Network("v", "vip", "198.51.100.1"), Network("a", ip="10.0.0.4")], {}, "10.0.0.4"),
        ([Network("d", "dynamic")], {"d": {"type": "dynamic", "ip": "10.0.9.9", "netmask": "255.255.0.0"}}, "10.0.9.9"),
    ],
)
def test_the_address_is_that_of_the_gateways_network(networks: list[Network], answered: Any, address: str) -> None:
    cpi, _ = scripted({"create_vm": ["i-1", answered]})
    assert cpi.create_vm(request("vm-1", networks=tuple(networks))).ssh_address == address


def test_a_machine_without_an_address_is_deleted_again() -> None:
    cpi, runner = scripted({"create_vm": ["i-1", {}]})
    with pytest.raises(NotSupported, match="dynamic network"):
        cpi.create_vm(request("vm-1", networks=(Network("d", "dynamic"),)))
    assert [asked["arguments"] for asked in runner.of("delete_vm")] == [["i-1"]]
    assert not cpi.owned()


def test_a_machine_that_cannot_be_tagged_is_deleted_again() -> None:
    cpi, runner = scripted({"create_vm": ["i-1", {}], "set_vm_metadata": ("Bosh::Clouds::CloudError", "no", False)})
    with pytest.raises(CpiError, match="no"):
        cpi.create_vm(request("vm-1"))
    assert len(runner.of("delete_vm")) == 1


def test_a_cpi_of_version_one_is_spoken_to_as_such() -> None:
    cpi, runner = scripted({
        "info": {"stemcell_formats": ["x"]}, "create_vm": "i-1", "attach_disk": None,
        "set_vm_metadata": ("InvalidCall", "Method is not known, got: 'set_vm_metadata'", False)})
    assert cpi.create_vm(request("vm-1")).cid == "i-1"
    assert "api_version" not in runner.of("create_vm")[0]
    with pytest.raises(NotSupported, match="version 1"):
        cpi.attach_disk("i-1", "disk-1")


def test_version_three_is_given_tags_of_stemcells() -> None:
    cpi, runner = scripted({"info": {"api_version": 9, "stemcell_formats": []}, "create_stemcell": "ami-1"})
    cpi.create_stemcell("/image", {"a": 1}, "stemcell-1")
    (asked,) = runner.of("create_stemcell")
    assert asked["api_version"] == 3
    assert asked["arguments"] == ["/image", {"a": 1}, {"tags": {"director": "the-director", "caisson-token": "stemcell-1"}}]


@pytest.mark.parametrize(
    ("answered", "hint"),
    [
        ("/dev/sdf", DiskHint(path="/dev/sdf")), ("2", DiskHint(lun="2")), ("6000c29", DiskHint(id="6000c29")),
        ({"lun": "1", "host_device_id": "{f8}"}, DiskHint(lun="1")), ({"id": "abc"}, DiskHint(id="abc")),
        ({"path": "/dev/vdb"}, DiskHint(path="/dev/vdb")),
    ],
)
def test_hints_of_all_five_clouds_are_read(answered: Any, hint: DiskHint) -> None:
    cpi, _ = scripted({"attach_disk": answered})
    assert cpi.attach_disk("vm", "disk") == hint


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (("Bosh::Clouds::CpiError", "broken", False), CpiError),
        (("Bosh::Clouds::NotSupported", "cannot", False), NotSupported),
        (("Bosh::Clouds::NotImplemented", "cannot", False), NotSupported),
        (("Bosh::Clouds::CloudError", "broken", False), CpiError),
        (("Bosh::Clouds::CloudError", "Invalid Method: reboot_vm", False), NotSupported),
        (("InvalidCall", "Method is not known, got: 'reboot_vm'", False), NotSupported),
        (("InvalidCall", "Arguments are not correct, details: 'x'", False), Invalid),
        (("Bosh::Clouds::VMNotFound", "gone", False), NotFound),
        (("Bosh::Clouds::NetworkNotFound", "gone", False), NotFound),
        (("Bosh::Clouds::DiskNotFound", "gone", False), NotFound),
        (("Bosh::Clouds::DiskNotFound", "gone", True), NotFound),
        (("Bosh::Clouds::DiskNotAttached", "loose", False), Conflict),
        (("Bosh::Clouds::NoDiskSpace", "full", False), Quota),
        (("Bosh::Clouds::NoDiskSpace", "full", True), NoCapacity),
        (("Bosh::Clouds::VMCreationFailed", "no", False), CpiError),
        (("Bosh::Clouds::VMCreationFailed", "no", True), NoCapacity),
        (("Unknown", "surprise", False), CpiError),
        (("Bosh::Clouds::Sunspots", "surprise", True), CpiError),
    ],
)
def test_errors_of_the_wire_become_ours(error: tuple[str, str, bool], kind: type[CpiError]) -> None:
    cpi, _ = scripted({"reboot_vm": error})
    with pytest.raises(CpiError) as caught:
        cpi.reboot_vm("vm-1")
    assert isinstance(caught.value, kind)
    assert (kind is CpiError) <= (caught.value.temporary is False)
    assert error[1] in caught.value.message
    assert (caught.value.code, caught.value.request_id) == (error[0], "cpi-123456")


@pytest.mark.parametrize("error", ["VMNotFound", "DiskNotFound", "DiskNotAttached"])
def test_what_is_gone_is_deleted_and_detached(error: str) -> None:
    gone = (f"Bosh::Clouds::{error}", "gone", False)
    cpi, _ = scripted({"delete_vm": gone, "delete_disk": gone, "detach_disk": gone})
    cpi.detach_disk("vm-1", "disk-1")
    if error != "DiskNotAttached":
        cpi.delete_vm("vm-1")
        cpi.delete_disk("disk-1")


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended("", "Segmentation fault", 139), "is empty (exit code 139): Segmentation fault"),
        (Ended("<html><title>502 Bad Gateway</title></html>", "", 0), "is not JSON (exit code 0): 502 Bad Gateway"),
        (Ended('{"result": 1', "", 0), "is not JSON"),
        (Ended("[]", "", 0), "is no hash"),
        (Ended('{"result": true, "error": null}', "", 0), "lacks 'log'"),
        (Ended('{"error": null, "log": ""}', "", 0), "lacks 'result'"),
        (Ended('{"result": true, "error": "no", "log": ""}', "", 0), "has an 'error' without"),
        (Ended('{"result": true, "error": {"type": "x", "message": "y"}, "log": ""}', "", 0), "has an 'error' without"),
        (Ended('{"result": "yes", "error": null, "log": ""}', "", 0), "the result of has_vm is not true or false"),
        (Ended('{"result": true, "error": null, "log": null}', "", 0), "has a 'log' that is no string"),
    ],
)
def test_an_answer_that_is_none_is_told_and_is_not_no(ended: Ended, words: str) -> None:
    cpi, _ = scripted({"has_vm": ended})
    with pytest.raises(Unavailable) as caught:
        cpi.has_vm("vm-1")
    assert words in caught.value.message


def test_a_creation_whose_answer_was_lost_is_not_repeated_and_not_forgotten(tmp_path: Path) -> None:
    cpi, runner = scripted({"create_vm": Ended("", "killed", 137)}, state_dir=str(tmp_path))
    for _ in range(2):
        with pytest.raises(CpiError) as caught:
            cpi.create_vm(request("vm-1"))
        assert not caught.value.temporary, "trying again would make a second machine"
        assert "caisson-token=vm-1" in caught.value.suggestion
    assert len(runner.of("create_vm")) == 1
    again, _ = scripted({}, state_dir=str(tmp_path))
    assert not again.find("vm-1"), "nobody can say that there is one"
    assert [(found.kind, found.cid, found.token) for found in again.owned()] == [("vm", "", "vm-1")]
    lost = [check for check in again.checks(Uses()) if check.ok is False]
    assert ["caisson-token=vm-1" in check.suggestion for check in lost] == [True]
    with pytest.raises(NotSupported):
        again.remove(Found("nic", "eni-1", "vm-1"))
    again.remove(again.owned()[0])
    assert not again.owned(), "somebody has looked"


def test_tokens_outlive_the_director(tmp_path: Path) -> None:
    cpi, _ = scripted({"create_disk": "disk-7", "has_disk": True}, state_dir=str(tmp_path))
    assert cpi.create_disk(DiskRequest("disk-1", 1024)) == "disk-7"
    again, runner = scripted({"has_disk": True}, state_dir=str(tmp_path))
    assert again.create_disk(DiskRequest("disk-1", 1024)) == "disk-7"
    assert not runner.of("create_disk")
    assert [found.cid for found in again.find("disk-1")] == ["disk-7"]
    with pytest.raises(Conflict):
        again.create_disk(DiskRequest("disk-1", 2048))
    gone, _ = scripted({"has_disk": False}, state_dir=str(tmp_path))
    assert not gone.find("disk-1")
    assert not list((tmp_path / "tokens").iterdir())


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "vm-1.json").write_text("{")
    with pytest.raises(Unavailable, match=r"vm-1\.json is damaged"):
        scripted({}, state_dir=str(tmp_path))


def test_a_copied_disk_is_found_under_its_new_name(tmp_path: Path) -> None:
    cpi, _ = scripted({"create_disk": "disk-7", "update_disk": "disk-8", "has_disk": True}, state_dir=str(tmp_path))
    cpi.create_disk(DiskRequest("disk-1", 1024))
    assert cpi.update_disk("disk-7", 2048, {}) == "disk-8"
    assert [found.cid for found in cpi.find("disk-1")] == ["disk-8"]


def test_no_log_and_no_error_tells_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cpis.process")
    properties = {"region": "eu-9", "secret_access_key": "secret-word"}
    env = {"bosh": {"password": "crypt-word", "group": "open-group"}}
    error = ("Bosh::Clouds::VMCreationFailed", "no machine with secret-word and crypt-word", False)
    cpi, _ = scripted({"create_vm": error}, properties=properties)
    with pytest.raises(CpiError) as caught:
        cpi.create_vm(request("vm-1", env=env, cloud_properties={"key_name": "property-word"}))
    told = caplog.text + str(caught.value)
    for word in ("secret-word", "eu-9", "crypt-word", "property-word", "host-key-word"):
        assert word not in told, word
    assert "open-group" in told
    assert "cpi-123456 request: " in told


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "needs 'path'"), ({"path": "/cpi", "pth": 1}, "no setting 'pth'"), ({"path": "/cpi", "args": "x"}, "list of strings"),
        ({"path": "/cpi", "properties": [1]}, "must be a hash"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        ProcessCpi(config)


def test_an_executable_that_is_none_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(Invalid, match="cannot be started"):
            ProcessCpi({"path": str(path)}).info()


def executable(folder: Path, line: str) -> str:
    """A CPI as an operator has it: a file that is started with nothing but PATH and TMPDIR."""
    path = folder / "cpi"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_process_inherits_nothing_but_where_to_find_and_where_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-word")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    answered = json.dumps({"result": {"stemcell_formats": []}, "error": None, "log": ""})
    path = executable(tmp_path, f"env > {tmp_path}/seen; echo '{answered}'; exit 9")
    assert ProcessCpi({"path": path}).info().api_version == 1
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert {key: seen[key] for key in ("PATH", "TMPDIR")} == {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(tmp_path)}
    assert set(seen) <= {"PATH", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD"}, "the rest is the shell's own"


def test_an_executable_that_does_not_answer_a_check_is_ended_with_its_time(tmp_path: Path) -> None:
    answered = json.dumps({"result": {"stemcell_formats": [], "api_version": 2, "caisson": 1}, "error": None, "log": ""})
    line = f"""case "$(cat)" in *'"info"'*) echo '{answered}';; *) echo $$ > {tmp_path}/pid; exec sleep 300;; esac"""
    cpi = ProcessCpi({"path": executable(tmp_path, line), "state_dir": str(tmp_path / "state")})
    with hurry.within(hurry.Hurry(1.0)):
        *_, last = cpi.checks(Uses())
    assert (last.kind, last.ok) == ("reach", False)
    assert "did not answer caisson_checks within" in last.detail
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("seconds", [-1, "5", True, None])
def test_the_time_of_a_check_over_the_wire_is_a_number(seconds: Any) -> None:
    with pytest.raises(BadCall, match="seconds must be a number of seconds"):
        METHODS["caisson_checks"].arguments([{}, seconds])


# Each call is a process, which costs what all others in this file cost together.
REAL = {"vm_lives_and_dies", "vm_token_is_idempotent", "disk_attaches_and_detaches", "attached_disk_is_safe", "everything_is_owned"}


@pytest.mark.walk
def test_the_suite_passes_with_real_processes(tmp_path: Path) -> None:
    source = Path(__file__).parents[3]
    config = tmp_path / "cpi.json"
    config.write_text(json.dumps({"state_file": str(tmp_path / "cloud.json")}))
    line = f"PYTHONPATH={source} exec {sys.executable} -m cpis.wire fake --config {config}"
    cpi = ProcessCpi({"path": executable(tmp_path, line), "director": "d", "state_dir": str(tmp_path / "state")})
    assert isinstance(cpi, CloudChecker)
    outcomes = check(cpi, SITE, [case for case in CASES if case.name in REAL])
    assert len(outcomes) == len(REAL)
    assert not [f"{outcome.case.name}: {outcome.detail}" for outcome in outcomes if outcome.detail]
    assert os.path.exists(tmp_path / "cloud.json")
