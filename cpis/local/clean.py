"""Remove everything of a director from this computer: `python -m cpis.local.clean STATE_DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cpis.contract import CpiError
from cpis.local.cpi import LocalCpi


def main(arguments: Sequence[str]) -> int:
    """`arguments` is the state folder. Answers the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m cpis.local.clean STATE_DIR", file=sys.stderr)
        return 2
    try:
        LocalCpi({"state_dir": arguments[0]}).clean()
    except CpiError as error:
        print(f"{error.message}\n  -> {error.suggestion}" if error.suggestion else error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
