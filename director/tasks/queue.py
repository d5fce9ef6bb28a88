"""Tasks: made by the API, run by threads of this process, one after another or side by side.

States: `queued -> processing -> done | error`, `queued | processing -> cancelling -> cancelled`, and `timeout` for one whose worker
was silent for too long. A director that dies leaves rows in `processing`; the next one takes those up again whose kind converges
(the same task, `resumed`), and ends the others. Source: API contract, section 3; planning contract, sections 24 and 26.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import tenacity

from director import errors
from director.diagnostics import Diagnostic
from director.state import Store
from director.state import tasks as rows
from director.tasks import debug
from director.tasks.context import CANCELLED, TaskContext, check
from director.tasks.locks import RENEW_SECONDS, Keeper, Locks
from director.tasks.log import UNCLASSIFIED, TaskLog
from director.tasks.outputs import Outputs
from director.tasks.redact import Redactor

Handler = Callable[[TaskContext, Mapping[str, Any]], str]

RESUMABLE = frozenset({
    "update_deployment", "delete_deployment", "update_instance", "delete_artifacts", "delete_release", "delete_stemcell", "delete_vm",
    "delete_orphan_disks", "orphan_disk", "delete_orphan_networks", "cck_apply", "cck_scan_and_fix",
    "scheduled_orphaned_vm_cleanup", "scheduled_orphaned_disk_cleanup", "scheduled_orphaned_network_cleanup", "scheduled_dns_catch_up",
    "export_release",
})
# What people wait for while deploys run: has workers of its own, so that it never queues behind them.
LOOKING = frozenset({"vms", "ssh", "fetch_logs", "explain_name"})
LOOKERS = 2
MOST_RESUMPTIONS = 3
CHECKPOINT_SECONDS = 30.0
SILENCE_SECONDS = 6 * CHECKPOINT_SECONDS
IDLE_SECONDS = 2.0  # how soon work or a cancellation that another process wrote is seen
RESULT_LENGTH = 128
FINISH_TRIES = 8
CANCELLABLE = ("queued", "processing")


class Tasks:
    """One per director process, with `workers` threads beside those for looking. `handlers` maps task types to functions that answer the
    short result text; they are given the context and the arguments, and raise CaissonError (or Cancelled from `check`)."""

    def __init__(
        self, store: Store, state_dir: str | Path, handlers: Mapping[str, Handler], *, workers: int = 4,
        clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep, redactor: Redactor | None = None,
        resumable: Collection[str] = RESUMABLE, afterwards: Callable[[], object] = lambda: None,
    ) -> None:
        """`afterwards` is called by the worker when a task has ended and everybody may know it."""
        self.redactor = redactor or Redactor()
        self.outputs = Outputs(Path(state_dir) / "tasks")
        self._store = store
        self._handlers = handlers
        self._count = workers
        self._clock = clock
        self._sleep = sleep
        self._resumable = resumable
        self._afterwards = afterwards
        self._worker = str(uuid.uuid4())
        self._keeper = Keeper(store, self._lost)
        self._changed = threading.Condition()
        self._running: dict[int, threading.Event] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._claim: int | None = None
        self._listener: debug.TaskHandler | None = None

    # For the API.

    def create(
        self, type: str, arguments: Mapping[str, Any], description: str, *, user: str = "", deployment: str = "", context_id: str = "",
    ) -> int:
        """Queue a task; answers its id. `arguments` are plain data. Raises ValueError for a type without handler."""
        if type not in self._handlers:
            raise ValueError(f"no handler for tasks of type '{type}'")
        task_id = self._store.tasks.add(
            type, description, arguments=dict(arguments), user=user, deployment=deployment, context_id=context_id)
        self._tell()
        return task_id

    def get(self, task_id: int) -> rows.TaskRow:
        """Raises NotFoundError (10000)."""
        self._end_silent()
        return self._store.tasks.get(task_id)

    def select(
        self, *, states: Iterable[str] = (), types: Iterable[str] = (), deployment: str = "", context_id: str = "",
        limit: int | None = None,
    ) -> list[rows.TaskRow]:
        """Newest first. Empty filters let everything through."""
        self._end_silent()
        return self._store.tasks.select(states=states, types=types, deployment=deployment, context_id=context_id, limit=limit)

    def cancel(self, task_id: int) -> None:
        """Ask for the end of a task: at its next checkpoint, at once when it is queued. Raises NotFoundError (10000), UsageError."""
        before = self._store.tasks.cancel(task_id)
        with self._changed:
            event = self._running.get(task_id)
        if event is not None:
            event.set()
        if before.state == "queued":
            self._end_cancelled(task_id)
        self._tell()

    def cancel_matching(self, *, deployment: str = "", states: Iterable[str] = ("queued",), types: Iterable[str] = ()) -> None:
        """Cancel all that match. Raises UsageError for a state other than queued and processing."""
        chosen = tuple(states)
        for state in chosen:
            if state not in CANCELLABLE:
                raise errors.UsageError(f"{state} is not one of the cancellable states: queued, processing")
        for task in self._store.tasks.select(states=chosen, types=types, deployment=deployment):
            try:
                self.cancel(task.id)
            except errors.UsageError:
                continue  # it ended in between

    def wait(self, task_id: int, seconds: float) -> rows.TaskRow:
        """The task once it has ended, or as it is after that time."""
        end = time.monotonic() + seconds
        with self._changed:
            while (task := self._store.tasks.get(task_id)).state in rows.UNFINISHED and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, IDLE_SECONDS))
        return task

    def prune(self, keep: int = 2000) -> int:
        """Forget ended tasks beyond the newest `keep` of each type, with their outputs; answers how many."""
        gone = [task_id for type in self._handlers for task_id in self._store.tasks.delete_older(type, keep)]
        for task_id in gone:
            self.outputs.delete(task_id)
        return len(gone)

    # Life of the process.

    def start(self) -> None:
        """Take up what a dead director left, then run tasks. Raises ConflictError when another director uses the state directory."""
        self._claim = _claim(self.outputs.folder)
        self._listener = debug.install()
        self.recover()
        lanes = [(f"worker-{number}", lambda: self._work(without=LOOKING)) for number in range(1, self._count + 1)]
        lanes += [(f"looker-{number}", lambda: self._work(only=LOOKING)) for number in range(1, LOOKERS + 1)]
        for name, target in (*lanes, ("keeper", self._keep)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, seconds: float = 0.0) -> bool:
        """Begin no more tasks, and wait that long for the running ones; whether all threads ended. What still runs goes on until the
        process ends, and is taken up by the next director as after a crash."""
        self._stopping.set()
        self._tell()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.05, end - time.monotonic()))
        ended = not any(thread.is_alive() for thread in self._threads)
        if ended and self._listener is not None:
            debug.uninstall(self._listener)
            self._listener = None
        if ended and self._claim is not None:
            os.close(self._claim)
            self._claim = None
        return ended

    def recover(self) -> list[int]:
        """Tasks whose worker is dead: requeued, or ended. Called by `start`, while no task of this process runs; answers the requeued."""
        requeued = []
        for task in self._store.tasks.select(states=rows.RUNNING)[::-1]:
            self._store.locks.release_of_tasks([task.id])
            if task.state == "cancelling":
                self._end_cancelled(task.id)
            elif task.type in self._resumable and task.type in self._handlers and task.resumptions < MOST_RESUMPTIONS:
                self._store.tasks.requeue(task.id)
                requeued.append(task.id)
            else:
                self._end_lost(task)
        return requeued

    def _work(self, *, only: Collection[str] = (), without: Collection[str] = ()) -> None:
        while not self._stopping.is_set():
            try:
                task = self._store.tasks.claim(self._worker, only=only, without=without)
            except errors.CaissonError:
                _logger().exception("no task can be claimed")
                task = None
            if task is not None:
                try:
                    self._run(task)
                except (errors.CaissonError, OSError):
                    # Its row stays as it is: silent from now on, so it becomes a timeout, or the next director takes it up.
                    _logger().exception("the end of task %s cannot be recorded", task.id)
                self._afterwards()
                continue
            with self._changed:
                if not self._stopping.is_set():
                    self._changed.wait(IDLE_SECONDS)

    def _run(self, task: rows.TaskRow) -> None:
        cancel = threading.Event()
        with self._changed:
            self._running[task.id] = cancel
            self._changed.notify_all()
        try:
            if self._store.tasks.get(task.id).state == "cancelling":
                cancel.set()  # between the claim and the line above
            log = self._log(task.id, resumed=task.resumptions > 0)
            try:
                with debug.bound(log):
                    state, result = self._handle(task, log, cancel)
            except OSError as error:
                state, result = "error", f"The task's output cannot be written: {error}"
            finally:
                log.close()
            # Only now: who sees the final state may rely on all lines being there.
            self._finish(task.id, state, result)
        finally:
            with self._changed:
                self._running.pop(task.id, None)
                self._changed.notify_all()

    def _finish(self, task_id: int, state: str, result: str) -> None:
        """Record the end; a database that cannot be written for a while (disk full) must not make a finished task an unfinished one."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.CaissonError), stop=tenacity.stop_after_attempt(FINISH_TRIES),
            wait=tenacity.wait_exponential(max=30), sleep=self._sleep, reraise=True)
        retrying(self._store.tasks.finish, task_id, state, self.redactor(shortened(result)))

    def _handle(self, task: rows.TaskRow, log: TaskLog, cancel: threading.Event) -> tuple[str, str]:
        locks = Locks(
            self._store, self._keeper, task, lambda: check(task.id, cancel), clock=self._clock, sleep=self._sleep)
        context = TaskContext(
            id=task.id, type=task.type, description=task.description, user=task.user, deployment=task.deployment,
            resumed=task.resumptions > 0, log=log, locks=locks, cancel=cancel)
        if context.resumed:
            log.warning(f"The director that ran this task ended; the task is taken up again ({task.resumptions} of {MOST_RESUMPTIONS})")
        try:
            context.check()
            return "done", self._handlers[task.type](context, task.arguments)
        except errors.CaissonError as error:
            if cancel.is_set():
                _logger().debug("ended by cancellation", exc_info=True)
                return self._told_cancelled(log)
            _logger().debug("failed", exc_info=True)
            log.error(UNCLASSIFIED if error.code is None else error.code, error.message, [item.to_dict() for item in error.diagnostics])
            return "error", error.message
        except Exception as error:
            if cancel.is_set():
                _logger().debug("ended by cancellation", exc_info=True)
                return self._told_cancelled(log)
            _logger().exception("failed unexpectedly")
            message = f"{type(error).__name__}: {error}"
            log.error(UNCLASSIFIED, message, [Diagnostic(
                message, suggestion=f"This is a defect of Caisson. `caisson task {task.id} --debug` shows where it happened.").to_dict()])
            return "error", message

    def _keep(self) -> None:
        """Says that the running tasks are alive, renews their locks, and sees cancellations that another process asked for."""
        checkpoint = renewal = 0.0
        while not self._stopping.is_set() or self._running:
            try:
                now = time.monotonic()
                if now >= checkpoint:
                    self._store.tasks.checkpoint(list(self._running))
                    self._end_silent()
                    checkpoint = now + CHECKPOINT_SECONDS
                if now >= renewal:
                    self._keeper.renew()
                    renewal = now + RENEW_SECONDS
                self._see_cancellations()
            except errors.CaissonError:
                _logger().exception("running tasks cannot be kept alive; trying again")
            with self._changed:
                if self._running:
                    self._changed.wait(IDLE_SECONDS)
                elif not self._stopping.is_set():
                    self._changed.wait(CHECKPOINT_SECONDS)

    def _see_cancellations(self) -> None:
        with self._changed:
            running = dict(self._running)
        if running:
            for task in self._store.tasks.select(states=("cancelling",)):
                if task.id in running:
                    running[task.id].set()

    def _lost(self, task_id: int, name: str) -> None:
        task = self._store.tasks.get(task_id)
        self._store.events.add("lost", "lock", name, user=task.user, task=task_id, deployment=task.deployment)
        if task.state in CANCELLABLE:
            self.cancel(task_id)

    def _end_silent(self) -> None:
        for task in self._store.tasks.silent(SILENCE_SECONDS):
            if task.id in self._running:
                continue  # the computer slept; the keeper will say so
            self._store.tasks.finish(task.id, "timeout", task.result)

    def _end_cancelled(self, task_id: int) -> None:
        log = self._log(task_id, resumed=True)
        try:
            state, result = self._told_cancelled(log)
        finally:
            log.close()
        self._store.tasks.finish(task_id, state, result)

    def _end_lost(self, task: rows.TaskRow) -> None:
        log = self._log(task.id, resumed=True)
        often = f" for the {MOST_RESUMPTIONS + 1}th time" if task.resumptions >= MOST_RESUMPTIONS else ""
        message = f"The director that ran task {task.id} ended before the task did{often}"
        try:
            log.error(UNCLASSIFIED, message, [Diagnostic(message, suggestion="Run the command again.").to_dict()])
        finally:
            log.close()
        self._store.tasks.finish(task.id, "error", shortened(message))

    @staticmethod
    def _told_cancelled(log: TaskLog) -> tuple[str, str]:
        log.error(CANCELLED, f"Task {log.task_id} cancelled")
        return "cancelled", "task cancelled"

    def _log(self, task_id: int, *, resumed: bool) -> TaskLog:
        return TaskLog(self.outputs, task_id, redact=self.redactor, clock=self._clock, resumed=resumed)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()


def shortened(text: str) -> str:
    """At most about 128 characters, cut at a word. Source: planning contract, section 24."""
    text = text.strip()
    if len(text) <= RESULT_LENGTH:
        return text
    head = text[:RESULT_LENGTH + 1]
    words, space, _ = head.rpartition(" ")
    return (words.rstrip() if space else head) + "..."


def _claim(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / ".director", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise errors.ConflictError(
            f"Another director runs with the state directory '{folder.parent}'",
            suggestion="Stop it, or give this one a state directory of its own.") from error
    return descriptor


def _logger() -> logging.Logger:
    return logging.getLogger(__name__)
