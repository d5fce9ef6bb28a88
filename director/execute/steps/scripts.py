"""Stop and start sequences of an instance. Source: planning contract, sections 9 and 11 to 13."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import AgentError, MachineError
from director.execute.context import Context
from director.execute.progress import Step
from director.machine.agent import Agent, MachineState
from director.manifest.model import WatchTime
from director.plan import watch

KEEP = {"BOSH_VM_NEXT_STATE": "keep", "BOSH_INSTANCE_NEXT_STATE": "keep", "BOSH_DEPLOYMENT_NEXT_STATE": "keep"}
DELETE_VM = {**KEEP, "BOSH_VM_NEXT_STATE": "delete"}
DELETE_INSTANCE = {**DELETE_VM, "BOSH_INSTANCE_NEXT_STATE": "delete"}
DELETE_DEPLOYMENT = {**DELETE_INSTANCE, "BOSH_DEPLOYMENT_NEXT_STATE": "delete"}

SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 1.0


def stop(
    ctx: Context, agent: Agent, step: Step, *, env: Mapping[str, str], drain: str, next_spec: Mapping[str, Any] | None, skip_drain: bool,
) -> None:
    """pre-stop (which alone is given `env`), drain, stop, post-stop. `drain` is `update` or `shutdown`.

    Raises ScriptFailed, Unreachable.
    """
    if skip_drain:
        step.status("skipped pre-stop & drain", 10)
    else:
        step.status("executing pre-stop", 5)
        agent.run_script("pre-stop", env, cancel=ctx.cancel)
        step.status("executing drain", 5)
        agent.drain(drain, next_spec, cancel=ctx.cancel)
    step.status("stopping jobs", 20)
    try:
        agent.stop()
    except AgentError as error:
        if "Timed out" not in error.message:
            raise
        ctx.log.debug(f"processes did not stop in time, going on: {error.message}")
    step.status("executing post-stop", 10)
    agent.run_script("post-stop", cancel=ctx.cancel)


def start(ctx: Context, agent: Agent, step: Step, *, label: str, jobs: tuple[str, ...], watch_time: WatchTime) -> None:
    """pre-start, start, watch, post-start. Raises ScriptFailed, and MachineError 400007 with the last lines of the jobs' logs."""
    step.status("executing pre-start", 10)
    agent.run_script("pre-start", cancel=ctx.cancel)
    step.status("starting jobs", 20)
    agent.start()
    state = await_running(ctx, agent, watch_time)
    if state.job_state != "running":
        raise not_running(agent, state, label, jobs)
    step.status("executing post-start", 10)
    agent.run_script("post-start", cancel=ctx.cancel)


def await_running(ctx: Context, agent: Agent, watch_time: WatchTime) -> MachineState:
    """Wait the shortest watch time, then ask until the jobs run or the longest is over; the last answer.

    The schedule is the reference's; between its times we ask more often, since a round trip costs little and an operator's time much.
    So that a job which dies as soon as it was started is not seen in the one moment in which it runs, two answers in a row must agree.
    """
    first, *others = watch.watch_schedule(watch_time)
    ctx.check()
    ctx.sleep(first)
    state = agent.get_state()
    steady, pause = state.job_state == "running" and not state.processes, SHORTEST_PAUSE
    for seconds in others:
        left = seconds
        while not steady and left > 0:
            ctx.check()
            ctx.sleep(min(pause, left))
            left -= pause
            before, state = state, agent.get_state()
            steady = before.job_state == state.job_state == "running"
            pause = SHORTEST_PAUSE if state.job_state == "running" else min(LONGEST_PAUSE, pause * 1.5)
    if others and not steady and state.job_state == "running":
        ctx.sleep(SHORTEST_PAUSE)
        state = agent.get_state()
    return state


def not_running(agent: Agent, state: MachineState, label: str, jobs: tuple[str, ...]) -> MachineError:
    """The reference's sentence, with what the jobs said last."""
    failed = state.not_running
    sentence = f"'{label}' is not running after update."
    if failed:
        sentence += f" Review logs for failed jobs: {', '.join(failed)}"
    tails = agent.tail_logs(jobs, 10)
    detail = "\n".join(f"{path}:\n" + "\n".join(f"  {line}" for line in text.splitlines()) for path, text in tails.items())
    return MachineError(Diagnostic(
        sentence, detail=detail, code=400007,
        suggestion=f"See all of it with `caisson logs {label.split(' ')[0]}`, correct the cause and deploy again.",
    ))
