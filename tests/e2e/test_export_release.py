"""A release is exported for a stemcell, everything of it is deleted, and the compiled one is uploaded: its job runs, nothing compiles."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from worksite import Site, stages

pytestmark = pytest.mark.e2e

STEMCELL = "debian-bookworm/1.0"


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site()
    site.open()
    return site


def manifest(site: Site) -> str:
    """One machine."""
    return re.sub(r"instances: \d+", "instances: 1", site.text("many.yml").replace("name: many", "name: moving"))


def done(site: Site) -> list[str]:
    """What the last task did."""
    return stages(site.task_events(site.last_task()))


@pytest.fixture(scope="module")
def exported(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive. The deployment and all that it was made of are gone."""
    site.deploy("moving", manifest(site))
    folder = tmp_path_factory.mktemp("exports")
    version = next(row["version"] for row in site.director.rows("releases") if row["name"] == "probe").rstrip("*")
    site.director.run("-d", "moving", "export-release", f"probe/{version}", STEMCELL, "--dir", str(folder), "--sha2")
    (archive,) = folder.iterdir()
    assert archive.name.startswith(f"probe-{version}-debian-bookworm-1.0-")
    steps = done(site)
    assert not [step for step in steps if step.startswith("Compiling")], "the deploy compiled both packages already"
    assert [step.split("/")[0] for step in steps if step.startswith("copying")] == [
        "copying packages: probe", "copying packages: words", "copying jobs: check", "copying jobs: probe", "copying jobs: watcher"]
    refused = site.director.run("delete-release", f"probe/{version}", check=False)
    assert refused.code == 1
    assert f"ReleaseVersion 'probe/{version}' is still in use by: moving" in refused.all
    site.director.run("-d", "moving", "delete-deployment")
    site.director.run("delete-release", f"probe/{version}")
    assert site.director.rows("releases") == []
    assert site.query("select * from compiled_packages") == []
    return archive


def test_what_was_exported(exported: Path) -> None:
    with tarfile.open(exported) as archive:
        file = archive.extractfile("release.MF")
        assert file is not None
        listing = yaml.safe_load(file)
    assert [(item["name"], item["stemcell"], item["dependencies"]) for item in listing["compiled_packages"]] == [
        ("probe", STEMCELL, ["words"]), ("words", STEMCELL, [])]
    assert "packages" not in listing


def test_it_runs_without_being_compiled(site: Site, exported: Path) -> None:
    site.director.run("upload-release", str(exported))
    assert done(site)[-1].startswith("Compiled Release has been created: probe/")
    shown = site.director.run("inspect-release", f"probe/{site.director.rows('releases')[0]['version']}").out
    assert shown.count("(no source)") == shown.count(STEMCELL) == 2
    site.deploy("moving", manifest(site))
    assert not [step for step in done(site) if step.startswith("Compiling")]
    assert [row["process_state"] for row in site.director.instances("moving")] == ["running"]
    words = site.director.ssh("moving", "probe/0", "cat /var/vcap/packages/probe/words.txt")
    assert words == (Path(__file__).parent / "releases/probe/src/words/words.txt").read_text().strip()
    again = site.director.run("upload-release", str(exported), "--tty")
    assert "already exists" in again.out
    site.director.run("-d", "moving", "delete-deployment")
    told = site.director.run("clean-up", "--all")
    assert "Deleting exported releases: " in told.out
    assert site.query("select * from blobs where kind in ('exported-release', 'compiled-package', 'job')") == []
