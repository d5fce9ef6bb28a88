"""The program beside the resolver: looks twice a second, writes a line when something changed, and every few seconds to show that it lives.

`python3 -m bosh_dns.local.watch INTERVAL TIMEOUT`, in seconds, of jobs' scripts. It loads nothing else of the resolver, since it would be
half as large again. It ends when the resolver does, which it sees by its standard input.
"""

from __future__ import annotations

import json
import select
import sys
import time
from typing import Any, Callable, Dict, TextIO

from .jobs import Jobs
from .monit import RUNNING, Monit, Places

GLANCE_EVERY = 0.5
GLANCES_A_LOOK = 2
GLANCES_A_WORD = 8


class Watch:
    """`step` twice a second; the state as it would be told."""

    def __init__(self, monit: Monit, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self._monit = monit
        self._jobs = jobs
        self._clock = clock
        self._steps = 0

    def step(self) -> Dict[str, Any]:
        looks = self._steps % GLANCES_A_LOOK == 0
        self._steps += 1
        state = self._monit.look() if looks else self._monit.glance()
        if looks:
            self._jobs.look()
        self._jobs.attend(self._clock())
        running = state == RUNNING and not self._jobs.failing
        return {"running": running, "state": state, "groups": self._jobs.groups}


def run(interval: float, patience: float, out: TextIO = sys.stdout, places: Places = Places()) -> int:  # noqa: B008 - It is immutable.
    jobs = Jobs(places.jobs, interval, patience)
    watch = Watch(Monit(places), jobs)
    before: Dict[str, Any] = {}
    silent = 0
    try:
        while True:
            now = watch.step()
            silent += 1
            if now != before or silent >= GLANCES_A_WORD:
                out.write(json.dumps(now) + "\n")
                out.flush()
                before, silent = now, 0
            if select.select([sys.stdin], [], [], GLANCE_EVERY)[0] and not sys.stdin.readline():
                return 0
    except BrokenPipeError:
        return 0
    finally:
        jobs.close()


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]), float(sys.argv[2])))
