"""Releases and stemcells that manifests name. Source: manifest contract, sections 4 and 5; release contract, section 21, rows 7 and 15."""

from __future__ import annotations

import pytest
from manifest_cases import Base

from director.errors import ManifestError
from director.manifest import model
from director.manifest.load import load_yaml
from director.manifest.parse import parse_manifest
from director.release.model import Release, Stemcell

TEXT = """
name: a
releases: [{name: r, version: "%s"}]
stemcells: [{alias: a, %s, version: "%s"}]
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1, update_watch_time: 1}
"""
STEMCELLS = (
    Stemcell("x", "1.5", "x"), Stemcell("debian", "1.9", "linux"), Stemcell("other", "1.10", "linux"),
    Stemcell("debian", "3232_3", "linux"), Stemcell("debian", "3232.1", "linux"))


def read(base: Base, version: str, stored: tuple[str, ...], stemcell: tuple[str, str] = ("os: x", "latest")) -> model.Manifest:
    document = load_yaml(TEXT % (version, *stemcell), "m")
    return parse_manifest(document, base.cloud(), releases=[Release("r", item) for item in stored], stemcells=STEMCELLS)


@pytest.mark.parametrize("wanted", ["1", "1.0"])
def test_equal_in_order_is_not_the_same_version(wanted: str, base: Base) -> None:
    """Row 7: the text decides."""
    assert read(base, wanted, ("1", "1.0")).releases[0].version == wanted
    (other,) = {"1", "1.0"} - {wanted}
    with pytest.raises(ManifestError, match=rf"Release version 'r/{wanted}' doesn't exist") as caught:
        read(base, wanted, (other,))
    assert caught.value.code == 30006
    assert f"Uploaded: {other}" in caught.value.diagnostics[0].suggestion


@pytest.mark.parametrize(("wanted", "stored", "found"), [
    ("latest", ("1", "1.0-rc.1", "1+dev.2", "1+dev.10"), "1+dev.10"), ("1.2.latest", ("102", "1.2", "1.20"), "1.2"),
    ("1.2.latest", ("1.2-rc.1", "1.2+dev.1", "1.2"), "1.2+dev.1"), ("2.1-dev", ("2+dev.1", "2.1"), "2+dev.1"), ("007", ("7",), "7"),
])
def test_versions_of_releases(wanted: str, stored: tuple[str, ...], found: str, base: Base) -> None:
    """Prefixes are meant literally, whatever the reference's regular expression makes of them."""
    assert read(base, wanted, stored).releases[0].version == found


def test_a_stemcell_without_system_is_called_by_its_name(base: Base) -> None:
    """Row 15."""
    assert read(base, "1", ("1",), ("os: x", "latest")).stemcells[0] == model.StemcellRef("a", "1.5", "x")


@pytest.mark.parametrize(("stemcell", "found"), [
    (("os: linux", "1.latest"), ("1.10", "linux", "")), (("name: debian", "1.latest"), ("1.9", "linux", "debian")),
    (("name: debian, os: nonsense", "1.9"), ("1.9", "linux", "debian")), (("os: linux", "latest"), ("3232_3", "linux", "")),
    (("os: linux", "3232.latest"), ("3232.1", "linux", "")),
])
def test_stemcells_by_system_and_by_name(stemcell: tuple[str, str], found: tuple[str, str, str], base: Base) -> None:
    """The name decides over the system; an underline orders as a dot does, and is none in a prefix."""
    ref = read(base, "1", ("1",), stemcell).stemcells[0]
    assert (ref.version, ref.os, ref.name) == found


@pytest.mark.parametrize(("stemcell", "words"), [
    (("os: linus", "latest"), "Stemcell with Operating System 'linus' doesn't exist"),
    (("os: linux", "7.latest"), "Stemcell with Operating System 'linux' exists, but version with prefix '7' not found."),
    (("name: debiam", "latest"), "Stemcell 'debiam' doesn't exist"),
    (("name: debian", "7.latest"), "Stemcell 'debian' exists, but version with prefix '7' not found."),
    (("os: linux", "7"), "Stemcell version '7' for OS 'linux' doesn't exist"), (("name: debian", "7"), "Stemcell 'debian/7' doesn't exist"),
])
def test_stemcells_that_are_not_there(stemcell: tuple[str, str], words: str, base: Base) -> None:
    with pytest.raises(ManifestError) as caught:
        read(base, "1", ("1",), stemcell)
    assert (caught.value.code, caught.value.diagnostics[0].summary) == (50003, words)
