from __future__ import annotations

import json
from typing import Any

import pytest
from api_world import YAML, World

from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError
from director.release.model import JobSpec, PackageSpec, Release
from director.state.instances import InstanceRow
from director.state.vms import VmRow

UUID = "aaaaaaaa-1111-2222-3333-444444444444"


def deploy(world: World, text: str = "name: app\n", query: str = "") -> Any:
    return world.post(f"/deployments{query}", content=text.encode(), headers=YAML)


def add_instance(world: World, **more: Any) -> InstanceRow:
    return world.store.instances.add(InstanceRow(**{"id": UUID, "deployment": "app", "group": "db", "index": 0, **more}))


@pytest.fixture
def app(world: World) -> World:
    world.store.deployments.ensure("app")
    return world


def test_deploy_redirects_to_the_task_and_the_deployment_is_there_at_once(world: World) -> None:
    response = deploy(world, query="?")
    assert (response.status_code, response.content) == (302, b"")
    assert response.headers["location"] == f"/tasks/{world.last_task().id}"
    assert world.get("/deployments/app").json() == {"manifest": None}
    task = world.last_task()
    assert (task.type, task.description, task.deployment, task.user) == ("update_deployment", "create deployment", "app", "admin")
    assert task.arguments["manifest"] == "name: app\n"


def test_deploy_options(world: World) -> None:
    deploy(
        world, query="?recreate=true&fix=true&skip_drain=*&canaries=2&max_in_flight=50%25&recreate_vms_created_before=2026-01-02T03:04:05Z"
    )
    options = world.last_task().arguments["options"]
    assert options == {
        "recreate": True,
        "recreate_persistent_disks": False,
        "recreate_vms_created_before": "2026-01-02T03:04:05Z",
        "fix": True,
        "skip_drain": "*",
        "dry_run": False,
        "force_latest_variables": False,
        "canaries": "2",
        "max_in_flight": "50%",
    }


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("?recreate_vms_created_before=2026-01-02T03:04:05Z", 40005, "Must pass recreate=true"),
        ("?recreate=true&recreate_vms_created_before=soon", 40005, "Invalid RFC 3339"),
        ("?canaries=many", 40005, "canaries value should be integer or percent"),
        ("?context=%7B%22cloud_config_ids%22%3A%5B9%5D%7D", 190025, "invalid config ID"),
        ("?context=nonsense", 710001, "not JSON"),
    ],
)
def test_bad_deploy_options(world: World, query: str, code: int, words: str) -> None:
    response = deploy(world, query=query)
    assert (response.status_code, response.json()["code"]) == (400, code)
    assert words in response.json()["description"]
    assert world.store.tasks.select() == []
    assert world.store.deployments.all() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [("", 440001), ("- a", 440001), ("a: 1", 40001), ("name: [", None), ("name: {}", 40001), ("name: a/b", 440001), ("[" * 100_000, None)],
)
def test_bad_manifests_make_nothing(world: World, text: str, code: int | None) -> None:
    response = deploy(world, text)
    assert response.status_code == 400
    if code:
        assert response.json()["code"] == code
    assert world.store.deployments.all() == []


def test_context_pins_configs(world: World) -> None:
    config = world.store.configs.save("cloud", "default", "azs: []")
    context = json.dumps({"cloud_config_ids": [config.id], "runtime_config_ids": []})
    assert world.post("/deployments", params={"context": context}, content=b"name: app", headers=YAML).status_code == 302
    assert world.last_task().arguments["options"]["context"] == {"cloud_config_ids": [config.id], "runtime_config_ids": []}


def test_plan_writes_nothing(world: World) -> None:
    response = world.post("/deployments/app/plan?canaries=2", content=b"name: app\n", headers=YAML)
    assert response.json() == {"text": "+ web/0  new\n", "plan": {"changes": [{"action": "create"}]}}
    assert world.planned[0][1]["dry_run"] is True
    assert world.planned[0][1]["canaries"] == "2"
    assert world.store.deployments.all() == []
    assert world.store.tasks.select() == []


def test_all_diagnostics_arrive(world: World) -> None:
    world.plan_error = ManifestError(
        Diagnostic("Unknown network 'x'", where=Where("app.yml", 7, "instance_groups/web"), suggestion="Did you mean 'y'?", code=150001),
        Diagnostic("Unknown AZ 'z'"),
    )
    response = world.post("/deployments/app/plan", content=b"name: app\n", headers=YAML)
    shape = response.json()
    assert (response.status_code, shape["code"]) == (400, 150001)
    assert shape["description"] == "Unknown network 'x' (app.yml:7 instance_groups/web)\nUnknown AZ 'z'"
    assert [item["summary"] for item in shape["diagnostics"]] == ["Unknown network 'x'", "Unknown AZ 'z'"]


def test_list(app: World) -> None:
    config = app.store.configs.save("cloud", "default", "azs: []")
    app.store.deployments.update("app", cloud_config_ids=(config.id,))
    app.store.deployments.set_uses("app", [("nats", "1")], [("debian", "12")])
    app.store.deployments.ensure("aaa")
    first, second = app.get("/deployments").json()
    assert (first["name"], first["cloud_config"]) == ("aaa", "none")
    assert second == {
        "name": "app",
        "teams": [],
        "cloud_config": "latest",
        "stemcells": [{"name": "debian", "version": "12"}],
        "releases": [{"name": "nats", "version": "1"}],
        "locked": False,
    }
    assert set(app.get("/deployments?exclude_configs=true&exclude_lock=true").json()[0]) == {"name", "teams", "stemcells", "releases"}
    app.store.configs.save("cloud", "default", "azs: [{name: z1}]")
    assert app.get("/deployments").json()[1]["cloud_config"] == "outdated"


def test_deployment_configs(app: World) -> None:
    config = app.store.configs.save("runtime", "dns", "addons: []")
    app.store.deployments.update("app", runtime_config_ids=(config.id,))
    rows = app.http.get("/deployment_configs?deployment[]=app").json()
    assert rows == [{"id": config.id, "deployment": "app", "config": {"id": config.id, "type": "runtime", "name": "dns"}}]
    assert app.http.get("/deployment_configs?deployment[]=other").json() == []


def test_delete(app: World) -> None:
    assert app.delete("/deployments/app?force=true").status_code == 302
    assert (app.last_task().type, app.last_task().arguments["force"]) == ("delete_deployment", True)
    assert app.delete("/deployments/none").json()["code"] == 70000


def test_rows_of_instances(app: World) -> None:
    add_instance(app, az="z1")
    app.store.vms.add(VmRow("vm-1", "t", "app", "agent", UUID, active=True, created_at=1_767_323_045.0, networks=[{"ip": "10.0.0.5"}]))
    (row,) = app.get("/deployments/app/instances").json()
    assert row == {
        "agent_id": "agent",
        "cid": "vm-1",
        "job": "db",
        "index": 0,
        "id": UUID,
        "az": "z1",
        "ips": row["ips"],
        "vm_created_at": "2026-01-02T03:04:05Z",
        "expects_vm": True,
    }
    (vm,) = app.get("/deployments/app/vms").json()
    assert (vm["active"], vm["permanent_nats_credentials"], "expects_vm" in vm) == (True, False, False)


@pytest.mark.parametrize("kind", ["instances", "vms"])
def test_full_rows_are_a_task(app: World, kind: str) -> None:
    assert app.get(f"/deployments/app/{kind}?format=full").status_code == 302
    assert app.last_task().arguments == {"format": "full", "what": kind}
    assert app.last_task().description == "retrieve vm-stats"


def test_change_all(app: World) -> None:
    response = app.put("/deployments/app/jobs/*?state=stopped&skip_drain=true&canaries=1", headers=YAML)
    assert response.status_code == 302
    arguments = app.last_task().arguments
    assert (arguments["group"], arguments["id_or_index"], arguments["state"]) == ("", "", "stopped")
    assert (arguments["options"]["skip_drain"], arguments["options"]["canaries"]) == ("*", "1")


def test_change_one_ignores_max_in_flight(app: World) -> None:
    add_instance(app)
    assert app.put("/deployments/app/jobs/db/0?state=recreate&max_in_flight=5", headers=YAML).status_code == 302
    arguments = app.last_task().arguments
    assert (arguments["group"], arguments["id_or_index"]) == ("db", "0")
    assert "max_in_flight" not in arguments["options"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/deployments/app/jobs/db/notauuid?state=restart", 400, 70002),
        ("/deployments/app/jobs/db/7?state=restart", 404, 70001),
        ("/deployments/app/jobs/db/0?state=flying", 400, 140008),
        ("/deployments/app/jobs/*?state=restart&recreate_vms_created_before=2026-01-02T03:04:05Z", 400, 40005),
        ("/deployments/none/jobs/*?state=restart", 404, 70000),
    ],
)
def test_bad_changes(app: World, path: str, status: int, code: int) -> None:
    add_instance(app)
    response = app.put(path, headers=YAML)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert app.store.tasks.select() == []


def test_no_converge(app: World) -> None:
    add_instance(app)
    path = "/deployments/app/instance_groups/db/0/actions"
    assert app.post(f"{path}/stop?hard=true").status_code == 302
    task = app.last_task()
    assert (task.description, task.arguments["state"], task.arguments["options"]["converge"]) == ("stop instance", "detached", False)
    assert app.post(f"{path}/dance").status_code == 404
    app.store.instances.update(UUID, ignored=True)
    assert app.post(f"{path}/start").json()["code"] == 190020
    app.store.instances.update(UUID, ignored=False, lifecycle="errand")
    assert (app.post(f"{path}/start").status_code, app.post(f"{path}/start").json()["code"]) == (422, 90000)


def test_ignore(app: World) -> None:
    add_instance(app)
    assert app.put("/deployments/app/instance_groups/db/0/ignore", json={"ignore": True}).status_code == 200
    assert app.store.instances.get(UUID).ignored is True
    assert app.put("/deployments/app/instance_groups/db/0/ignore", json={"ignore": "yes"}).json()["code"] == 40000


def test_one_instance(app: World) -> None:
    add_instance(app)
    assert app.get("/deployments/app/jobs/db/0").json() == {
        "deployment": "app",
        "job": "db",
        "index": 0,
        "id": UUID,
        "state": "started",
        "disks": [],
    }


@pytest.fixture
def with_errands(app: World) -> World:
    jobs = (
        JobSpec("smoke", "tests", "1", "f1", "d1", {"run.erb": "bin/run"}),
        JobSpec("web", "tests", "1", "f2", "d2", {"ctl.erb": "bin/ctl"}),
        JobSpec("unused", "tests", "1", "f3", "d3", {"run.erb": "bin/run"}),
    )
    app.store.releases.save(Release("tests", "1", jobs=jobs, packages=(PackageSpec("p", "1", "pf", "pd", blob_id="b1"),)))
    app.store.deployments.set_uses("app", [("tests", "1")], [])
    app.store.deployments.update(
        "app",
        resolved={
            "instance_groups": [
                {"name": "web", "jobs": [{"name": "web", "release": "tests"}, {"name": "smoke", "release": "tests"}]},
                {"name": "migrate", "lifecycle": "errand", "jobs": [{"name": "web", "release": "tests"}]},
            ]
        },
    )
    return app


def test_errands(with_errands: World) -> None:
    assert with_errands.get("/deployments/app/errands").json() == [{"name": "migrate"}, {"name": "smoke"}]


def test_run_errand(with_errands: World) -> None:
    body = {"keep-alive": True, "when-changed": False, "instances": [{"group": "web", "id": "first"}, {"group": "web"}]}
    assert with_errands.post("/deployments/app/errands/smoke/runs", json=body).status_code == 302
    task = with_errands.last_task()
    assert task.description == "run errand smoke from deployment app"
    assert task.arguments == {
        "errand": "smoke",
        "keep_alive": True,
        "when_changed": False,
        "instances": [{"group": "web", "id": "first"}, {"group": "web", "id": ""}],
    }


def test_bad_errands(with_errands: World) -> None:
    response = with_errands.post("/deployments/app/errands/smok/runs", json={})
    assert (response.status_code, response.json()["code"]) == (404, 70009)
    assert "smoke" in response.json()["diagnostics"][0]["suggestion"]
    assert with_errands.post("/deployments/app/errands/smoke/runs", json={"instances": ["web"]}).json()["code"] == 40000


def test_ssh(app: World) -> None:
    body = {
        "command": "setup",
        "deployment_name": "app",
        "target": {"job": "db", "ids": ["0"], "indexes": ["0"]},
        "params": {"user": "bosh_0123456789abcde", "public_key": "ssh-rsa AAAA"},
    }
    assert app.post("/deployments/app/ssh", json=body).status_code == 302
    task = app.last_task()
    assert task.description == 'ssh: setup:{"ids":["0"],"job":"db"}'
    assert task.arguments == {
        "command": "setup",
        "target": {"job": "db", "ids": ["0"]},
        "user": "bosh_0123456789abcde",
        "public_key": "ssh-rsa AAAA",
    }
    cleanup = {"command": "cleanup", "target": {"ids": [], "indexes": []}, "params": {"user_regex": "^bosh_0123456789abcde"}}
    assert app.post("/deployments/app/ssh", json=cleanup).status_code == 302
    assert app.last_task().arguments == {"command": "cleanup", "target": {"job": "", "ids": []}, "user_regex": "^bosh_0123456789abcde"}


@pytest.mark.parametrize(
    "params",
    [
        {"user": "root; rm -rf /", "public_key": "ssh-rsa AAAA"},
        {"user": "bosh_1", "public_key": "ssh-rsa AAAA\nssh-rsa BBBB"},
        {"user": "bosh_1", "public_key": 'command="x" ssh-rsa AAAA'},
        {"user": "bosh_1"},
    ],
)
def test_ssh_refuses_what_would_break_out(app: World, params: dict[str, str]) -> None:
    body = {"command": "setup", "target": {"ids": []}, "params": params}
    assert app.post("/deployments/app/ssh", json=body).status_code == 400
    assert app.store.tasks.select() == []


def test_ssh_cleanup_refuses_patterns_for_everybody(app: World) -> None:
    body = {"command": "cleanup", "target": {"ids": []}, "params": {"user_regex": ".*"}}
    assert app.post("/deployments/app/ssh", json=body).json()["code"] == 40005


def test_logs(app: World) -> None:
    add_instance(app)
    assert app.get("/deployments/app/jobs/*/*/logs?type=agent,job&filters=*/*.log,nginx/*").status_code == 302
    assert app.last_task().arguments == {"group": "", "id_or_index": "", "type": "agent,job", "filters": ["*/*.log", "nginx/*"]}
    assert app.get("/deployments/app/jobs/db/0/logs?type=job").status_code == 302
    assert app.get("/deployments/app/jobs/db/9/logs?type=job").status_code == 404
    assert app.get("/deployments/app/jobs/nope/*/logs?type=job").status_code == 404
    assert app.get("/deployments/app/jobs/db/0/logs?type=secret").json()["code"] == 40005


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/deployments/app/scans"),
        ("GET", "/deployments/app/problems"),
        ("PUT", "/resurrection"),
        ("DELETE", "/vms/a%2Fb"),
        ("POST", "/links"),
        ("PUT", "/disks/d/attachments"),
    ],
)
def test_what_is_to_come_says_so(app: World, method: str, path: str) -> None:
    response = app.http.request(method, path)
    assert response.status_code == 501
    assert "does not support" in response.json()["description"]
