"""Releases as they arrive. Release contract, sections 2, 7 and 8."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from release_builder import JOB, entry, job_archive, release_archive, tar_bytes

from director import errors
from director.release import archive, job, tar


def opened(tmp_path: Path, data: bytes, **options: Any) -> archive.ReleaseArchive:
    path = tmp_path / "demo-1.tgz"
    path.write_bytes(data)
    return archive.open_release(path, workdir=tmp_path, **options)


@pytest.mark.parametrize("options", [{}, {"algorithm": "sha1"}, {"dot": True}, {"packed": False}])
def test_a_good_release(tmp_path: Path, options: dict[str, Any]) -> None:
    with opened(tmp_path, release_archive(**options)) as found:
        assert (found.release.name, found.release.version, found.release.commit_hash) == ("demo", "1", "abc")
        assert found.sources["web"].templates == {"ctl.erb": "#!/bin/bash\n"}
        assert found.release.jobs[0].packages == ("app",)
        assert found.job_archive("web").read_bytes() == job_archive()
        package = found.package_archive("app")
        assert package is not None
        assert package.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["demo-1.tgz"], "the temporary folder goes with the archive"


BAD: dict[str, tuple[bytes, str, int | None]] = {
    "no manifest": (release_archive(leave_out=["release.MF"]), "Release manifest not found", 30003),
    "job missing": (release_archive(leave_out=["jobs/web.tgz"]), "Job 'web' is missing", None),
    "package missing": (release_archive(leave_out=["packages/app.tgz"]), "Package 'app' is missing", None),
    "bad name": (release_archive(changes={"name": "x y"}), 'Invalid release name in release manifest: "x y"', 40005),
    "name that goes up": (
        release_archive(changes={"packages": [{"name": "..", "version": "1", "sha1": "0" * 40}]}),
        'Invalid package 1 name in release manifest: ".."', 40005,
    ),
    "bad version": (release_archive(changes={"version": ""}), 'Invalid release version in release manifest: ""', 40005),
    "wrong digest": (
        release_archive(changes={"jobs": [{"name": "web", "version": "f1", "sha1": "0" * 40}]}),
        "Job 'web' of release 'demo/1' has the wrong digest", 30015,
    ),
    "no digest": (release_archive(changes={"jobs": [{"name": "web", "version": "f1"}]}), "no digest that can be verified", 30015),
    "cycle": (
        release_archive(changes={"packages": [
            {"name": "a", "version": "1", "sha1": "0" * 40, "dependencies": ["b"]},
            {"name": "b", "version": "1", "sha1": "0" * 40, "dependencies": ["a"]},
        ], "jobs": []}), "in a circle: a -> b -> a", None,
    ),
    "unknown dependency": (
        release_archive(changes={"packages": [{"name": "app", "version": "1", "sha1": "0" * 40, "dependencies": ["ap"]}]}),
        "Package 'app' references missing package 'ap'", 80003,
    ),
    "package with a link out": (
        release_archive(package=tar_bytes([entry("l", type=b"2", linkname="/etc/passwd")])), "'l' is a link that leads out", None
    ),
    "job with ..": (release_archive(job=tar_bytes([entry("../job.MF", b"x")])), "'../job.MF' would be written outside", None),
    "no YAML": (tar_bytes([entry("release.MF", b"a: [")]), "not valid YAML", None),
    "no map": (tar_bytes([entry("release.MF", b"- a")]), "should hold a map", None),
    "anchors that explode": (
        tar_bytes([entry("release.MF", b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 9)
        ))]), "grows to more than", None,
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_release(case: str, tmp_path: Path) -> None:
    data, text, code = BAD[case]
    with pytest.raises(errors.ReleaseError) as caught:
        opened(tmp_path, data)
    assert text in str(caught.value)
    assert code is None or caught.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["demo-1.tgz"]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    broken = job_archive({"job.MF": b"name: other\ntemplates: {a.erb: a, b.erb: b}\n"})
    with pytest.raises(errors.ReleaseError) as caught:
        opened(tmp_path, release_archive(job=broken, leave_out=["packages/app.tgz"]))
    codes = sorted(item.code or 0 for item in caught.value.diagnostics)
    assert codes == [0, 80002, 80002, 80004, 80016]


def test_packages_that_are_known_may_be_left_out(tmp_path: Path) -> None:
    with opened(tmp_path, release_archive(leave_out=["packages/app.tgz"]), known=lambda item, listing: item.fingerprint == "f2") as found:
        assert found.package_archive("app") is None


def test_the_strongest_digest_counts(tmp_path: Path) -> None:
    data = job_archive()
    good, bad = hashlib.sha256(data).hexdigest(), "0" * 40
    jobs = [{"name": "web", "version": "f1", "sha1": f"{bad};sha256:{good}"}]
    opened(tmp_path, release_archive(changes={"jobs": jobs})).close()


def test_a_compiled_release(tmp_path: Path) -> None:
    package = tar_bytes([entry("bin/x", b"x"), entry("l", type=b"2", linkname="/var/vcap/packages/app/bin/x")])
    listing = [{
        "name": "app", "version": "f2", "fingerprint": "f2", "sha1": hashlib.sha1(package).hexdigest(), "stemcell": "debian/12",
    }]
    data = release_archive(changes={"packages": None, "compiled_packages": listing}, leave_out=["packages/app.tgz"])
    root = tmp_path / "unpacked"
    (root / "compiled_packages").mkdir(parents=True)
    (root / "compiled_packages/app.tgz").write_bytes(package)
    (tmp_path / "outer.tgz").write_bytes(data)
    tar.extract(tmp_path / "outer.tgz", root)
    with archive.open_release(root) as found:
        assert found.release.compiled_packages[0].stemcell == "debian/12"
        assert found.compiled_archive("app") == root / "compiled_packages/app.tgz"


LINKS = {
    "name: web\nprovides: {}": (80013, "'provides' must be an array of hashes with name and type"),
    "name: web\nconsumes: [a]": (80013, "Consumes section in the release spec must be a list of hashes"),
    "name: web\nprovides: [{name: a}]": (80013, "must contain 'name' and 'type'"),
    "name: web\nprovides: [{name: a, type: t, optional: true}]": (80013, "not allowed to have 'optional' key"),
    "name: web\nconsumes: [{name: a, type: t}, {name: a, type: u}]": (80014, "specifies duplicate consumes link with name 'a'"),
    "name: web\nproperties: [a]": (80008, "has invalid properties spec format"),
    "name: web\ntemplates: {../a: b}": (None, "leads out of the job"),
    "name: web\ntemplates: {ctl.erb: ../../etc/passwd}": (None, "leads out of the job"),
}


@pytest.mark.parametrize("spec", LINKS)
def test_a_bad_job_spec(spec: str, tmp_path: Path) -> None:
    path = tmp_path / "web.tgz"
    path.write_bytes(job_archive({**JOB, "job.MF": spec.encode()}))
    code, text = LINKS[spec]
    with pytest.raises(errors.ReleaseError) as caught:
        job.read_job(path, job.Identity("web"))
    assert any(text in item.summary and item.code == code for item in caught.value.diagnostics)


def test_a_job_spec(tmp_path: Path) -> None:
    spec = """
name: web
templates: {run.erb: bin/run}
packages: [a]
properties:
  a.b: {description: what, default: null}
  c: {}
  d:
  since: {default: 2020-01-01}
provides: [{name: x, type: t, properties: [a.b]}]
consumes: [{name: y, type: u, optional: true}]
"""
    path = tmp_path / "web.tgz"
    files = {"job.MF": spec.encode(), "worker.monit": b"m", "templates/run.erb": b"x", "properties_schema.json": b"{}"}
    path.write_bytes(job_archive(files))
    found = job.read_job(path)
    assert found.spec.is_errand
    assert [(item.name, item.default, item.has_default) for item in found.spec.properties] == [
        ("a.b", None, True), ("c", None, False), ("d", None, False), ("since", "2020-01-01", True)
    ]
    assert found.spec.provides[0].properties == ("a.b",)
    assert found.spec.consumes[0].optional
    assert (found.monit, found.extra_monits, found.properties_schema) == ("", {"worker.monit": "m"}, {})


def test_an_empty_monit_file_is_a_monit_file(tmp_path: Path) -> None:
    path = tmp_path / "web.tgz"
    path.write_bytes(job_archive())
    assert job.read_job(path).monit == ""
