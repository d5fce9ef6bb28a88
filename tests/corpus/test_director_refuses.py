"""What is wrong with manifests and configs, as a client of the director sees it: the task's last event, its result, its state."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import corpus_director
import pytest
from small_world import CLOUD, MANIFEST, RELEASE

from director.release.create import create_release


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[corpus_director.Director]:
    """A director with a release, a stemcell and a cloud config."""
    folder = tmp_path_factory.mktemp("refuses")
    for name, text in RELEASE.items():
        (folder / "rel" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "rel" / name).write_text(text)
    create_release(folder / "rel", version="1", force=True, tarball=folder / "rel.tgz", prepare=lambda _: None)
    with corpus_director.running(folder) as director:
        director.caisson("upload-release", str(folder / "rel.tgz"))
        (folder / "stemcell.yml").write_text("{name: linux, version: '1', operating_system: linux, cloud_properties: {image: none}}")
        director.caisson("upload-stemcell", str(folder / "stemcell.yml"))
        (folder / "cloud.yml").write_text(CLOUD)
        director.caisson("update-cloud-config", str(folder / "cloud.yml"))
        yield director


def deploy(director: corpus_director.Director, folder: pathlib.Path, manifest: str, *options: str) -> tuple[str, dict[str, Any]]:
    """What the command prints, and the error in the task's last event."""
    path = folder / "manifest.yml"
    path.write_text(manifest)
    printed = director.caisson("-d", "app", "deploy", str(path), *options, code=1)
    task = director.parts.store.tasks.select(limit=1)[0]
    assert task.state == "error"
    events = (director.parts.config.state / "tasks" / str(task.id) / "event").read_text().splitlines()
    error: dict[str, Any] = json.loads(events[-1])["error"]
    assert task.result.startswith(error["message"].splitlines()[0][:40])
    return printed, error


@pytest.mark.parametrize(("old", "new", "code", "words"), [
    ("instances: 2", "instances: '2'", 40000, "Property 'instances' value (\"2\") did not match the required type 'Integer'"),
    ("releases: [{name: rel", "releases: [{name: rol", 30005, "Release 'rol' doesn't exist"),
    ("os: linux", "os: none", 50003, "Stemcell with Operating System 'none' doesn't exist"),
    ("static_ips: [10.0.0.10]", "static_ips: [10.0.0.10, 10.0.0.10]", 150009, "specifies static IP '10.0.0.10' more than once"),
    ("azs: [z1, z2]", "azs: [z1, z9]", 140018, "references unknown availability zone 'z9'"),
    ("0-1000, update", "5-1, update", 180001, "Min watch time cannot be greater than max watch time"),
    ("name: web, release: rel", "name: wob, release: rel", 140029, "Job 'wob' not found in release 'rel'"),
    ("variables: [", "variables: [{name: a.b, type: password}, ", 540004, "Variable name 'a.b' must only contain"),
    ("update: {", "features: {use_dns_addresses: 'true'}\nupdate: {", 560001, "expected to be a boolean, but received 'String'"),
])  # fmt: skip
def test_the_error_event_has_the_code_and_the_place(
    small: corpus_director.Director, tmp_path: pathlib.Path, old: str, new: str, code: int, words: str,
) -> None:
    assert old in MANIFEST
    printed, error = deploy(small, tmp_path, MANIFEST.replace(old, new))
    assert error["code"] == code
    assert words in error["message"]
    assert "manifest.yml:" in error["message"]
    assert words in printed


def test_all_errors_are_in_the_event(small: corpus_director.Director, tmp_path: pathlib.Path) -> None:
    text = MANIFEST.replace("instances: 2", "instances: -1").replace("azs: [z1]", "azs: [z7]").replace("name: db, release: rel", "name: db")
    _, error = deploy(small, tmp_path, text)
    assert len(error["message"].splitlines()) == 3


def test_a_cloud_config_that_does_not_hold_is_told_by_the_deploy(small: corpus_director.Director, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cloud.yml"
    path.write_text(CLOUD.replace("gateway: 10.0.0.1", "gateway: 10.9.0.1"))
    assert "The next deploy will refuse: Invalid gateway for network 'default': must be inside the range" in small.caisson(
        "update-cloud-config", str(path))
    _, error = deploy(small, tmp_path, MANIFEST)
    assert (error["code"], "cloud-config 'default':" in error["message"]) == (160003, True)
    path.write_text(CLOUD)
    small.caisson("update-cloud-config", str(path))
