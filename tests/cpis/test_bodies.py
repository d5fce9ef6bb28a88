"""A cloud played by machines of this computer, and how a director comes to know of a CPI that a package brings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cpis.conformance.bodies import PlayedCpi
from cpis.contract import Invalid, NotFound
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
