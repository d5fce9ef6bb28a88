"""Instances over AZs when addresses are static. Source: planning contract, section 4."""

from __future__ import annotations

from collections.abc import Sequence

from director.diagnostics import Diagnostics
from director.manifest.model import InstanceGroup
from director.plan.addresses import Pools
from director.plan.existing import Existing
from director.plan.place import Placement


def has_static_ips(group: InstanceGroup, pools: Pools) -> bool:
    """Whether any network of the group that is not a VIP network lists static addresses."""
    for network in group.networks:
        pool = pools.network(network.name)
        if network.static_ips is not None and pool is not None and pool.definition.type != "vip":
            return True
    return False


def place_static(group: InstanceGroup, existing: Sequence[Existing], pools: Pools, report: Diagnostics) -> Placement:
    """Choose AZs by addresses."""
    raise NotImplementedError
