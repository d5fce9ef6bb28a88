"""Errands: a job's `bin/run`, on the instances that have it or on machines made for it. Source: planning contract, section 17."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json

from director.diagnostics import Diagnostic, did_you_mean
from director.errors import ConflictError, MachineError, NotFoundError
from director.execute import deploy, dns, parallel, states
from director.execute.context import Context
from director.execute.prepare import Prepared
from director.execute.recover import recover
from director.execute.steps import disks
from director.execute.steps.delete_vm import delete_vm
from director.machine.agent import ErrandResult
from director.plan import model

UNKNOWN = 70009


@dataclasses.dataclass(frozen=True)
class ErrandRequest:
    """`instances` are (group, id, index or `first`) filters; the second is '' for the whole group."""

    errand: str
    keep_alive: bool = False
    when_changed: bool = False
    instances: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Target:
    """A place where the errand runs."""

    spec: model.InstanceSpec
    job: str


def run_errand(ctx: Context, name: str, request: ErrandRequest) -> str:
    """The task's result, `1 succeeded, 0 errored, 0 canceled`; a JSON line per instance is in the result output.

    An errand that fails is a result, not an error.
    """
    recover(ctx, name)
    dns.take_back(ctx, name)
    wanted = states.deployed(ctx, name)
    manifest_groups = {group["name"]: group for group in json.loads(wanted.manifest).get("instance_groups") or ()}
    errand_group = request.errand if manifest_groups.get(request.errand, {}).get("lifecycle") == "errand" else ""
    owners = [group for group, tree in manifest_groups.items() if any(job["name"] == request.errand for job in tree.get("jobs") or ())]
    if owners and errand_group and request.errand not in owners:
        ctx.log.warning(
            f"Ambiguous request: the requested errand name '{request.errand}' matches both a job name and an errand instance group name. "
            f"Executing errand on all relevant instances with job '{request.errand}'.")
    sleeping = [group for group in (owners or [errand_group]) if manifest_groups.get(group, {}).get("lifecycle") == "errand"]
    if errand_group and not owners and request.instances:
        raise ConflictError("Filtering by instances is not supported when running errand by instance group name", code=510000)
    options = model.Options(errand_groups=tuple(sleeping), selected=tuple(owners or sleeping), skip_unselected=True)
    prepared = deploy.prepare_stage(ctx, dataclasses.replace(wanted, options=options))
    targets = _targets(ctx, prepared, request, owners, errand_group)
    try:
        if sleeping:
            deploy.create_missing_vms(ctx, prepared)
            dns.publish(ctx)
            for run in prepared.plan.runs:
                for group in run:
                    deploy.update_group(ctx, prepared, group)
        return _run(ctx, prepared, request, targets)
    finally:
        if sleeping and not request.keep_alive:
            _put_to_sleep(ctx, name, sleeping)


def _targets(ctx: Context, prepared: Prepared, request: ErrandRequest, owners: list[str], errand_group: str) -> list[Target]:
    found = [
        Target(item.spec, job.name) for item in prepared.blueprint.instances for job in item.spec.jobs
        if item.spec.group in (owners or [errand_group]) and job.name == (request.errand if owners else item.spec.jobs[0].name)
    ]
    found = [
        target for target in found
        if target.spec.lifecycle != "errand" or target.spec.id == _first_of(prepared, target.spec.group)
    ]
    if request.instances:
        for group, wanted in request.instances:
            if not any(_matches(target.spec, group, wanted, found) for target in found):
                raise NotFoundError(
                    f"No instances match selection criteria: {[{'group': group, 'id': wanted}]}",
                    suggestion=did_you_mean(group, {target.spec.group for target in found}) or "See `caisson instances`.",
                )
        found = [target for target in found if any(_matches(target.spec, group, wanted, found) for group, wanted in request.instances)]
    if not found:
        raise NotFoundError(
            f"Errand '{request.errand}' doesn't exist", code=UNKNOWN, suggestion="See which there are: caisson errands.",
        )
    # Without filters every instance of the deployment counts as selected. Source: planning contract, section 17.
    _refuse_stopped([target.spec for target in found] if request.instances else [item.spec for item in prepared.blueprint.instances])
    return found


def _first_of(prepared: Prepared, group: str) -> str:
    return prepared.blueprint.group(group)[0].spec.id


def _matches(spec: model.InstanceSpec, group: str, wanted: str, among: list[Target]) -> bool:
    if spec.group != group:
        return False
    if wanted == "first":
        return spec.id == min(target.spec.id for target in among if target.spec.group == group)
    return not wanted or wanted in (spec.id, str(spec.index))


def _refuse_stopped(specs: list[model.InstanceSpec]) -> None:
    stopped = [f"'{spec.name}'" for spec in specs if spec.state != "started"]
    if stopped:
        raise ConflictError(Diagnostic(
            f"Instance(s) {','.join(stopped)} is stopped, unable to run errand. Maybe start vm?",
            suggestion="Start it: caisson start GROUP/ID; or say where the errand is to run: --instance GROUP/ID.",
        ))


def _run(ctx: Context, prepared: Prepared, request: ErrandRequest, targets: list[Target]) -> str:
    name = prepared.manifest.name
    digest = {target.spec.id: _configuration(prepared, target) for target in targets}
    if request.when_changed and ctx.store.errands.last(name, request.errand) == digest:
        return "skipped - no changes detected"
    with_vm = [target for target in targets if ctx.store.vms.active_of(target.spec.id) is not None]
    for target in targets:
        if target not in with_vm:
            ctx.log.warning(f"Skipping instance: {target.spec.name}. No matching VM reference was found")
    if len(with_vm) > 1:
        ctx.log.warning(
            "Executing errand on multiple instances in parallel. Use the `--instance` flag to run the errand on a single instance.")
    results = parallel.each(with_vm, lambda target: _run_on(ctx, request, target), ctx.threads, ctx.check)
    succeeded = sum(result.exit_code == 0 for result in results)
    cancelled = sum(result.exit_code > 128 for result in results)
    if succeeded == len(results):
        for target in with_vm:
            ctx.store.errands.succeeded(name, request.errand, target.spec.id, digest[target.spec.id])
    return f"{succeeded} succeeded, {len(results) - succeeded - cancelled} errored, {cancelled} canceled"


def _run_on(ctx: Context, request: ErrandRequest, target: Target) -> ErrandResult:
    vm = ctx.store.vms.active_of(target.spec.id)
    assert vm is not None, target
    stage = ctx.log.stage("Running errand", 1)
    with stage.step(target.spec.label), ctx.event("run", "errand", request.errand, instance=target.spec.name) as ended:
        result = ctx.agent(vm).run_errand(target.job, cancel=ctx.cancel)
        ended["exit_code"] = result.exit_code
    ctx.log.result(json.dumps({
        "instance": {"group": target.spec.group, "id": target.spec.id}, "errand_name": request.errand, "exit_code": result.exit_code,
        "stdout": result.stdout, "stderr": result.stderr, "logs": {"blobstore_id": None, "sha1": None},
    }) + "\n")
    return result


def _configuration(prepared: Prepared, target: Target) -> str:
    text = json.dumps([
        target.spec.id, prepared.rendered.hashes.get(target.spec.id, ""),
        [(package.name, package.key) for package in target.spec.packages],
    ])
    return hashlib.sha256(text.encode()).hexdigest()


def _put_to_sleep(ctx: Context, name: str, groups: list[str]) -> None:
    """Delete the machines of errand groups, once nobody finds them any more; rows and disks stay. Not stopped by cancellation."""
    rows = [row for group in groups for row in ctx.store.instances.of(name, group)]
    dns.withdraw(ctx, [row.id for row in rows])

    def sleep(instance_id: str) -> None:
        vm = ctx.store.vms.active_of(instance_id)
        if vm is None:
            return
        with contextlib.suppress(MachineError):  # the disks of a machine that does not answer are free when it is gone
            for disk in ctx.store.disks.of_instance(instance_id):
                disks.detach(ctx, ctx.agent(vm), vm, instance_id, disk)
        delete_vm(ctx, vm)
        ctx.store.instances.update(instance_id, applied={})

    parallel.each([row.id for row in rows], sleep, ctx.threads)
    dns.publish(ctx)
