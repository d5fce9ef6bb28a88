"""What operations do on machines, row by row. Source: planning contract, section 27 ("Easy to get wrong")."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import Machine, World, rendered
from small_world import MANIFEST, RELEASE

from director.errors import AgentError, CaissonError, MachineError, PlanError
from director.execute import delete, states
from director.execute.errands import ErrandRequest, run_errand

OTHER = MANIFEST.replace("greeting: hello", "greeting: bye")
WEB = (("web", 0), ("web", 1))
ERRAND = MANIFEST + """
- name: check
  lifecycle: errand
  instances: 3
  azs: [z1]
  vm_type: small
  stemcell: default
  networks: [{name: default}]
  jobs: [{name: db, release: rel, provides: {db: nil}}]
"""

AUTOMATIC = MANIFEST.replace("networks: [{name: default, static_ips: [10.0.0.10]}]", "networks: [{name: default}]")
HEAD, DB, WEB_GROUP = (AUTOMATIC[start:end] for start, end in (
    (0, AUTOMATIC.index("- name: db")), (AUTOMATIC.index("- name: db"), AUTOMATIC.index("- name: web")),
    (AUTOMATIC.index("- name: web"), len(AUTOMATIC))))
DATABASE = HEAD.replace("name: app", "name: provider", 1) + DB.replace("release: rel,", "release: rel, provides: {db: {shared: true}},")
CONSUMER = HEAD.replace("name: app", "name: consumer", 1) + WEB_GROUP.replace(
    "release: rel,", "release: rel, consumes: {db: {from: db, deployment: provider}},")


@pytest.fixture
def deployed(world: World) -> World:
    world.deploy(MANIFEST)
    world.task += 1
    world.fleet.calls.clear()
    return world


def change(world: World, state: str, group: str = "", index: str = "") -> None:
    states.change_state(world.context, "app", states.StateRequest(state, group, index))
    world.task += 1


def actions(world: World, machine: Machine, *names: str) -> list[str]:
    """What was asked of the machine, in order: `action` or `action detail`; only the `names` when there are any."""
    told = [f"{call.action} {call.detail}".strip() for call in world.fleet.calls if call.cid == machine.cid]
    return [item for item in told if item in names] if names else told


def test_row_19_records_of_others_reach_a_machine_without_touching_its_jobs(deployed: World) -> None:
    web = deployed.machine("web")
    before = web.dns_version
    deployed.deploy(MANIFEST + ERRAND.removeprefix(MANIFEST).replace("errand", "service"))
    assert set(actions(deployed, web)) == {"get_state", "sync_names", "run_script post-deploy"}
    assert web.dns_version > before


def test_row_21_a_stopped_instance_gets_its_new_templates_and_starts_with_them_later(deployed: World) -> None:
    change(deployed, "stopped", "web")
    deployed.fleet.calls.clear()
    deployed.deploy(OTHER)
    deployed.task += 1
    web = deployed.machine("web")
    assert not web.running
    assert "prepare" in actions(deployed, web)
    assert "start" not in actions(deployed, web)
    change(deployed, "started", "web")
    assert web.running
    assert web.spec["configuration_hash"] == deployed.store.instances.at("app", "web", 0).applied["configuration_hash"]


def test_row_22_a_detached_instance_gets_its_machine_from_the_new_stemcell(deployed: World) -> None:
    change(deployed, "detached", "web", "1")
    from director.state.stemcells import StemcellRow

    cid = deployed.cloud.create_stemcell("", {}, "stemcell-2")
    deployed.store.stemcells.add(StemcellRow("linux", "2", "linux", cid, "stemcell-2"))
    deployed.deploy(MANIFEST)
    deployed.task += 1
    row = deployed.store.instances.at("app", "web", 1)
    assert deployed.store.vms.of_instance(row.id) == []
    change(deployed, "started", "web", "1")
    (vm,) = deployed.store.vms.of_instance(row.id)
    assert vm.stemcell_version == "2"


def test_row_23_start_after_a_failed_deploy_goes_back_to_the_last_success(deployed: World) -> None:
    before = {one: deployed.machine(*one).spec["configuration_hash"] for one in WEB}
    deployed.fleet.sick.add("web")
    with pytest.raises(MachineError, match="is not running after update"):
        deployed.deploy(OTHER)
    deployed.fleet.sick.clear()
    deployed.task += 1
    changed = [one for one in WEB if deployed.machine(*one).spec["configuration_hash"] != before[one]]
    assert len(changed) == 1, "the canary"
    change(deployed, "started")
    assert {one: deployed.machine(*one).spec["configuration_hash"] for one in WEB} == before
    assert all(deployed.machine(*one).running for one in WEB)


def test_row_24_all_machines_of_an_errand_are_updated_and_the_first_runs_it(world: World) -> None:
    world.deploy(ERRAND)
    world.task += 1
    run_errand(world.context, "app", ErrandRequest("check", keep_alive=True))
    machines = [world.machine("check", index) for index in range(3)]
    assert [actions(world, machine, "run_errand db") for machine in machines] == [["run_errand db"], [], []]
    world.task += 1
    world.fleet.calls.clear()
    world.deploy(ERRAND)
    assert all("apply" in actions(world, machine) for machine in machines), "although nothing changed"
    assert "apply" not in actions(world, world.machine("web"))


def test_row_27_skipping_drain_skips_pre_stop_too(deployed: World) -> None:
    deployed.deploy(OTHER, skip_drain=("web",))
    scripts = ("run_script pre-stop", "drain update", "stop", "run_script post-stop")
    assert actions(deployed, deployed.machine("web"), *scripts) == ["stop", "run_script post-stop"]
    deployed.task += 1
    deployed.fleet.calls.clear()
    deployed.deploy(MANIFEST)
    assert actions(deployed, deployed.machine("web"), *scripts) == list(scripts)


def test_row_28_nothing_is_started_after_a_failed_pre_start(deployed: World) -> None:
    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if action == "run_script" and arguments["name"] == "pre-start":
            raise AgentError("1 of 2 pre-start scripts failed. Failed Jobs: a. Successful Jobs: b.")

    deployed.fleet.refuse = refuse
    with pytest.raises(AgentError, match=r"1 of 2 pre-start scripts failed\. Failed Jobs: a\. Successful Jobs: b\."):
        deployed.deploy(OTHER)
    assert not any(call.action == "start" for call in deployed.fleet.calls)


def test_row_29_processes_that_do_not_stop_in_time_do_not_stop_the_update(deployed: World) -> None:
    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if action == "stop":
            raise AgentError("Timed out waiting for services to stop after 300 seconds")

    deployed.fleet.refuse = refuse
    deployed.deploy(OTHER)
    assert all(deployed.machine(*one).running for one in WEB)


def test_row_30_post_deploy_runs_everywhere_if_anything_changed_and_nowhere_else(deployed: World) -> None:
    everywhere = [deployed.machine(*one) for one in (("db", 0), *WEB)]
    deployed.deploy(OTHER)
    assert [actions(deployed, machine, "run_script post-deploy") for machine in everywhere] == [["run_script post-deploy"]] * 3
    deployed.task += 1
    deployed.fleet.calls.clear()
    deployed.deploy(OTHER)
    assert [actions(deployed, machine, "run_script post-deploy") for machine in everywhere] == [[]] * 3


def test_row_31_all_machines_are_made_before_the_first_job_starts(world: World) -> None:
    effects: list[str] = []
    world.effect = lambda name: effects.append(name)
    world.deploy(MANIFEST.replace("instances: 2", "instances: 6").replace("max_in_flight: 2", "max_in_flight: 1"))
    seen = [name for name in effects if name in ("create_vm", "start")]
    assert seen[-7:] == ["start"] * 7
    assert "start" not in seen[:-7]


def test_row_36_an_errand_ended_by_a_signal_counts_as_cancelled(deployed: World) -> None:
    deployed.fleet.errands["db"] = 143
    assert run_errand(deployed.context, "app", ErrandRequest("db")) == "0 succeeded, 0 errored, 1 canceled"
    deployed.fleet.errands["db"] = 128
    assert run_errand(deployed.context, "app", ErrandRequest("db")) == "0 succeeded, 1 errored, 0 canceled"


def test_row_39_a_failed_post_deploy_is_not_run_again_by_a_deploy_without_changes(deployed: World) -> None:
    def refuse(machine: Machine, action: str, arguments: Any) -> None:
        if action == "run_script" and arguments["name"] == "post-deploy":
            raise AgentError("1 of 1 post-deploy scripts failed. Failed Jobs: web.")

    deployed.fleet.refuse = refuse
    with pytest.raises(AgentError, match="post-deploy scripts failed"):
        deployed.deploy(OTHER)
    assert deployed.store.deployments.get("app").manifest == OTHER, "the deploy itself was done"
    deployed.fleet.refuse = lambda machine, action, arguments: None
    deployed.task += 1
    deployed.fleet.calls.clear()
    deployed.deploy(OTHER)
    assert {call.action for call in deployed.fleet.calls} == {"get_state"}


# Source: release contract, section 21.


def test_release_row_12_a_compiling_machine_has_direct_dependencies_only(world: World) -> None:
    seen: dict[str, list[str]] = {}

    def record(machine: Machine, action: str, arguments: Any) -> None:
        if action == "compile_package":
            seen[arguments["name"]] = [item["name"] for item in arguments["dependencies"]]

    world.fleet.refuse = record
    packages = {"app": "golang", "golang": "gcc", "gcc": ""}
    world.upload({
        **RELEASE, **{f"src/{name}.txt": name for name in packages}, **{f"packages/{name}/packaging": "true\n" for name in packages},
        **{f"packages/{name}/spec": f"name: {name}\nfiles: [{name}.txt]\ndependencies: [{needs}]\n" for name, needs in packages.items()},
    }, "12")
    world.deploy(MANIFEST)
    assert seen == {"lib": [], "gcc": [], "golang": ["gcc"], "app": ["golang"]}


def test_release_row_32_a_provider_elsewhere_is_seen_anew_with_the_next_deploy(world: World) -> None:
    world.deploy(DATABASE)
    world.task += 1
    world.deploy(CONSUMER)
    web = world.store.instances.of("consumer")[0]

    def addresses() -> str:
        vm = world.store.vms.active_of(web.id)
        assert vm is not None
        return rendered(world.fleet.machines[vm.cid], "web/config/web.json")

    before = addresses()
    world.task += 1
    world.deploy(DATABASE.replace("instances: 1", "instances: 2"))
    assert addresses() == before, "a snapshot"
    world.task += 1
    states.change_state(world.context, "consumer", states.StateRequest("recreate", "web"))
    assert addresses() == before, "also for a change of state, which has the links of the last deploy"
    world.task += 1
    world.deploy(CONSUMER)
    assert addresses() != before
    assert addresses().count("10.0.0.") == 2


def test_a_change_of_state_needs_no_provider_that_is_gone(world: World) -> None:
    world.deploy(DATABASE)
    world.task += 1
    world.deploy(CONSUMER)
    delete.delete_deployment(world.context, "provider")
    world.task += 1
    states.change_state(world.context, "consumer", states.StateRequest("restart", "web"))
    world.task += 1
    with pytest.raises(PlanError, match="the deployment does not exist"):
        world.deploy(CONSUMER)


def test_release_row_37_a_job_in_two_groups_has_the_properties_of_each(world: World) -> None:
    world.deploy(AUTOMATIC + WEB_GROUP.replace("name: web\n", "name: api\n", 1).replace("greeting: hello", "greeting: hi"))
    assert rendered(world.machine("web"), "web/config/web.json").startswith("hello ")
    assert rendered(world.machine("api"), "web/config/web.json").startswith("hi ")


# Source: manifest contract, section 22.


def test_manifest_row_23_options_of_variables_need_values_that_are_there(world: World) -> None:
    certificate = "{name: cert, type: certificate, options: {is_ca: true, common_name: ((system_domain))}}"
    with pytest.raises(CaissonError, match="system_domain"):
        world.deploy(MANIFEST.replace("{name: password, type: password}", "{name: password, type: password}, " + certificate))
    both = f"{{name: password, type: password}}, {{name: system_domain, type: password}}, {certificate}"
    with pytest.raises(CaissonError, match="system_domain"):
        world.deploy(MANIFEST.replace("{name: password, type: password}", both))
    assert world.fleet.machines == {}
