"""Ends processes when the one that started them is gone without having done so: a test run that was killed leaves nothing behind.

Run as a program. Standard input has lines `+PID` and `-PID` of leaders of process groups; its end is the sign.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 10.0


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched: list[int] = []
    for line in sys.stdin:
        pid = int(line[1:])
        if line.startswith("+"):
            watched.append(pid)
        elif pid in watched:
            watched.remove(pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in reversed(watched):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)
        if watched and number == signal.SIGTERM:
            time.sleep(GRACE_SECONDS)


if __name__ == "__main__":
    main()
