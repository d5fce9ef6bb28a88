"""Cinder: volumes and snapshots by token and id, waiting for their states, deleting them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from cpis.cloud.waiting import wait_for
from cpis.contract import CpiError, Invalid, NotFound, Unavailable
from cpis.openstack.answers import Snapshot, Volume, text
from cpis.openstack.api import Api

_WITH_MESSAGES = {"OpenStack-API-Version": "volume 3.5"}  # the first that lists those of one volume, newest first

log = logging.getLogger("cpis")


class Volumes:
    """`deadline` and `every` are seconds, for all waiting; `lost` how long one whose creating request was not answered is looked for."""

    def __init__(
        self, api: Api, *, deadline: float, every: float, lost: float, clock: Callable[[], float], sleep: Callable[[float], None],
    ) -> None:
        self._api = api
        self._pace: dict[str, Any] = {"every": min(0.5, every), "longest": every, "clock": clock, "sleep": sleep}
        self._timing: dict[str, Any] = {**self._pace, "deadline": deadline}
        self._lost = lost

    def get(self, cid: str) -> Volume:
        """Raises NotFound."""
        return self._api.get("volume", f"/volumes/{cid}", lambda answer: Volume.read(answer["volume"]))

    def named(self, token: str) -> Volume | None:
        """The one with this token; the oldest, should there be several."""
        found = self._api.pages("volume", "/volumes/detail", "volumes", Volume.read, {"name": token})
        return min((item for item in found if item.name == token), key=lambda item: (item.created_at or 0.0, item.id), default=None)

    def owned(self, director: str) -> list[Volume]:
        """All of this director."""
        query = {"metadata": str({"director": director}), "limit": 500}
        found = self._api.pages("volume", "/volumes/detail", "volumes", Volume.read, query)
        return [item for item in found if item.metadata.get("director") == director]

    def create(self, shape: Mapping[str, Any]) -> str:
        """The id of a new volume, usable. Raises CpiError, and then nothing is left.

        When the request is not answered it is looked for by name before it is sent again: Cinder has no token for requests.
        """
        cid = self._asked(shape)
        try:
            self.until(cid, "available")
        except CpiError:
            self.delete(cid)
            raise
        return cid

    def _asked(self, shape: Mapping[str, Any]) -> str:
        def ask() -> str:
            return self._api.create("volume", "/volumes", {"volume": shape}, lambda answer: Volume.read(answer["volume"]).id)

        try:
            return ask()
        except Unavailable as error:
            found = self._lost_one(lambda: self.named(shape["name"]), error)
            return ask() if found is None else str(found.id)

    def _lost_one(self, look: Callable[[], Any], error: Unavailable) -> Any:
        try:
            return wait_for(f"what an unanswered request ({error}) may have made", look, **{**self._pace, "deadline": self._lost})
        except Unavailable as late:
            if late.code != "timeout":
                raise
            return None

    def until(self, cid: str, *wanted: str) -> Volume:
        """Waits for one of these states. Raises CpiError when it gets into an error state, NotFound."""
        def look() -> Volume | None:
            volume = self.get(cid)
            if volume.status.startswith("error") and volume.status not in wanted:
                raise CpiError(
                    f"the volume {cid} is in state '{volume.status}'{self._why(cid)}", resource=cid, code=volume.status, kind="disk",
                    suggestion="The cloud's operator finds more in Cinder's logs, under the volume's id.")
            return volume if volume.status in wanted else None

        return wait_for(f"volume {cid} to be {' or '.join(wanted)}", look, **self._timing)

    def _why(self, cid: str) -> str:
        """What Cinder tells its users of a volume that failed, in its own words. Source: its API, messages, since Pike."""
        try:
            words = self._api.get(
                "volume", "/messages", lambda answer: [text(item, "user_message") for item in answer["messages"]], {"resource_uuid": cid},
                headers=_WITH_MESSAGES)
        except CpiError as error:  # the volume's state is what matters
            log.info("why volume %s failed cannot be told: %s", cid, error)
            return ""
        return "".join(f": {line}" for line in words[:1])

    def wait(self, what: str, look: Callable[[], Any]) -> Any:
        """As `cpis.cloud.waiting.wait_for`, with the CPI's deadline and pace."""
        return wait_for(what, look, **self._timing)

    def delete(self, cid: str) -> None:
        """With its snapshots (`cascade`, which Libcloud's destroy_volume lacks). Waits until it is gone; gone before is success."""
        self._delete(f"volume {cid}", f"/volumes/{cid}?cascade=true", lambda: self.get(cid).status)

    def _delete(self, what: str, path: str, status: Callable[[], str]) -> None:
        """Somebody else deleting it at the same time is no error; Cinder refuses the second request for the state that the thing is in."""
        try:
            self._api.send("DELETE", "volume", path)
        except NotFound:
            return
        except Invalid:
            try:
                if status() != "deleting":
                    raise
            except NotFound:
                return
        self._gone(what, status)

    def _gone(self, what: str, status: Callable[[], str]) -> None:
        def look() -> bool | None:
            try:
                found = status()
            except NotFound:
                return True
            if found.startswith("error"):
                raise CpiError(f"the {what} cannot be deleted: it is in state '{found}'", code=found)
            return None

        wait_for(f"{what} to be gone", look, **self._timing)

    # Snapshots

    def snapshot(self, cid: str) -> Snapshot:
        """Raises NotFound."""
        return self._api.get("volume", f"/snapshots/{cid}", lambda answer: Snapshot.read(answer["snapshot"]))

    def snapshot_named(self, token: str) -> Snapshot | None:
        found = self._api.pages("volume", "/snapshots/detail", "snapshots", Snapshot.read, {"name": token})
        return min((item for item in found if item.name == token), key=lambda item: (item.created_at or 0.0, item.id), default=None)

    def owned_snapshots(self, director: str) -> list[Snapshot]:
        query = {"metadata": str({"director": director}), "limit": 500}
        found = self._api.pages("volume", "/snapshots/detail", "snapshots", Snapshot.read, query)
        return [item for item in found if item.metadata.get("director") == director]

    def create_snapshot(self, shape: Mapping[str, Any]) -> str:
        """The id of a new snapshot, usable. Raises CpiError, and then nothing is left."""
        def ask() -> str:
            return self._api.create("volume", "/snapshots", {"snapshot": shape}, lambda answer: Snapshot.read(answer["snapshot"]).id)

        try:
            cid = ask()
        except Unavailable as error:
            found = self._lost_one(lambda: self.snapshot_named(shape["name"]), error)
            cid = ask() if found is None else found.id
        try:
            self.snapshot_ready(cid)
        except CpiError:
            self.delete_snapshot(cid)
            raise
        return cid

    def snapshot_ready(self, cid: str) -> None:
        """Waits until it is usable."""
        def look() -> bool | None:
            status = self.snapshot(cid).status
            if status.startswith("error"):
                raise CpiError(f"the snapshot {cid} is in state '{status}'", resource=cid, code=status, kind="snapshot")
            return True if status == "available" else None

        wait_for(f"snapshot {cid} to be available", look, **self._timing)

    def delete_snapshot(self, cid: str) -> None:
        """Waits until it is gone; gone before is success."""
        # Raw, for the driver's call wants an object and looks at nothing but its id.
        self._delete(f"snapshot {cid}", f"/snapshots/{cid}", lambda: self.snapshot(cid).status)
