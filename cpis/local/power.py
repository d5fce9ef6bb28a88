"""Switch all machines of a director off or on: `python -m cpis.local.power off|on STATE_DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cpis.contract import CpiError
from cpis.local.cpi import LocalCpi


def main(arguments: Sequence[str]) -> int:
    """`arguments` are the switch's position and the state folder. Answers the exit status."""
    if len(arguments) != 2 or arguments[0] not in ("off", "on"):
        print("usage: python -m cpis.local.power off|on STATE_DIR", file=sys.stderr)
        return 2
    cpi = LocalCpi({"state_dir": arguments[1]})
    try:
        (cpi.power_off if arguments[0] == "off" else cpi.power_on)()
    except CpiError as error:
        print(f"{error.message}\n  -> {error.suggestion}" if error.suggestion else error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
