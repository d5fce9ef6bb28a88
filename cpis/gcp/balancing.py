"""Machines behind load balancers: members of target pools, and of the instance groups of backend services."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from cpis.contract import CpiError, Invalid, NotFound
from cpis.gcp.api import Compute, quoted
from cpis.gcp.driver import Named
from cpis.gcp.errors import MEMBER
from cpis.gcp.names import last, region_of

log = logging.getLogger("cpis")


class Balancers:
    """What of a project's load balancers machines have to do with."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute

    def join_pool(self, pool: str, zone: str, name: str) -> None:
        """Raises NotFound when there is no such pool in the region of the zone."""
        driver = self._compute.driver
        driver.ex_targetpool_add_node(_pool(pool, zone), driver.node(zone, name))

    def leave_pool(self, pool: str, zone: str, name: str) -> None:
        driver = self._compute.driver
        try:
            driver.ex_targetpool_remove_node(_pool(pool, zone), driver.node(zone, name))
        except NotFound:
            log.debug("target pool %s is gone", pool)

    def group_of(self, service: tuple[str, bool], zone: str) -> str:
        """The instance group of a backend service in this zone. Raises NotFound, Invalid naming the zones that have one."""
        name, regional = service
        where = f"/regions/{region_of(zone)}" if regional else "/global"
        backends = self._compute.get(f"{where}/backendServices/{quoted(name)}").get("backends") or []
        links = [str(item.get("group") or "") for item in backends]
        for link in links:
            if f"/zones/{zone}/instanceGroups/" in link:
                return last(link)
        zones = sorted({link.split("/zones/")[1].split("/")[0] for link in links if "/zones/" in link})
        raise Invalid(
            f"the backend service '{name}' has no instance group in zone {zone}", resource=name, kind="backendService",
            suggestion=f"It has groups in {', '.join(zones) or 'no zone'}. Add one: gcloud compute backend-services add-backend.")

    def join_group(self, group: str, zone: str, name: str) -> None:
        driver = self._compute.driver
        try:
            driver.ex_instancegroup_add_instances(SimpleNamespace(name=group, zone=Named(zone)), [driver.node(zone, name)])
        except CpiError as error:
            if error.code not in MEMBER:
                raise


def _pool(name: str, zone: str) -> SimpleNamespace:
    """A target pool as far as Libcloud's methods look at it; getting the real one also gets its health checks and machines."""
    return SimpleNamespace(name=name, region=Named(region_of(zone)), nodes=[])
