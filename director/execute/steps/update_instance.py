"""One instance becomes what its spec says. Source: planning contract, section 9."""

from __future__ import annotations

from typing import Any

from director.errors import MachineError
from director.execute import dns
from director.execute.clouds import translated
from director.execute.context import Context
from director.execute.prepare import Prepared
from director.execute.progress import Step
from director.execute.steps import blobs, disks, scripts
from director.execute.steps.create_vm import create_vm
from director.execute.steps.delete_vm import delete_vm
from director.execute.steps.spare_vm import agent_of, swap
from director.execute.telling import recorded
from director.machine.agent import Agent
from director.plan import model, settings
from director.plan.model import Action


def update_instance(ctx: Context, prepared: Prepared, change: model.Change, step: Step, *, canary: bool) -> None:
    """Do the change, with its event. A failure leaves the instance dirty; the next deploy begins it again."""
    facts = {"az": change.az, "index": change.index, **recorded(ctx, change.reasons)}
    if change.migrated_from:
        facts["migrated_from"] = change.migrated_from
    with ctx.event(event_action(change), "instance", change.name, instance=change.name, context=facts):
        ctx.store.instances.update(change.id, dirty=True)
        if change.action is Action.METADATA:
            set_metadata(ctx, change)
        else:
            _Update(ctx, prepared, change, step, canary).run()
        prepared.record(ctx, change)


def event_action(change: model.Change) -> str:
    """Source: planning contract, section 25."""
    kinds = {reason.kind for reason in change.reasons}
    if "new" in kinds:
        return "create"
    if change.action is Action.RECREATE:
        return "recreate"
    if kinds == {"restart"}:
        return "restart"
    if kinds == {"state"} and change.spec is not None:
        return "start" if change.spec.state == "started" else "stop"
    return "update"


def set_metadata(ctx: Context, change: model.Change) -> None:
    """Tags on the VM in the cloud."""
    vm = ctx.store.vms.active_of(change.id)
    if vm is not None and change.spec is not None and change.has("tags"):
        created_at = "" if vm.created_at is None else str(int(vm.created_at))
        metadata = settings.vm_metadata(change.spec, ctx.director.name, created_at, creating=False)
        with translated(f"Setting the tags of {change.spec.label}"):
            ctx.cpi(vm.cpi).set_vm_metadata(vm.cid, metadata)


class _Update:
    """The steps of one update, in order; each may be repeated after a crash."""

    def __init__(self, ctx: Context, prepared: Prepared, change: model.Change, step: Step, canary: bool) -> None:
        assert change.spec is not None
        self.ctx, self.prepared, self.change, self.step, self.spec = ctx, prepared, change, step, change.spec
        policy = self.spec.update
        self.watch_time = policy.canary_watch_time if canary else policy.update_watch_time
        self.vm = ctx.store.vms.active_of(change.id)
        seen = change.observed.vm if change.observed else None
        self.silent = seen is not None and seen.agent_state == "unresponsive"

    def run(self) -> None:
        wanted, recreates = self.spec.state, self.change.action is Action.RECREATE
        agent = None if self.vm is None or self.silent else self._agent()
        apply_spec = self.prepared.apply_spec(self.change.id)
        if wanted == "detached":
            dns.withdraw(self.ctx, [self.change.id])
        if agent is not None:
            agent = self._leave(agent, apply_spec, replaces=recreates or wanted == "detached")
        if wanted == "detached":
            self._remove_vm(agent)
            return
        if wanted == "stopped" and not recreates and self.vm is not None:
            return
        if recreates or agent is None:
            agent = self._swap_vm(agent) if self.change.hot_swap else self._replace_vm(agent)
            apply_spec = self._settled(agent)
        self._install(agent, apply_spec, recreates=recreates)
        if wanted == "started":
            scripts.start(self.ctx, agent, self.step, label=self.spec.label, jobs=tuple(job.name for job in self.spec.jobs),
                          watch_time=self.watch_time)

    def _agent(self) -> Agent:
        assert self.vm is not None
        return agent_of(self.ctx, self.vm)

    def _leave(self, agent: Agent, apply_spec: dict[str, Any], *, replaces: bool) -> Agent | None:
        """Stop the jobs; None when that failed on a machine that is to go whatever it does (its disk is full, for example)."""
        try:
            if not replaces:
                self._prepare(agent, apply_spec)
            self._stop(agent, apply_spec)
        except MachineError as error:
            if not replaces or not self.prepared.wanted.options.fix:
                raise
            self.ctx.log.warning(f"{self.spec.name}: {error.message}. Its machine goes all the same, since --fix was asked for.")
            return None
        return agent

    def _prepare(self, agent: Agent, apply_spec: dict[str, Any]) -> None:
        """Bring everything onto the machine while the old jobs still run."""
        blobs.send(self.ctx, agent, apply_spec, self.prepared)
        agent.prepare(apply_spec, cancel=self.ctx.cancel)

    def _stop(self, agent: Agent, apply_spec: dict[str, Any]) -> None:
        observed = self.change.observed
        if observed is None or not observed.applied or (observed.state != "started" and not observed.dirty):
            return
        replaces = self.change.action is Action.RECREATE or self.spec.state == "detached"
        shutdown = replaces or self.spec.state == "stopped" or self.change.disk_change
        scripts.stop(
            self.ctx, agent, self.step, env=scripts.DELETE_VM if replaces else scripts.KEEP, drain="shutdown" if shutdown else "update",
            next_spec=apply_spec, skip_drain=self.prepared.skips_drain(self.spec.group),
        )

    def _remove_vm(self, agent: Agent | None) -> None:
        """Of a machine that does not answer disks cannot be unmounted; they are free when it is gone."""
        if self.vm is None:
            return
        self._detach_disks(agent)
        delete_vm(self.ctx, self.vm)
        self.vm = None

    def _detach_disks(self, agent: Agent | None) -> None:
        assert self.vm is not None
        if agent is not None:
            for disk in self.ctx.store.disks.of_instance(self.change.id):
                disks.detach(self.ctx, agent, self.vm, self.spec.label, disk)

    def _replace_vm(self, agent: Agent | None) -> Agent:
        self._remove_vm(agent)
        self.step.status("creating VM", 0)
        self.vm = create_vm(self.ctx, self.prepared.wish(self.ctx, self.change))
        dns.publish(self.ctx)
        return self._agent()

    def _swap_vm(self, agent: Agent | None) -> Agent:
        """The machine that was made beside the old one takes over its disks and its place; others learn its addresses at once."""
        if agent is None:
            self._remove_vm(agent)
        else:
            self._detach_disks(agent)
        self.vm = swap(self.ctx, self.prepared, self.change, self.vm, agent)
        dns.publish(self.ctx)
        return self._agent()

    def _settled(self, agent: Agent) -> dict[str, Any]:
        """What a new machine is given, now that its addresses are known."""
        assert self.vm is not None
        self.prepared.settle(self.vm)
        apply_spec = self.prepared.apply_spec(self.change.id)
        blobs.send(self.ctx, agent, apply_spec, self.prepared)
        return apply_spec

    def _install(self, agent: Agent, apply_spec: dict[str, Any], *, recreates: bool) -> None:
        assert self.vm is not None
        disks.Disks(self.ctx, agent, self.vm, self.spec, self.prepared.fill).update(renew=self.change.has("recreate_persistent_disks"))
        self.prepared.release_addresses(self.ctx, self.change)
        if not recreates:
            set_metadata(self.ctx, self.change)
        self.step.status("installing packages", 10)
        dns.sync(self.ctx, self.vm, agent)
        agent.apply(apply_spec, cancel=self.ctx.cancel)
        self.step.status("configuring jobs", 10)
