"""Stemcells: images that exist, and those that are uploaded. Rows 28 and 29."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from gcp_bench import Bench
from gcp_images import archive

from cpis.conformance.clouds.gcp import Fault
from cpis.contract import Conflict, CpiError, Denied, Invalid, NotFound, Unavailable
from cpis.gcp import stemcells

DEBIAN = "projects/debian-cloud/global/images/debian-12-bookworm-v20261115"


@pytest.mark.parametrize("url", [
    "projects/debian-cloud/global/images/family/debian-12", f"https://www.googleapis.com/compute/v1/{DEBIAN}", DEBIAN,
    "https://compute.googleapis.com/compute/v1/projects/debian-cloud/global/images/family/debian-12"])
def test_a_light_stemcell_is_the_image_itself(bench: Bench, url: str) -> None:
    requests = bench.count(lambda: None)
    cid = bench.cpi.create_stemcell("", {"image_url": url}, bench.token("stemcell"))
    assert cid == DEBIAN
    assert len(bench.there.requests()) == len(requests) + 1, "an image was looked for in lists"
    assert bench.vm(stemcell_cid=cid).cid
    assert bench.count(lambda: bench.cpi.delete_stemcell(cid)) == [], "the image is not ours"


@pytest.mark.parametrize(("properties", "kind", "words"), [
    ({"image_url": "projects/debian-cloud/global/images/nothing"}, NotFound, "nothing"),
    ({"image_url": "projects/debian-cloud/global/images/family/nothing"}, NotFound, "nothing"),
    ({"image_url": "debian-12"}, Invalid, "family/FAMILY"),
    ({}, Invalid, "image_url"),
    ({"image": "x"}, Invalid, "image_url"),
    ({"source_url": "ftp://x/y"}, Invalid, "gs://"),
    ({"source_url": "gs://nobody/nothing.tar.gz"}, Invalid, "cannot be found"),
    ({"infrastructure": "aws"}, Invalid, "google"),
])
def test_stemcells_that_cannot_be(bench: Bench, properties: dict[str, Any], kind: type[CpiError], words: str) -> None:
    with pytest.raises(kind) as caught:
        bench.cpi.create_stemcell("", properties, bench.token("stemcell"))
    assert words in f"{caught.value.message} {caught.value.suggestion}"
    assert not bench.there.resources()


@pytest.mark.parametrize(("name", "content", "words"), [
    ("other.raw", b"x", "disk.raw"), (None, b"no archive at all", "tar.gz"), (None, b"", "image file")])
def test_files_that_are_no_image(bench: Bench, tmp_path: Path, name: str | None, content: bytes, words: str) -> None:
    path = archive(tmp_path, name, content) if name else tmp_path / "image"
    if not name:
        path.write_bytes(content)

    def refused() -> None:
        with pytest.raises(Invalid) as caught:
            bench.cpi.create_stemcell(str(path), {}, "stemcell-1")
        assert words in f"{caught.value.message} {caught.value.suggestion}"

    bench.count(refused)
    assert not bench.there.resources()


def test_an_upload_tells_how_far_it_is_and_leaves_only_the_image(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stemcells, "_CHUNK_BYTES", 256 * 1024)
    told: list[str] = []
    bench.cpi._stemcells._progress = told.append
    path = _noise(tmp_path)
    cid = bench.cpi.create_stemcell(str(path), {"name": "bosh-google", "version": "1.2"}, bench.token("stemcell"))
    assert told[-1].endswith(f"100 % of {path.stat().st_size / 2**20:.0f} MiB")
    assert len(told) > 5
    assert bench.there.resources() == [("images", f"global/images/{cid}")]
    image = bench.thing("images", cid)
    assert (image["labels"]["name"], image["description"], image["status"]) == ("bosh-google", "bosh-google 1.2", "READY")
    assert bench.vm(stemcell_cid=cid).cid
    bench.cpi.delete_stemcell(cid)
    bench.cpi.delete_stemcell(cid)
    assert "images" not in {kind for kind, _ in bench.there.resources()}


def _noise(folder: Path) -> Path:
    """An archive of some megabytes that do not compress."""
    blocks = [hashlib.sha512(str(number).encode()).digest() for number in range(40_000)]
    return archive(folder, content=b"".join(blocks))


@pytest.mark.walk
@pytest.mark.parametrize("fault", [
    Fault(method="PUT", path="/upload/", nth=4, lost="before"), Fault(method="PUT", path="/upload/", nth=4, lost="after"),
    Fault(method="PUT", path="/upload/", nth=9, lost="after"), Fault(method="PUT", path="/upload/", nth=3, times=3, status=503),
    Fault(method="PUT", path="/upload/", nth=2, status=403, reason="rateLimitExceeded"),
    Fault(method="POST", path="/storage/v1/b$", lost="after"),
    Fault(method="POST", path="/global/images$", lost="after"), Fault(method="DELETE", path="/storage/", lost="after"),
], ids=lambda fault: f"{fault.method} {fault.path} {fault.nth} {fault.lost or fault.status}")
def test_an_upload_goes_on_after_a_fault(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(stemcells, "_CHUNK_BYTES", 256 * 1024)
    fault = dataclasses.replace(fault)
    path = _noise(tmp_path)
    bench.there.cloud.faults.append(fault)
    cid = bench.cpi.create_stemcell(str(path), {}, bench.token("stemcell"))
    assert fault.seen >= fault.nth
    assert bench.there.resources() == [("images", f"global/images/{cid}")]


def test_an_upload_of_which_nothing_arrives(bench: Bench, tmp_path: Path) -> None:
    """The server answers each piece with "go on", from the beginning."""
    bench.there.cloud.faults.append(Fault(method="PUT", path="/upload/", page="", status=308, times=9_999))
    with pytest.raises(Unavailable, match="nothing arrives"):
        bench.cpi.create_stemcell(str(archive(tmp_path)), {}, bench.token("stemcell"))
    assert bench.there.cloud.faults[0].seen < 20
    assert not bench.there.resources()


def test_an_interrupted_upload_leaves_nothing_and_the_next_one_starts_clean(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """28."""
    monkeypatch.setattr(stemcells, "_CHUNK_BYTES", 256 * 1024)
    path, token = _noise(tmp_path), bench.token("stemcell")
    bench.there.cloud.faults.append(Fault(method="PUT", path="/upload/", nth=8, times=10_000, lost="before"))
    with pytest.raises(Unavailable):
        bench.cpi.create_stemcell(str(path), {}, token)
    assert not bench.there.resources()
    bench.there.cloud.faults.clear()
    assert bench.cpi.create_stemcell(str(path), {}, token) == token


def test_what_a_killed_upload_left_is_found_and_deleted(bench: Bench, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def killed(*arguments: Any) -> None:
        raise Killed

    first, token = bench.again(), bench.token("stemcell")
    first._stemcells._remove_bucket = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        first._stemcells.create(str(archive(tmp_path)), {}, token)
    first._stemcells._make_bucket(
        stemcells.bucket_of(token), {"caisson-stemcell": token, "caisson-token": token, "director": "conformance"})
    (found,) = bench.cpi.find(token)
    assert (found.kind, found.cid) == ("stemcell", token)
    assert found in bench.cpi.owned()
    bench.cpi.delete_stemcell(found.cid)
    assert not bench.there.resources()


def test_a_broken_image_is_taken_away(bench: Bench, tmp_path: Path) -> None:
    bench.there.cloud.faults.append(Fault(method="POST", path="/global/images$", code="INTERNAL_ERROR", message="it broke"))
    with pytest.raises(Unavailable, match="it broke"):
        bench.cpi.create_stemcell(str(archive(tmp_path)), {}, bench.token("stemcell"))
    assert not bench.there.resources()


def test_one_stemcell_uploaded_twice_at_once(bench: Bench, tmp_path: Path) -> None:
    """29."""
    path, token, cids = archive(tmp_path), bench.token("stemcell"), []
    threads = [threading.Thread(target=lambda: cids.append(bench.cpi.create_stemcell(str(path), {}, token))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cids == [token] * 3
    assert bench.there.resources() == [("images", f"global/images/{token}")]


def test_a_token_with_other_arguments(bench: Bench, tmp_path: Path) -> None:
    path, token = archive(tmp_path), bench.token("stemcell")
    bench.cpi.create_stemcell(str(path), {"version": "1"}, token)
    moved = tmp_path / "elsewhere"
    path.rename(moved)
    assert bench.again().create_stemcell(str(moved), {"version": "1"}, token) == token, "the file's name is no argument"
    with pytest.raises(Conflict):
        bench.cpi.create_stemcell(str(moved), {"version": "2"}, token)


def test_an_image_of_an_archive_in_a_bucket(bench: Bench, tmp_path: Path) -> None:
    raw = b"\1" * 512
    bench.there.world.objects["theirs", "a b.tar.gz"] = archive(tmp_path, content=raw).read_bytes()
    bench.there.world.objects["theirs", "a%20b.tar.gz"] = bench.there.world.objects["theirs", "a b.tar.gz"]
    sha1 = hashlib.sha1(raw).hexdigest()
    cid = bench.cpi.create_stemcell("", {"source_url": "gs://theirs/a b.tar.gz", "raw_disk_sha1": sha1}, bench.token("stemcell"))
    assert bench.there.resources() == [("images", f"global/images/{cid}")]
    with pytest.raises(Invalid, match="checksum"):
        bench.cpi.create_stemcell("", {"source_url": "gs://theirs/a b.tar.gz", "raw_disk_sha1": "0" * 40}, bench.token("stemcell"))
    assert len(bench.there.resources()) == 1


def test_without_permission_for_buckets(bench: Bench, tmp_path: Path) -> None:
    """An account for light stemcells only: uploads are denied, all else goes on."""
    bench.there.cloud.faults.append(Fault(path="/storage/", status=403, reason="forbidden", message="no storage", times=99))
    with pytest.raises(Denied, match="no storage"):
        bench.cpi.create_stemcell(str(archive(tmp_path)), {}, bench.token("stemcell"))
    vm = bench.vm()
    assert [found.cid for found in bench.cpi.owned()] == [vm.cid]
    bench.cpi.delete_stemcell("stemcell-unknown")
