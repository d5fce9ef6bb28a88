"""Octavia: machines as members of load balancer pools. Raw requests, for Libcloud has no Octavia.

Proven against its own API with a provider that does nothing; not against one that balances, nor with rights that Keystone gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cpis.contract import Invalid, NotFound
from cpis.openstack.api import Api


class Pools:
    """Pools of the account's project."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def resolve(self, wanted: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
        """(id of the pool, port) of `loadbalancer_pools`. Raises Invalid for a name that is none, or several."""
        found = []
        for entry in wanted:
            ids = list(self._api.pages("load_balancer", "/v2/lbaas/pools", "pools", lambda item: str(item["id"]), {"name": entry["name"]}))
            if len(ids) != 1:
                many = f"{len(ids)} load balancer pools are named" if ids else "there is no load balancer pool"
                raise Invalid(f"{many} '{entry['name']}'", suggestion="`openstack loadbalancer pool list` shows them.")
            found.append((ids[0], int(entry["port"])))
        return found

    def join(self, token: str, pools: Sequence[tuple[str, int]], address: str, subnet: str) -> None:
        """Make the address a member of each, once for each port. While a load balancer changes it refuses; that is waited out."""
        for pool, port in pools:
            if not self._members(pool, token, protocol_port=port):
                member = {"address": address, "protocol_port": port, "subnet_id": subnet, "name": token}
                self._api.made(
                    "POST", "load_balancer", f"/v2/lbaas/pools/{pool}/members", {"member": member}, lambda answer: answer["member"]["id"],
                    repeatable=False)

    def leave(self, token: str, pools: Sequence[str]) -> None:
        """Take the machine's members out; a pool that is gone is success."""
        for pool in pools:
            try:
                members = self._members(pool, token)
            except NotFound:
                continue
            for member in members:
                try:
                    self._api.send("DELETE", "load_balancer", f"/v2/lbaas/pools/{pool}/members/{member}")
                except NotFound:
                    continue

    def _members(self, pool: str, token: str, **more: int) -> list[str]:
        query = {"name": token, **more}
        return list(self._api.pages("load_balancer", f"/v2/lbaas/pools/{pool}/members", "members", lambda item: str(item["id"]), query))
