"""A cloud played by machines of this computer, and how a director comes to know of a CPI that a package brings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cpis.conformance.bodies import PlayedCpi
from cpis.conformance.keys import login
from cpis.contract import Invalid, Network, NotFound, Vm, VmRequest
from cpis.registry import load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings a CPI."""
    folder = tmp_path / "theirs-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[caisson.cpis]\ntheirs = cpis.conformance.bodies:PlayedCpi\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


@pytest.mark.usefixtures("package")
def test_a_package_brings_a_cpi(tmp_path: Path) -> None:
    config = {"cloud": "fake", "properties": {}, "state_dir": str(tmp_path / "state"), "director": "me"}
    assert isinstance(load("theirs", config), PlayedCpi)
    with pytest.raises(Invalid) as caught:
        load("theris", {})
    assert caught.value.suggestion == "Did you mean 'theirs'?"


def test_without_the_package_there_is_none() -> None:
    with pytest.raises(Invalid, match="there is no CPI 'theirs'"):
        load("theirs", {})


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="colud"):
        PlayedCpi({"colud": "fake", "properties": {}, "state_dir": str(tmp_path)})
    with pytest.raises(Invalid, match="properties"):
        PlayedCpi({"cloud": "fake", "state_dir": str(tmp_path)})


def test_what_has_no_body_is_told(tmp_path: Path) -> None:
    """A machine that was made without this computer's knowledge."""
    cpi = PlayedCpi({"cloud": "fake", "properties": {}, "state_dir": str(tmp_path)})
    with pytest.raises(NotFound):
        cpi.attach_disk("vm-1", "disk-1")
    cpi.delete_vm("vm-1")
    cpi.delete_disk("disk-1")


@pytest.mark.parametrize(
    ("config", "wanted", "body"),
    [
        ({}, {"cpu": 1, "ram": 768}, {"memory": 768, "cpus": 1}),
        ({}, {"cpu": 4096, "ram": 64}, {"memory": 256, "cpus": os.cpu_count()}),
        ({}, {}, {"memory": 2048, "cpus": 2}),
        ({"body": {"memory": 300}}, {"cpu": 1, "ram": 768}, {"memory": 300}),
    ],
)
def test_a_body_has_the_size_that_the_cloud_gives(
    config: dict[str, Any], wanted: dict[str, int], body: dict[str, int], tmp_path: Path,
) -> None:
    """As far as this computer has so many cores; a machine needs 256 MiB to be one at all."""
    cpi = PlayedCpi({"cloud": "fake", "properties": {}, "state_dir": str(tmp_path), **config})
    cpi.local = mock.Mock()
    cpi.local.create_stemcell.return_value = "image"
    cpi.local.create_vm.return_value = Vm("local-1", (), "10.0.0.9")
    stemcell = cpi.create_stemcell("", {}, "stemcell-1")
    network = Network("default", ip="10.0.0.9", gateway="10.0.0.1", default=("dns", "gateway"))
    cpi.create_vm(VmRequest("vm-1", "agent", stemcell, {"cpu": 1, "ram": 64, **wanted} if wanted else {}, (network,), login()[0]))
    assert cpi.local.create_vm.call_args.args[0].cloud_properties == body
