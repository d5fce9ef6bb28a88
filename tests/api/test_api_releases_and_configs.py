from __future__ import annotations

import gzip
import pathlib
from collections.abc import Iterator

import pytest
from api_world import TARBALL, YAML, World

from director.api import app, uploads
from director.release.model import JobSpec, LinkSpec, PackageSpec, Release
from director.state.compiled_packages import CompiledPackageRow
from director.state.disks import DiskRow
from director.state.stemcells import StemcellRow


def save_release(world: World, version: str, blob: str = "b1") -> None:
    job = JobSpec("nats", "nats", "1", "f1", "d1", {"a.erb": "bin/a"}, provides=(LinkSpec("nats", "nats"),), blob_id="jb")
    world.store.releases.save(
        Release("nats", version, "abc", True, jobs=(job,), packages=(PackageSpec("go", "1", "pf", "pd", blob_id=blob),))
    )


def test_list_of_releases_in_version_order(world: World) -> None:
    for version in ("10", "9", "1.2+dev.1"):
        save_release(world, version)
    world.store.deployments.ensure("app")
    world.store.deployments.set_uses("app", [("nats", "9")], [])
    (row,) = world.get("/releases").json()
    assert [item["version"] for item in row["release_versions"]] == ["1.2+dev.1", "9", "10"]
    assert row["release_versions"][1] == {
        "version": "9",
        "commit_hash": "abc",
        "uncommitted_changes": True,
        "currently_deployed": True,
        "job_names": ["nats"],
    }


def test_one_release(world: World) -> None:
    save_release(world, "1", blob="")
    found = world.get("/releases/nats?version=1").json()
    assert found["jobs"][0] == {
        "name": "nats",
        "blobstore_id": "jb",
        "sha1": "d1",
        "fingerprint": "f1",
        "consumes": None,
        "provides": [{"name": "nats", "type": "nats"}],
    }
    assert found["packages"][0] == {"name": "go", "blobstore_id": None, "sha1": None, "fingerprint": "pf", "compiled_packages": []}
    assert world.get("/releases/nats").json()["versions"] == ["1"]
    assert world.get("/releases/nats?version=2").json()["code"] == 30006
    assert world.get("/releases/none").json()["code"] == 30005


def test_compiled_packages_of_a_release_are_those_that_fit_it(world: World) -> None:
    save_release(world, "1")
    for key, dependencies in (("k1", "[]"), ("k2", '[["lib","1"]]')):
        world.store.compiled_packages.add(
            CompiledPackageRow(key, "go", "1", "pf", "debian-12", "1.5", f"blob-{key}", f"sha256:{key}", dependency_key=dependencies))
    (package,) = world.get("/releases/nats?version=1").json()["packages"]
    assert package["compiled_packages"] == [{"stemcell": "debian-12/1.5", "sha1": "sha256:k1", "blobstore_id": "blob-k1"}]


def test_upload_streams_to_a_file_that_the_task_owns(world: World) -> None:
    content = gzip.compress(b"x" * 3_000_000, 0)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 65536):
            yield content[start : start + 65536]

    response = world.post("/releases?", content=pieces(), headers=TARBALL)
    assert response.status_code == 302
    task = world.last_task()
    path = pathlib.Path(task.arguments["path"])
    assert (path.suffix, path.read_bytes() == content, path.stat().st_mode & 0o077) == (".tgz", True, 0)
    assert (task.type, task.description, task.arguments["url"], task.arguments["fix"]) == ("update_release", "create release", "", False)


def test_light_stemcells_are_told_apart(world: World) -> None:
    assert world.post("/stemcells?fix=true", content=b"name: debian\n", headers=TARBALL).status_code == 302
    assert world.last_task().arguments["path"].endswith(".yml")
    assert world.last_task().arguments["fix"] is True


def test_empty_and_too_large_uploads_leave_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.post("/releases", content=b"", headers=TARBALL).json()["code"] == 30002
    monkeypatch.setattr(app, "MAX_UPLOAD", 1000)
    assert world.post("/releases", content=b"x" * 2000, headers=TARBALL).json()["code"] == 40003
    assert list(world.uploads.iterdir()) == []
    assert world.store.tasks.select() == []


def test_a_failing_queue_leaves_no_upload(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_given: object) -> int:
        raise RuntimeError("no queue")

    monkeypatch.setattr(world.tasks, "create", fail)
    assert world.post("/releases", content=b"\x1f\x8b", headers=TARBALL).status_code == 500
    assert list(world.uploads.iterdir()) == []


def test_sweep_removes_what_no_task_owns(world: World) -> None:
    world.post("/releases", content=b"\x1f\x8b", headers=TARBALL)
    (world.uploads / "upload-stale.tgz").write_bytes(b"")
    assert uploads.sweep(world.uploads, world.store) == 1
    assert pathlib.Path(world.last_task().arguments["path"]).exists()


def test_too_large_bodies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_BODY", 1000)
    response = world.post("/deployments", content=b"name: " + b"x" * 2000, headers=YAML)
    assert (response.status_code, response.json()["code"]) == (400, 40003)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"a":' * 100 + b"1" + b"}" * 100, b"[" * 200_000, b"\xff"])
def test_bad_json(world: World, body: bytes) -> None:
    response = world.post("/stemcell_uploads", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["code"] in (710001, 40000)


def test_fetch_from_an_address(world: World) -> None:
    assert world.post("/releases?rebase=true", json={"location": "https://example.org/r.tgz", "sha1": "ab"}).status_code == 302
    assert world.last_task().arguments == {"path": "", "url": "https://example.org/r.tgz", "sha1": "ab", "rebase": True, "fix": False}
    assert world.post("/releases", json={"location": "file:///etc/passwd"}).json()["code"] == 40005
    assert world.post("/releases", json={}).json()["code"] == 40001


def test_delete_release(world: World) -> None:
    save_release(world, "1")
    assert world.delete("/releases/nats?version=1&force=true").status_code == 302
    assert world.last_task().description == "delete release: nats/1"
    assert world.delete("/releases/nats").status_code == 302
    assert world.last_task().description == "delete release: nats"
    assert world.delete("/releases/nats?version=2").json()["code"] == 30006
    assert world.delete("/releases/other").json()["code"] == 30005


def test_package_matches_name_what_is_there(world: World) -> None:
    blob = world.blobs.put(b"package")
    save_release(world, "1", blob=blob.id)
    asked = b"name: nats\nversion: '2'\npackages: [{name: go, fingerprint: pf}, {name: new, fingerprint: other}]"
    assert world.post("/packages/matches", content=asked, headers=YAML).json() == ["pf"]
    world.blobs.delete(blob.id)
    assert world.post("/packages/matches", content=asked, headers=YAML).json() == []


def test_package_matches_of_odd_manifests(world: World) -> None:
    assert world.post("/packages/matches", content=b"packages: []", headers=YAML).json() == []
    assert world.post("/packages/matches_compiled", content=b"compiled_packages: []", headers=YAML).json() == []
    assert world.post("/packages/matches", content=b"name: x", headers=YAML).json()["code"] == 440001


def test_export(world: World) -> None:
    save_release(world, "1")
    body = {
        "deployment_name": "app", "release_name": "nats", "release_version": "1", "stemcell_os": "debian", "stemcell_version": "12",
    }
    assert world.post("/releases/export", json=body).json()["code"] == 70000
    world.store.deployments.ensure("app")
    assert world.post("/releases/export", json={**body, "sha2": True, "jobs": [{"name": "nats"}]}).status_code == 302
    task = world.last_task()
    assert (task.type, task.description, task.deployment) == ("export_release", "export release: 'nats/1' for 'debian/12'", "app")
    assert (task.arguments["jobs"], task.arguments["sha2"]) == (["nats"], True)
    for change, code in (
        ({"release_name": "x"}, 30005), ({"release_version": "2"}, 30006), ({"stemcell_os": 7}, 40000), ({"jobs": "nats"}, 40000),
        ({"stemcell_version": None}, 40001),
    ):
        assert world.post("/releases/export", json={**body, **change}).json()["code"] == code
    assert len(world.store.tasks.select()) == 1


def test_clean_up_preview(world: World) -> None:
    for version in ("1", "2", "3"):
        save_release(world, version)
        world.store.stemcells.add(StemcellRow("debian", version, "debian-12", f"img-{version}", f"t{version}"))
    found = world.get("/cleanup/dryrun").json()
    assert found["releases"] == [{"name": "nats", "versions": ["1"]}]
    assert [(item["name"], item["version"], item["operating_system"]) for item in found["stemcells"]] == [("debian", "1", "debian-12")]
    found = world.get("/cleanup/dryrun?remove_all=true").json()
    assert (found["releases"], len(found["stemcells"])) == ([{"name": "nats", "versions": ["1", "2", "3"]}], 3)
    assert {key: found[key] for key in list(found)[2:]} == {
        "compiled_packages": [], "orphaned_disks": [], "orphaned_vms": [], "exported_releases": [], "dns_blobs": []}
    assert len(world.store.releases.all()) == 3


def test_jobs(world: World) -> None:
    save_release(world, "1")
    (job,) = world.get("/jobs?name=nats&release_name=nats&fingerprint=f1").json()
    assert job["spec"]["templates"] == {"a.erb": "bin/a"}
    assert world.get("/jobs?name=nats").status_code == 400
    assert world.get("/jobs?name=nats&release_name=nats&fingerprint=f2").status_code == 404


def test_stemcells(world: World) -> None:
    assert world.post("/stemcell_uploads", json={"stemcell": {"name": "debian", "version": "12"}}).json() == {"needed": True}
    world.store.stemcells.add(StemcellRow("debian", "12", "debian-12", "img", "t"))
    assert world.post("/stemcell_uploads", json={"stemcell": {"name": "debian", "version": "12"}}).json() == {"needed": False}
    assert world.post("/stemcell_uploads", json={"stemcell": {"name": "debian"}}).json()["code"] == 40001
    (row,) = world.get("/stemcells").json()
    assert row == {
        "name": "debian",
        "operating_system": "debian-12",
        "version": "12",
        "cid": "img",
        "cpi": "",
        "api_version": 3,
        "id": row["id"],
        "deployments": [],
    }
    assert isinstance(row["id"], int)
    assert world.delete("/stemcells/debian/12").status_code == 302
    assert world.last_task().description == "delete stemcell: debian/12"
    assert world.delete("/stemcells/debian/13").json()["code"] == 50003


def test_configs_before_any_deploy(world: World) -> None:
    response = world.get("/configs?latest=true&limit=1&type=deploy")
    assert (response.status_code, response.json()) == (200, [])


def post_config(world: World, content: str = "azs: []", **more: str) -> dict[str, str]:
    response = world.post("/configs", json={"type": "cloud", "name": "default", "content": content, **more})
    assert response.status_code == 201, response.text
    made: dict[str, str] = response.json()
    return made


def test_unchanged_content_keeps_its_id(world: World) -> None:
    first = post_config(world)
    assert first == {
        "id": first["id"],
        "name": "default",
        "type": "cloud",
        "content": "azs: []",
        "created_at": first["created_at"],
        "team": None,
        "current": True,
    }
    assert isinstance(first["id"], str)
    assert post_config(world)["id"] == first["id"]
    assert post_config(world, "azs: [{name: z1}]")["id"] != first["id"]


def test_expected_latest_id(world: World) -> None:
    first = post_config(world, expected_latest_id="0")
    response = world.post("/configs", json={"type": "cloud", "name": "default", "content": "a: b", "expected_latest_id": "77"})
    assert response.status_code == 412
    assert response.json() == {
        "latest_id": first["id"],
        "expected_latest_id": "77",
        "description": "Latest Id: '" + first["id"] + "' does not match expected latest id",
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "cloud", "name": "default", "content": "- a"}, 440011),
        ({"type": "cloud", "name": "default", "content": "a: ["}, 440011),
        ({"type": "cloud", "name": "default"}, 440010),
        ({"type": 1, "name": "default", "content": "a: b"}, 440010),
    ],
)
def test_bad_configs(world: World, body: dict[str, object], code: int) -> None:
    response = world.post("/configs", json=body)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_versions_and_current(world: World) -> None:
    first, second = post_config(world), post_config(world, "azs: [{name: z1}]")
    assert [row["id"] for row in world.get("/configs").json()] == [second["id"]]
    assert [(row["id"], row["current"]) for row in world.get("/configs?latest=false").json()] == [
        (second["id"], True),
        (first["id"], False),
    ]
    assert world.delete(f"/configs/{second['id']}").status_code == 204
    assert world.get(f"/configs/{first['id']}").json()["current"] is True
    assert world.get(f"/configs/{second['id']}").json()["code"] == 440012
    assert world.delete("/configs?type=cloud&name=default").status_code == 204
    assert world.get("/configs").json() == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=x", "'limit' must be a number"),
        ("limit=0", "'limit' must be larger than zero"),
        ("latest=maybe", "'latest' must be 'true' or 'false'"),
    ],
)
def test_bad_queries_of_configs(world: World, query: str, words: str) -> None:
    response = world.get(f"/configs?{query}")
    assert (response.status_code, response.json()["code"], response.json()["description"]) == (400, 440010, words)


def test_deleting_nothing(world: World) -> None:
    assert world.delete("/configs?type=cloud&name=nope").status_code == 404
    assert world.delete("/configs?type=cloud").json()["code"] == 440010
    assert world.delete("/configs/abc").json()["code"] == 440012


def test_legacy_configs(world: World) -> None:
    assert world.post("/cloud_configs?name=", content=b"azs: []", headers=YAML).status_code == 201
    (row,) = world.get("/cloud_configs?name=&limit=1").json()
    assert row["properties"] == "azs: []"
    assert world.get("/cloud_configs").text == "limit is required"
    assert world.post("/runtime_configs?name=dns", content=b"- a", headers=YAML).json()["code"] == 440011
    assert world.get("/runtime_configs?limit=1&name=dns").json() == []
    assert world.get("/cpi_configs?limit=1").json() == []


def test_disks_with_slashes_in_their_ids(world: World) -> None:
    world.store.disks.add(DiskRow("a/b", "t", 1024, orphaned_at=1_767_323_045.0, orphan_deployment="app", orphan_instance="db/1"))
    world.store.disks.add(DiskRow("used", "t2", 10))
    (row,) = world.get("/disks").json()
    assert row == {
        "disk_cid": "a/b",
        "size": 1024,
        "az": None,
        "deployment_name": "app",
        "instance_name": "db/1",
        "cloud_properties": {},
        "orphaned_at": "2026-01-02T03:04:05Z",
    }
    assert world.delete("/disks/a%2Fb").status_code == 302
    assert world.last_task().arguments == {"cid": "a/b"}
    assert world.delete("/disks/used").json()["code"] == 520000
    assert world.delete("/disks/none").status_code == 404


def test_clean_up(world: World) -> None:
    assert world.post("/cleanup", json={"config": {"remove_all": True, "keep_orphaned_disks": True}}).status_code == 302
    assert (world.last_task().description, world.last_task().arguments) == (
        "clean up all",
        {"remove_all": True, "keep_orphaned_disks": True},
    )
    assert world.get("/networks?orphaned=true").json() == []
    assert world.delete("/networks/none").json()["code"] == 16012


def diff_config(world: World, **body: object) -> object:
    response = world.post("/configs/diff", json=body)
    return response.json()


def test_diff_with_no_config_yet(world: World) -> None:
    found = diff_config(world, type="cloud", name="default", content="azs: []")
    assert (found["from"], found["diff"]) == ({"id": "0"}, [["azs: []", "added"]])


def test_diff_by_ids_and_contents(world: World) -> None:
    first = post_config(world, "azs: [{name: z1}]")
    found = diff_config(world, **{"from": {"id": first["id"], "content": ""}, "to": {"id": "", "content": "azs: [{name: z2}]"}})
    assert found == {"diff": [["azs:", None], ["- name: z2", "added"], ["- name: z1", "removed"]]}


def test_diff_of_bad_content(world: World) -> None:
    response = world.post("/configs/diff", json={"type": "cloud", "name": "default", "content": "a: ["})
    assert response.status_code == 400
    assert response.json()["diff"] == []
    assert response.json()["error"].startswith("Unable to diff config content: ")


def test_legacy_diff(world: World) -> None:
    assert world.post("/cloud_configs/diff?name=", content=b"azs: []", headers=YAML).json() == {"diff": [["azs: []", "added"]]}


def test_deployment_diff(world: World) -> None:
    cloud = world.store.configs.save("cloud", "default", "azs: [{name: z1}]")
    response = world.post("/deployments/new/diff?redact=true", content=b"name: new\nreleases: []\n", headers=YAML)
    assert response.status_code == 200
    shape = response.json()
    assert shape["context"] == {"cloud_config_ids": [cloud.id], "runtime_config_ids": []}
    assert {status for _line, status in shape["diff"]} <= {"added", None}
    assert ["name: new", "added"] in shape["diff"]
    assert world.store.deployments.all() == []


def test_deployment_diff_of_the_same_is_empty_although_it_says_latest(world: World) -> None:
    save_release(world, "1")
    text = "name: app\nreleases: [{name: nats, version: latest}]\n"
    world.store.deployments.ensure("app")
    world.store.deployments.update("app", manifest=text, resolved={"name": "app", "releases": [{"name": "nats", "version": "1"}]})
    assert world.post("/deployments/app/diff", content=text.encode(), headers=YAML).json()["diff"] == []
    save_release(world, "2")
    lines = world.post("/deployments/app/diff", content=text.encode(), headers=YAML).json()["diff"]
    assert lines == [["releases:", None], ["- name: nats", None], ["  version: '1'", "removed"], ["  version: '2'", "added"]]


def test_deployment_diff_of_nonsense_says_why(world: World) -> None:
    shape = world.post("/deployments/app/diff", content=b"name: [", headers=YAML).json()
    assert shape["diff"] == []
    assert shape["error"].startswith("Unable to diff manifest: ")


def test_redaction(world: World) -> None:
    text = b"name: app\ninstance_groups: [{name: web, properties: {password: hunter2}}]\n"
    assert "hunter2" not in world.post("/deployments/app/diff?redact=true", content=text, headers=YAML).text
    assert "hunter2" in world.post("/deployments/app/diff?redact=false", content=text, headers=YAML).text
