"""`python -m tests.bench [--only NAME]... [--list]`: measures, prints a table, writes build/bench.json."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable

from tests.bench import clouds, commands, deploys, manifests, names, planning, rendering, secrets, spread, wire
from tests.bench.rows import Row, failed, show, write
from tests.bench.world import ROOT, World, progress

# In this order: the director's memory is looked at after all its work.
BENCHMARKS: dict[str, Callable[[World], list[Row]]] = {
    "cli": commands.start,
    "manifests": manifests.read,
    "plan": planning.plan,
    "render": rendering.render,
    "variables": secrets.generate,
    "dns": names.resolver,
    "names": spread.spread,
    "clouds": clouds.clouds,
    "idle-20": deploys.idle_20,
    "idle-50": deploys.idle_50,
    "foundation": deploys.foundation,
    "no-op": deploys.no_op,
    "recreate": deploys.recreate,
    "agents": deploys.agents,
    "ssh": wire.ssh,
    "at-rest": deploys.at_rest,
}
NEED_ROOT = frozenset({"idle-20", "idle-50", "foundation", "no-op", "recreate", "agents", "ssh", "at-rest"})


def main() -> int:
    """0 when every figure could be taken and nothing was left behind, whether targets are met or not."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), metavar="NAME", help="measure only this; may be repeated")
    parser.add_argument("--list", action="store_true", help="show the names")
    given = parser.parse_args()
    if given.list:
        print("\n".join(BENCHMARKS))
        return 0
    chosen = [name for name in BENCHMARKS if given.only is None or name in given.only]
    if os.geteuid() != 0 and NEED_ROOT.intersection(chosen):
        print("machines on this computer need root: run `make bench`, or choose others with --only", file=sys.stderr)
        return 1
    # An end that is asked for takes the machines along, as an interrupt does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    rows, left = measure(chosen)
    show(rows)
    write(rows, ROOT / "build/bench.json")
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)
    return 1 if left or any(row.value is None for row in rows) else 0


def measure(chosen: list[str]) -> tuple[list[Row], list[str]]:
    """All rows, and what is left on this computer after everything was removed."""
    rows: list[Row] = []
    world = World()
    try:
        for name in chosen:
            with progress(name):
                try:
                    rows += BENCHMARKS[name](world)
                except Exception as error:  # one figure that cannot be taken must not cost the others
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
                    rows.append(failed(name, error))
    finally:
        with progress("removing everything"):
            left = world.close()
    return rows, left


if __name__ == "__main__":
    sys.exit(main())
