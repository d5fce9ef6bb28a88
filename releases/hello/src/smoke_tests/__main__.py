"""`python3 -m smoke_tests CONFIG`: one line per check; exit code 1 when one failed."""

from __future__ import annotations

import json
import sys
import time
from typing import Callable, Sequence, Tuple

from . import blobs, database, metrics, names, nats, routes
from .checks import Config, Failed, eventually

# Name, check, and for how many seconds a failure is tried again: a foundation that was deployed a moment ago may still find itself.
CHECKS: Sequence[Tuple[str, Callable[[Config], str], float]] = (
    ("names of groups", names.group_names_resolve, 20),
    ("names of instances", names.instance_names_resolve, 20),
    ("unknown names", names.unknown_names_do_not, 5),
    ("database", database.row_written_and_read, 20),
    ("database, no TLS", database.unencrypted_is_refused, 0),
    ("bus", nats.message_crosses_the_cluster, 20),
    ("blobstore, links", blobs.blob_put_and_read_with_links, 10),
    ("blobstore, password", blobs.blob_managed_with_password, 10),
    ("router, hello", routes.hello_answers_and_counts, 0),
    ("router, unknown", routes.unknown_route_is_404, 5),
    ("router, own route", routes.route_comes_and_goes, 0),
    ("metrics", metrics.all_targets_are_up, 0),
)


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    failed = 0
    for name, check, patience in CHECKS:
        began = time.monotonic()
        try:
            text, mark = eventually(lambda check=check: check(config), patience), "ok"  # type: ignore[misc]
        except Failed as error:
            text, mark = str(error), "FAIL"
            failed += 1
        print("%-4s  %-20s  %s (%.1f s)" % (mark, name, text, time.monotonic() - began), flush=True)
    print("%d checks, %d failed" % (len(CHECKS), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
