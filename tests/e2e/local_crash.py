"""Run calls of the local CPI and die right before a given step, as by kill -9: `local_crash.py STATE STEP CALL...`.

Prints each step that was reached; ends with status 0 when all calls were done before the step came.
"""

from __future__ import annotations

import os
import sys

from cpis.contract import DiskRequest, Login, Network, VmRequest
from cpis.local import LocalCpi
from cpis.local.records import cid_of

VM, DISK, SNAPSHOT = cid_of("vm", "vm"), cid_of("disk", "disk"), cid_of("snapshot", "snapshot")


def main(state: str, last: int, calls: list[str]) -> None:
    reached = 0

    def checkpoint(step: str) -> None:
        nonlocal reached
        reached += 1
        print(reached, step, flush=True)
        if reached == last:
            os.kill(os.getpid(), 9)

    cpi = LocalCpi({"state_dir": state, "director": "crash"}, checkpoint=checkpoint)
    network = Network("default", ip="10.199.13.10", gateway="10.199.13.1", default=("dns", "gateway"))
    request = VmRequest(
        "vm", "agent", cid_of("stemcell", "stemcell"), {"ephemeral_disk": 128}, (network,),
        Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 AAAA", "-----BEGIN-----"),
    )
    known = {
        "stemcell": lambda: cpi.create_stemcell("", {}, "stemcell"),
        "create_vm": lambda: cpi.create_vm(request),
        "delete_vm": lambda: cpi.delete_vm(VM),
        "reboot_vm": lambda: cpi.reboot_vm(VM),
        "create_disk": lambda: cpi.create_disk(DiskRequest("disk", 64)),
        "attach_disk": lambda: cpi.attach_disk(VM, DISK),
        "detach_disk": lambda: cpi.detach_disk(VM, DISK),
        "resize_disk": lambda: cpi.resize_disk(DISK, 128),
        "snapshot_disk": lambda: cpi.snapshot_disk(DISK, {}, "snapshot"),
        "delete_snapshot": lambda: cpi.delete_snapshot(SNAPSHOT),
        "delete_disk": lambda: cpi.delete_disk(DISK),
        "clean": lambda: cpi.clean(),
    }
    for call in calls:
        known[call]()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
