"""The deploy, from the text of a manifest to running jobs. Source: planning contract, section 1."""

from __future__ import annotations

import copy
import dataclasses

from director.diagnostics import Diagnostic
from director.errors import CaissonError, ConflictError
from director.execute import compile, dns, kept_plans, networks, parallel
from director.execute.context import Context
from director.execute.prepare import Prepared, Wanted, json_ready, prepare
from director.execute.progress import Stage
from director.execute.recover import recover
from director.execute.steps import blobs, scripts, spare_vm
from director.execute.steps.create_vm import create_vm
from director.execute.steps.delete_instance import delete_instance
from director.execute.steps.update_instance import update_instance
from director.manifest import load, parse
from director.plan import model
from director.plan.digest import digest
from director.plan.model import Action
from director.plan.planfile import PlanFile
from director.variables import rollout

ALL = 1_000_000


def deploy(ctx: Context, wanted: Wanted, kept: PlanFile | None = None) -> str:
    """Make the deployment what the manifest says. The task's result. Runs under the deployment's lock; after a crash, run again.

    With a `kept` plan exactly that is done. Raises ConflictError, with nothing changed, when the plan would be another one now.
    """
    name = parse.check_body(load.load_yaml(wanted.manifest, wanted.file))
    ctx.store.deployments.ensure(name)
    try:
        if kept is not None:
            kept_plans.check_name(kept, name)
            converge(ctx, name, kept_plans.foreseen(wanted, kept), agreed=_agreed(ctx, name, kept, wanted))
        else:
            converge(ctx, name, wanted)
    except CaissonError:
        _forget_unborn(ctx, name)
        raise
    return f"/deployments/{name}"


def _agreed(ctx: Context, name: str, kept: PlanFile, wanted: Wanted) -> str:
    """Compare the plan with the world, once: what this task has done before its director died is no reason to refuse it. Answers the
    digest of what is to be done, '' when it has begun."""
    if _began(ctx, name) is not None:
        return ""
    recover(ctx, name)
    stage = ctx.log.stage("Comparing with the plan", 1)
    with stage.step("Comparing with the plan"):
        return kept_plans.hold(ctx, kept, kept_plans.foreseen(wanted, kept))


def _forget_unborn(ctx: Context, name: str) -> None:
    """A first deploy that failed before anything was made for its instances leaves nothing: no names, no addresses."""
    store = ctx.store
    if store.deployments.get(name).succeeded or store.vms.of(name) or store.disks.of(name) or store.journal.open(deployment=name):
        return
    with store.transaction():
        for row in store.instances.of(name):
            store.instances.delete(row.id)
        store.deployments.delete(name)
    networks.orphan_unused(ctx)


def converge(ctx: Context, name: str, wanted: Wanted, *, keep_text: bool = False, agreed: str = "") -> None:
    """Recover, plan, do, keep, tell. `keep_text` leaves the stored manifest's text as the operator wrote it; `agreed` is the digest of the
    only plan that may be carried out, where there is one."""
    before, software = ctx.store.deployments.get(name), _software(ctx, name)
    began = _began(ctx, name)
    with ctx.event("update" if before.succeeded else "create", "deployment", name) as ended:
        recover(ctx, name)
        dns.take_back(ctx, name)
        prepared = prepare_stage(ctx, dataclasses.replace(wanted, options=_taken_up(ctx, wanted.options, began)), agreed)
        perform(ctx, prepared)
        keep(ctx, prepared, keep_text=keep_text)
        post_deploy(ctx, prepared)
        ended.update(before=software, after=_software(ctx, name))


def _software(ctx: Context, name: str) -> dict[str, list[str]]:
    """What the deployment uses, as its events tell it."""
    found = {"releases": ctx.store.deployments.releases(name), "stemcells": ctx.store.deployments.stemcells(name)}
    return {kind: [f"{item}/{version}" for _deployment, item, version in rows] for kind, rows in found.items()}


def _began(ctx: Context, name: str) -> float | None:
    """When a director that died began this very task; None when it begins now."""
    events = ctx.store.events.select(task=str(ctx.task_id), object_type="deployment", object_name=name, limit=ALL)
    return events[-1].timestamp if events else None


def _taken_up(ctx: Context, options: model.Options, began: float | None) -> model.Options:
    """What this task has recreated or restarted before its director died is not done a second time."""
    if began is None:
        return options
    events = ctx.store.events.select(task=str(ctx.task_id), object_type="instance", limit=ALL)
    ended = {event.instance.partition("/")[2] for event in events if event.parent_id is not None and not event.error}
    return dataclasses.replace(options, began=began, ended=tuple(sorted(ended)))


def prepare_stage(ctx: Context, wanted: Wanted, agreed: str = "") -> Prepared:
    """Plan, and write the plan's instances and addresses down. Raises ConflictError when it is not the agreed plan."""
    stage = ctx.log.stage("Preparing deployment", 1)
    with stage.step("Preparing deployment"):
        prepared = prepare(ctx, wanted, write=True)
        if agreed and digest(prepared.plan, ctx.director.secret, specs=False) != agreed:
            raise ConflictError(Diagnostic(
                kept_plans.HEADLINE, detail="It moved just now, between the comparison and the beginning of the work.",
                suggestion=f"Plan again: caisson -d {prepared.manifest.name} plan MANIFEST -o plan.json. No machine was touched."))
        prepared.write_down(ctx)
    for warning in prepared.warnings:
        ctx.log.warning(warning)
    return prepared


def perform(ctx: Context, prepared: Prepared) -> None:
    """Everything that touches clouds and machines, in the reference's order."""
    compile.compile_packages(ctx, prepared)
    delete_removed_groups(ctx, prepared)
    create_missing_vms(ctx, prepared)
    dns.publish(ctx)
    download_packages(ctx, prepared)
    for run in prepared.plan.runs:
        ctx.check()
        parallel.each(run, lambda group: update_group(ctx, prepared, group), len(run), ctx.check)
    dns.publish(ctx)
    _free_unused(ctx, prepared)


def delete_removed_groups(ctx: Context, prepared: Prepared) -> None:
    removed = set(prepared.plan.removed_groups)
    doomed = [change for change in prepared.plan.changes if change.action is Action.DELETE and change.group in removed]
    if doomed:
        stage = ctx.log.stage("Deleting unneeded instances", len(doomed))
        _delete(ctx, prepared, stage, doomed, ctx.threads)


def create_missing_vms(ctx: Context, prepared: Prepared) -> None:
    """All at once, whatever max_in_flight says: only starting jobs is limited by it. Those that take the place of others too."""
    spare_vm.discard_spares(ctx, prepared)
    missing = _without_machine(ctx, prepared)
    if not missing:
        return
    stage = ctx.log.stage("Creating missing vms", len(missing))

    def create(change: model.Change) -> None:
        with stage.step(change.label):
            if change.hot_swap:
                spare_vm.ensure_spare(ctx, prepared, change)
            else:
                prepared.settle(create_vm(ctx, prepared.wish(ctx, change)))

    parallel.each(missing, create, ctx.threads, ctx.check)


def _without_machine(ctx: Context, prepared: Prepared) -> list[model.Change]:
    """Instances that lack a machine, or the one that is to take the place of theirs."""
    return [
        change for change in prepared.plan.changes
        if change.hot_swap or (change.action is Action.CREATE and ctx.store.vms.active_of(change.id) is None)]


def download_packages(ctx: Context, prepared: Prepared) -> None:
    """What machines that take the place of others need is brought there while the others still serve."""
    swaps = [change for change in prepared.plan.changes if change.hot_swap]
    if not swaps:
        return
    stage = ctx.log.stage("Downloading packages", len(swaps))

    def download(change: model.Change) -> None:
        vm = spare_vm.spare_of(ctx, change.id)
        assert vm is not None, change.label
        with stage.step(change.label):
            agent, apply_spec = spare_vm.agent_of(ctx, vm), prepared.apply_spec(change.id)
            blobs.send(ctx, agent, apply_spec, prepared)
            agent.prepare(apply_spec, cancel=ctx.cancel)

    parallel.each(swaps, download, ctx.threads, ctx.check)


def update_group(ctx: Context, prepared: Prepared, group: model.GroupPlan) -> None:
    """Obsolete instances go first, then waves: canaries, then the others, at most max_in_flight at a time."""
    if group.deletions:
        stage = ctx.log.stage("Deleting unneeded instances", len(group.deletions), (group.name,))
        _delete(ctx, prepared, stage, [prepared.plan.change(item) for item in group.deletions], group.delete_parallel)
    total = sum(len(wave.instances) for wave in group.waves)
    if not total:
        return
    stage = ctx.log.stage("Updating instance", total, (group.name,))
    for wave in group.waves:
        def update(instance_id: str, wave: model.Wave = wave) -> None:
            change = prepared.plan.change(instance_id)
            with stage.step(f"{change.label} (canary)" if wave.canary else change.label) as step:
                update_instance(ctx, prepared, change, step, canary=wave.canary)

        parallel.each(wave.instances, update, wave.parallel, ctx.check)


def _delete(ctx: Context, prepared: Prepared, stage: Stage, doomed: list[model.Change], limit: int) -> None:
    def delete(change: model.Change) -> None:
        assert change.observed is not None
        with stage.step(change.label) as step:
            delete_instance(
                ctx, change.observed, step, env=scripts.DELETE_INSTANCE, skip_drain=prepared.skips_drain(change.group),
                force=False, reasons=change.reasons,
            )

    dns.withdraw(ctx, [change.id for change in doomed])
    parallel.each(doomed, delete, limit, ctx.check)
    dns.publish(ctx)


def _free_unused(ctx: Context, prepared: Prepared) -> None:
    """Addresses that instances held before and hold no more, also where no machine was touched."""
    for change in prepared.plan.changes:
        if change.spec is not None and change.released:
            prepared.release_addresses(ctx, change)


def keep(ctx: Context, prepared: Prepared, *, keep_text: bool) -> None:
    """The deploy worked: this is the deployment now."""
    name, manifest = prepared.manifest.name, prepared.manifest
    stemcells = {(item.spec.stemcell_name, item.spec.stemcell_version) for item in prepared.blueprint.instances}
    with ctx.store.transaction(durable=True):
        prepared.record_kept(ctx)
        if not keep_text:
            ctx.store.deployments.update(name, manifest=prepared.wanted.manifest)
        ctx.store.deployments.update(
            name, resolved=_with_versions(prepared), cloud_config_ids=prepared.configs.cloud_ids,
            runtime_config_ids=prepared.configs.runtime_ids, succeeded=True, variable_set_id=prepared.variable_set_id,
        )
        ctx.store.deployments.set_uses(name, [(release.name, release.version) for release in manifest.releases], stemcells)
        ctx.store.links.replace(name, [
            dataclasses.replace(provider, content={**provider.content, "aliases": list(provider.aliases)})
            for provider in prepared.blueprint.providers
        ])
        ctx.store.links.consume(name, prepared.blueprint.consumed)
        if prepared.variable_set_id is not None:
            ctx.store.variables.mark_deployed(prepared.variable_set_id)
            used = {row.variable_set_id for row in ctx.store.instances.of(name) if row.variable_set_id is not None}
            ctx.store.variables.forget_sets(name, used | {prepared.variable_set_id})
            ctx.store.variables.forget_unused()
            rollout.close_finished(ctx.store)
    networks.keep(ctx, name, prepared.managed.names)


def _with_versions(prepared: Prepared) -> dict[str, object]:
    """The manifest as later operations use it: `latest` is what it was found to be."""
    tree = copy.deepcopy(prepared.document.tree)
    versions = {release.name: release.version for release in prepared.manifest.releases}
    for release in tree.get("releases") or ():
        release["version"] = versions.get(release["name"], release["version"])
    stemcells = {stemcell.alias: stemcell.version for stemcell in prepared.manifest.stemcells}
    for stemcell in tree.get("stemcells") or ():
        stemcell["version"] = stemcells.get(stemcell["alias"], stemcell["version"])
    return dict(json_ready(tree))


def post_deploy(ctx: Context, prepared: Prepared) -> None:
    """Scripts of that name on every running instance, if anything changed at all."""
    if prepared.plan.is_empty:
        return
    running = [
        change for change in prepared.plan.changes
        if change.spec is not None and change.spec.state == "started" and change.spec.lifecycle == "service"
        and not (change.observed and change.observed.ignored)
    ]

    def run(change: model.Change) -> None:
        vm = ctx.store.vms.active_of(change.id)
        if vm is None:
            return
        try:
            ctx.agent(vm).run_script("post-deploy", cancel=ctx.cancel)
        except CaissonError as error:
            error.add_note(f"on {change.label}")
            raise

    parallel.each(running, run, ctx.threads, ctx.check)
