"""Where guests find volumes."""

from __future__ import annotations

from cpis.aws.facts import is_nitro
from cpis.contract import DiskHint


def hint(instance_type: str, cid: str, device: str) -> DiskHint:
    """Where the guest finds it. Source: CPI contract, section 12.1."""
    if is_nitro(instance_type):
        return DiskHint(path=f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{cid.replace('-', '')}", id=cid)
    return DiskHint(path=device.replace("/dev/sd", "/dev/xvd"))
