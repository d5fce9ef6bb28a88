"""How often, and for how long, an instance is asked for its health after an update."""

from __future__ import annotations

from director.manifest.model import WatchTime

_SHORTEST_STEP_MS = 1_000.0
_LONGEST_STEP_MS = 15_000.0
_STEPS_WANTED = 9


def watch_schedule(watch: WatchTime) -> tuple[float, ...]:
    """Sleeps in seconds; after each one the agent is asked, and the first `running` ends the wait.

    `1000-5000` gives 1, 1, 1, 1, 1; `0-500` gives a single 0. Source: planning contract, section 13.
    """
    delta = float(watch.maximum - watch.minimum)
    step = sorted((_SHORTEST_STEP_MS, delta / _STEPS_WANTED, _LONGEST_STEP_MS))[1]
    # A ninth taken nine times may fall short of the whole by a rounding error.
    count = int(delta / step + 1e-9)
    return (watch.minimum / 1000, *([step / 1000] * count))
