"""Releases, compiled packages, stemcells, blobs."""

from __future__ import annotations

import dataclasses

import pytest

from director import errors
from director.release import model
from director.state import Store
from director.state.blobs import BlobRow
from director.state.compiled_packages import CompiledPackageRow
from director.state.stemcells import StemcellRow

GOLANG = model.PackageSpec("golang", "g1", "g1", "sha256:aa", (), "blob-golang")
APP = model.PackageSpec("app", "p1", "p1", "sha256:bb", ("golang",), "blob-app")
WEB = model.JobSpec(
    "web", "r", "j1", "j1", "sha256:cc", {"run.erb": "bin/run"}, ("app",),
    (model.PropertySpec("port", 80, True, "where it listens"), model.PropertySpec("name")),
    (model.LinkSpec("web", "http", ("port",)),), (model.LinkSpec("db", "mysql", optional=True),), {"type": "object"}, "blob-web")


def release(version: str, *, packages: tuple[model.PackageSpec, ...] = (APP, GOLANG)) -> model.Release:
    return model.Release("r", version, "abc", True, (WEB,), packages)


def test_release_comes_back_as_it_was_stored(store: Store) -> None:
    store.releases.save(release("1"))
    assert store.releases.get("r", "1") == release("1")
    assert store.releases.job_names() == {("r", "1"): ["web"]}
    assert store.releases.get("r", "1").jobs[0].is_errand


def test_unknown_release_and_version_have_their_codes(store: Store) -> None:
    store.releases.save(release("1"))
    for name, version, code in (("x", "1", 30005), ("r", "2", 30006)):
        with pytest.raises(errors.NotFoundError) as caught:
            store.releases.get(name, version)
        assert caught.value.code == code


def test_versions_share_what_is_equal_and_blobs_go_with_the_last(store: Store) -> None:
    store.releases.save(release("1"))
    newer = dataclasses.replace(APP, version="p2", fingerprint="p2", blob_id="blob-app-2")
    store.releases.save(release("2", packages=(newer, GOLANG)))
    assert store.releases.delete("r", "1") == ["blob-app"]
    assert store.releases.get("r", "2").packages == (newer, GOLANG)
    assert store.releases.delete("r", "2") == ["blob-app-2", "blob-golang", "blob-web"]
    assert store.releases.all() == []


def test_upload_that_did_not_end_is_repaired_by_the_next(store: Store) -> None:
    store.releases.save(release("1", packages=(dataclasses.replace(APP, blob_id=""),)), complete=False)
    found = store.releases.find_version("r", "1")
    assert found is not None
    assert not found.complete
    assert store.releases.packages_with(["p1"]) == {}
    store.releases.save(release("1"))
    assert store.releases.packages_with(["p1", "g1", "zz"]).keys() == {"p1", "g1"}


def test_package_without_blob_keeps_the_stored_one(store: Store) -> None:
    """An upload sends only what the director lacks."""
    store.releases.save(release("1"))
    store.releases.save(release("2", packages=(dataclasses.replace(APP, blob_id="", digest=""), GOLANG)))
    assert store.releases.get("r", "2").package("app") == APP


def test_package_that_came_compiled_only_is_known_without_source(store: Store) -> None:
    compiled = model.CompiledPackageSpec("app", "p1", "p1", "sha256:dd", "debian-12/1", ("golang",), "blob-compiled")
    store.releases.save(model.Release("r", "1", compiled_packages=(compiled,)))
    assert store.releases.get("r", "1").packages == (model.PackageSpec("app", "p1", "p1", "", ("golang",)),)


def test_a_version_keeps_what_it_holds(store: Store) -> None:
    """A compiled release may bring one job's packages only; the version it completes may have more."""
    store.releases.save(release("1"))
    form = model.CompiledPackageSpec("golang", "g1", "g1", "sha256:dd", "debian-12/1")
    store.releases.save(model.Release("r", "1", "abc", True, compiled_packages=(form,)))
    assert store.releases.get("r", "1") == release("1")


def test_compiled_forms_come_with_the_release_they_fit(store: Store) -> None:
    """A form belongs to a package with just these dependencies: others of the same content were made with other ones."""
    store.releases.save(release("1"))
    fitting = CompiledPackageRow("k1", "app", "p1", "p1", "debian-12", "1.5", "blob-1", "sha256:ee", dependency_key='[["golang","g1"]]')
    store.compiled_packages.add(fitting)
    store.compiled_packages.add(dataclasses.replace(fitting, key="k2", dependency_key='[["golang","g2"]]'))
    store.compiled_packages.add(dataclasses.replace(fitting, key="k3", name="another", dependency_key="[]"))
    form = model.CompiledPackageSpec("app", "p1", "p1", "sha256:ee", "debian-12/1.5", ("golang",), "blob-1")
    assert store.releases.get("r", "1").compiled_packages == (form,)
    assert store.releases.load([("r", "1")], forms=False)[0].compiled_packages == ()


def test_compiled_package_is_numbered_and_stored_once(store: Store) -> None:
    def row(key: str, os_version: str = "1") -> CompiledPackageRow:
        return CompiledPackageRow(key, "app", "p1", "p1", "debian-12", os_version, "blob-" + key, "sha256:ee")

    assert [store.compiled_packages.add(row(key)).build for key in ("k1", "k2")] == [1, 2]
    assert store.compiled_packages.add(row("k3", "2")).build == 1
    again = dataclasses.replace(row("k1"), blob_id="other")
    assert store.compiled_packages.add(again).blob_id == "blob-k1", "who compiled it first wins; the other blob is not used"
    assert store.compiled_packages.keys() == {"k1", "k2", "k3"}
    assert store.compiled_packages.with_keys(["k2", "zz"]).keys() == {"k2"}


def test_many_keys_are_asked_in_pieces(store: Store) -> None:
    assert store.compiled_packages.with_keys([f"k{n}" for n in range(40_000)]) == {}


def test_stemcell_per_cpi(store: Store) -> None:
    for number, cpi in enumerate(("", "aws")):
        store.stemcells.add(StemcellRow("debian", "1", "debian-12", f"ami-{number}", f"t{number}", cpi))
    store.stemcells.add(StemcellRow("debian", "1", "debian-12", "ami-fixed", "t3", "aws"))
    assert [row.cid for row in store.stemcells.on_all_cpis("debian", "1")] == ["ami-0", "ami-fixed"]
    assert store.stemcells.get("debian", "1").value == model.Stemcell("debian", "1", "debian-12", "ami-0")
    with pytest.raises(errors.NotFoundError) as caught:
        store.stemcells.get("debian", "2")
    assert caught.value.code == 50003


def test_blobs_by_content(store: Store) -> None:
    store.blobs.add(BlobRow("b1", "package", "aa", 3))
    found = store.blobs.by_sha256("aa")
    assert found is not None
    assert found.id == "b1"
    with pytest.raises(errors.NotFoundError) as caught:
        store.blobs.get("b2")
    assert caught.value.code == 100002
