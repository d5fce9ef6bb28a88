"""The queue of tasks, in this process: worker threads, outputs on disk, locks with leases, recovery after a crash.

The queue knows no operation: handlers are given. Reading order:

    operations.py task types -> operations of `director.execute`, in one table
    queue.py      `Tasks`: create, cancel, run, recover
    context.py    what a handler is given
    log.py        a task's outputs: event lines, result, debug
    locks.py      per-deployment and other locks, renewed while held
    redact.py     secrets kept out of every output
    debug.py      the logging of all threads of a task, into its debug output
    outputs.py    where outputs are on disk, and reading them
"""

from __future__ import annotations

from director.tasks.context import TaskContext
from director.tasks.log import TaskLog
from director.tasks.outputs import Outputs
from director.tasks.queue import Handler, Tasks
from director.tasks.redact import Redactor

__all__ = ["Handler", "Outputs", "Redactor", "TaskContext", "TaskLog", "Tasks"]
