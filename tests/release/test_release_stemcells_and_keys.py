"""Stemcells (section 12) and compiled package keys (section 9)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from release_builder import entry, tar_bytes

from director import errors
from director.release import compiled, model, stemcell

MANIFEST = b"""
name: x
version: '1.5'
sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709
cloud_properties: {ami: {eu: ami-1}}
stemcell_formats: [aws-light]
"""


def test_a_light_stemcell_has_an_empty_image(tmp_path: Path) -> None:
    path = tmp_path / "s.tgz"
    path.write_bytes(tar_bytes([entry("stemcell.MF", MANIFEST), entry("image")]))
    with stemcell.read_stemcell(path, workdir=tmp_path) as found:
        assert (found.name, found.version, found.os, found.formats) == ("x", "1.5", "x", ("aws-light",))
        assert found.is_light
    path.write_bytes(tar_bytes([entry("stemcell.MF", MANIFEST)]))
    with pytest.raises(errors.ReleaseError) as caught:
        stemcell.read_stemcell(path, workdir=tmp_path)
    assert caught.value.code == 50001
    assert [item.name for item in tmp_path.iterdir()] == ["s.tgz"]


def test_a_light_stemcell_as_yaml(tmp_path: Path) -> None:
    path = tmp_path / "debian.yml"
    path.write_text("name: x-debian-12\nversion: '12.1'\noperating_system: debian-12\ncloud_properties: {image: x}\nformats: [local]\n")
    found = stemcell.read_stemcell(path)
    assert (found.os, found.formats, found.image, found.is_light) == ("debian-12", ("local",), None, True)


BAD = {
    "": "'name' was not specified",
    "name: x\n": "'version' was not specified",
    "version: '1'\n": "'name' was not specified",
    "name: x\nversion: a b\n": "Stemcell version invalid: a b",
    "name: x\nversion: '1'\ncloud_properties: [1]\nformats: a\n": "'stemcell_formats' of the stemcell is not a list",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_stemcell(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yml"
    path.write_text(text)
    with pytest.raises(errors.ReleaseError) as caught:
        stemcell.read_stemcell(path)
    assert BAD[text] in str(caught.value)


def packages(*items: tuple[str, str, tuple[str, ...]]) -> dict[str, model.PackageSpec]:
    return {name: model.PackageSpec(name, version, version, "", needs) for name, version, needs in items}


def test_dependency_and_cache_keys() -> None:
    known = packages(("app", "A", ("zlib", "golang")), ("golang", "G", ("gcc",)), ("gcc", "C", ()), ("zlib", "Z", ()))
    assert compiled.dependency_key(known["app"], known) == '[["golang","G",[["gcc","C"]]],["zlib","Z"]]'
    assert compiled.dependency_key(known["gcc"], known) == "[]"
    assert compiled.cache_key(known["app"], known, "S") == hashlib.sha1(b"ASCGZ").hexdigest()


def test_a_changed_dependency_changes_the_key() -> None:
    old = packages(("app", "A", ("lib",)), ("lib", "L", ()))
    new = packages(("app", "A", ("lib",)), ("lib", "M", ()))
    keys = [compiled.compiled_key(known["app"], known, stemcell_os="debian", stemcell_version="12") for known in (old, new)]
    assert len(set(keys)) == 2
    assert keys[0] == compiled.compiled_key(old["app"], old, stemcell_os="debian", stemcell_version="12")


def test_a_circle_is_an_error() -> None:
    known = packages(("a", "A", ("b",)), ("b", "B", ("a",)))
    with pytest.raises(errors.ReleaseError, match="circle"):
        compiled.compiled_key(known["a"], known, stemcell_os="debian", stemcell_version="12")
