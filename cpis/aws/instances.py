"""Instances as they are: one, or all of a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cpis.aws.api import Api, Batch
from cpis.aws.driver import Tree, filters, items
from cpis.cloud.tags import TOKEN
from cpis.contract import Conflict, NotFound

GONE = ("terminated", "shutting-down")
LIVE = ("pending", "running", "stopping", "stopped")


class Instances:
    """Safe to use from many threads."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._batch = Batch(lambda params: _instances([self._reservations(params)]), "instance-id", "instanceId")

    def _reservations(self, params: Mapping[str, Any]) -> Tree:
        return {"reservationSet": self._api.pages("DescribeInstances", "reservationSet", params)}

    def get(self, cid: str) -> Tree | None:
        """The instance, terminated ones too; None when EC2 knows none."""
        return self._batch.get(cid)

    def live(self, cid: str) -> Tree:
        """The instance. Raises NotFound for one that is gone or going."""
        found = self.get(cid)
        if found is None or state(found) in GONE:
            raise NotFound(f"there is no machine {cid}", resource=cid, kind="vm", code="InvalidInstanceID.NotFound")
        return found

    def of_token(self, token: str) -> list[Tree]:
        """Those that live and carry the token."""
        return _instances([self._reservations(filters(**{f"tag:{TOKEN}": token, "instance-state-name": LIVE}))])

    def dead_of_token(self, token: str) -> list[Tree]:
        """Those that carry the token and are gone, which EC2 remembers for about an hour."""
        return _instances([self._reservations(filters(**{f"tag:{TOKEN}": token, "instance-state-name": GONE}))])

    def search(self, tag: str, value: str) -> list[Tree]:
        """Those that live, or go just now, and have this tag."""
        return _instances([self._reservations(filters(**{f"tag:{tag}": value, "instance-state-name": (*LIVE, "shutting-down")}))])

    def wait(self, cid: str, states: Sequence[str], deadline: float = 600.0) -> Tree:
        """The instance as soon as it is in one of the states. Raises NotFound when it ends meanwhile, Unavailable after the deadline."""

        def look() -> Tree | None:
            found = self.get(cid)
            if found is None:
                return None  # not there yet: lists lag behind
            if state(found) in states:
                return found
            if state(found) in GONE:
                raise NotFound(f"the machine {cid} is {state(found)}: {reason(found)}", resource=cid, kind="vm", code=reason_code(found))
            return None

        return self._api.wait(f"machine {cid} to be {' or '.join(states)}", look, deadline)

    def terminate(self, cid: str, deadline: float = 900.0) -> Tree | None:
        """Delete; answers the instance as it was seen last, when it certainly is gone. Raises Conflict for a protected one."""
        try:
            self._api.do("TerminateInstances", lambda driver: driver.destroy_node(driver.node(cid)))
        except NotFound:
            return None
        return self._api.wait(f"machine {cid} to be gone", lambda: self._gone(cid), deadline)

    def _gone(self, cid: str) -> Tree | None:
        found = self.get(cid)
        if found is None:
            return {"instanceId": cid}
        return found if state(found) == "terminated" else None


def _instances(answers: Sequence[Tree]) -> list[Tree]:
    reservations = [reservation for answer in answers for reservation in items(answer, "reservationSet")]
    return [instance for reservation in reservations for instance in items(reservation, "instancesSet")]


def state(instance: Mapping[str, Any]) -> str:
    """pending, running, stopping, stopped, shutting-down, terminated."""
    return str(instance["instanceState"]["name"])


def reason(instance: Mapping[str, Any]) -> str:
    """Why it is in its state, in the cloud's words."""
    found = instance.get("stateReason") or {}
    return str(found.get("message") or instance.get("reason") or "no reason given")


def reason_code(instance: Mapping[str, Any]) -> str:
    """The code of that."""
    return str((instance.get("stateReason") or {}).get("code") or "")


def zone(instance: Mapping[str, Any]) -> str:
    """Its availability zone."""
    return str(instance["placement"]["availabilityZone"])


def only_one(token: str, found: Sequence[Tree]) -> Tree | None:
    """The instance of a token. Raises Conflict when there are several, which nothing here makes."""
    if len(found) > 1:
        cids = ", ".join(instance["instanceId"] for instance in found)
        raise Conflict(f"the token '{token}' is on several machines: {cids}", resource=cids, kind="vm")
    return found[0] if found else None
