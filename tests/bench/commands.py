"""How fast the command line answers when it asks nobody."""

from __future__ import annotations

import sys

from tests.bench.rows import Row
from tests.bench.world import CAISSON, World, command_seconds

MANIFEST = "name: ((name))\ninstance_groups: [{name: web, instances: 2}]\n"
TIMES = 9


def start(world: World) -> list[Row]:
    file = world.file("small.yml", MANIFEST)
    peer = command_seconds([sys.executable, "-c", "pass"], TIMES)
    compared = f"`python -c pass`: {peer * 1000:.0f} ms"
    wanted = {"caisson --help": ["--help"], "caisson int of a small file": ["int", file, "-v", "name=a"]}
    return [
        Row(name, 1000 * command_seconds([CAISSON, *arguments], TIMES), "ms", None, compared, 1000 * peer)
        for name, arguments in wanted.items()
    ]
