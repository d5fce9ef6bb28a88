"""Nova: servers by token and id, waiting for their states, deleting them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from cpis.cloud.waiting import wait_for
from cpis.contract import CpiError, NotFound, Unavailable
from cpis.openstack import errors
from cpis.openstack.answers import Server, take
from cpis.openstack.api import Api
from cpis.openstack.driver import OpenStackDriver

GONE = ("DELETED", "SOFT_DELETED")
_LOOKS_AT_ERROR = 3


class Servers:
    """`deadline` and `every` are seconds, for all waiting; `now` and `sleep` are the clock."""

    def __init__(
        self, api: Api, *, deadline: float, every: float, clock: Callable[[], float], sleep: Callable[[float], None],
    ) -> None:
        self._api = api
        self._timing: dict[str, Any] = {
            "deadline": deadline, "every": min(0.5, every), "longest": every, "clock": clock, "sleep": sleep}

    def get(self, cid: str) -> Server:
        """Raises NotFound, also for one that is deleted and still shown."""
        server = self._api.get("compute", f"/servers/{cid}", lambda answer: Server.read(answer["server"]))
        if server.status in GONE:
            raise NotFound(f"the machine {cid} is deleted", resource=cid, kind="vm")
        return server

    def tagged(self, tag: str) -> list[Server]:
        """All with the tag, oldest first; the deleted ones left out. Source: Nova shows a server by tag from the moment its creating
        request is answered, before it is scheduled too."""
        found = self._api.pages("compute", "/servers/detail", "servers", Server.read, {"tags": tag, "limit": 500})
        return sorted((item for item in found if item.status not in GONE), key=lambda item: (item.created_at or 0.0, item.id))

    def create(self, body: Callable[[OpenStackDriver], Mapping[str, Any]], hints: Mapping[str, Any]) -> str:
        """The id of a new server; `body` are its parameters. Raises Unavailable when it may or may not be there.

        Libcloud's create_node asks for the server after its POST: when that fails the server exists, and the caller gets an error.
        """
        def action(driver: OpenStackDriver) -> str:
            data: dict[str, Any] = {"server": body(driver)}
            if hints:
                data["os:scheduler_hints"] = dict(hints)
            return take(driver.connection.request("/servers", method="POST", data=data).object["server"], "id", str)

        return self._api.do("nova POST /servers", action, repeatable=False, also=_port_free_soon)

    def until_active(self, cid: str) -> Server:
        """Waits. Raises what Nova tells as the fault (NoCapacity for no room) when the server fails, NotFound when it is deleted."""
        def look() -> Server | None:
            server = self.get(cid)
            if server.status == "ERROR":
                raise errors.of_fault(f"the machine {cid} failed", server.fault)
            return server if server.status == "ACTIVE" and not server.task else None

        return wait_for(f"machine {cid} to be active", look, **self._timing)

    def delete(self, cid: str) -> None:
        """Waits until it is gone; gone before is success. Raises CpiError when Nova cannot delete it."""
        try:
            self._api.do(f"nova DELETE /servers/{cid}", lambda driver: _accepted(driver.destroy_node(driver.node(cid))))
        except NotFound:
            return
        errors_seen = 0

        def look() -> bool | None:
            nonlocal errors_seen
            try:
                server = self.get(cid)
            except NotFound:
                return True
            errors_seen += 1 if server.status == "ERROR" and not server.task else 0
            if errors_seen >= _LOOKS_AT_ERROR:
                raise errors.of_fault(f"the machine {cid} cannot be deleted", server.fault)
            return None

        wait_for(f"machine {cid} to be gone", look, **self._timing)

    def start(self, cid: str) -> None:
        self._api.do(f"nova start {cid}", lambda driver: _accepted(driver.start_node(driver.node(cid))))

    def reboot(self, cid: str, *, hard: bool) -> None:
        def action(driver: OpenStackDriver) -> None:
            call = driver.ex_hard_reboot_node if hard else driver.ex_soft_reboot_node
            _accepted(call(driver.node(cid)))

        self._api.do(f"nova reboot {cid}", action)

    def rename(self, cid: str, name: str) -> None:
        """Raw: Libcloud's ex_set_server_name reads a whole machine from the answer, and fails when a field of it is missing."""
        self._api.send("PUT", "compute", f"/servers/{cid}", {"server": {"name": name}})

    def replace_metadata(self, cid: str, metadata: Mapping[str, str]) -> None:
        """Libcloud's ex_set_metadata adds to what is there."""
        self._api.send("PUT", "compute", f"/servers/{cid}/metadata", {"metadata": dict(metadata)})

    def attach(self, cid: str, volume: str) -> None:
        """Raw: Libcloud's attach_volume takes whatever is answered for success."""
        self._api.create(
            "compute", f"/servers/{cid}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}},
            lambda answer: take(answer, "volumeAttachment", dict))

    def detach(self, cid: str, volume: str) -> None:
        """Raw: Libcloud's detach_volume looks at attachments that it was given, and does nothing, in silence, without any."""
        self._api.send("DELETE", "compute", f"/servers/{cid}/os-volume_attachments/{volume}")

    def wait(self, what: str, look: Callable[[], Any]) -> Any:
        """As `cpis.cloud.waiting.wait_for`, with the CPI's deadline and pace."""
        return wait_for(what, look, **self._timing)


def _accepted(answer: bool) -> None:
    """Libcloud answers False for any status that is not the usual one: something else answered in Nova's place."""
    if not answer:
        raise TypeError("the request is not answered as Nova does")


def _port_free_soon(error: CpiError) -> bool:
    """A port that a server just deleted gives back is bound for a moment longer."""
    return errors.busy(error) or ("is still in use" in error.message and not isinstance(error, Unavailable))


def parameters(
    driver: OpenStackDriver, *, name: str, flavor: str, image: str, ports: Sequence[str], tags: Sequence[str], metadata: Mapping[str, str],
    userdata: str, config_drive: bool, zone: str, key_name: str, root_volume: str,
) -> Mapping[str, Any]:
    """The parameters of a new server, by Libcloud's own hand; `root_volume` is the volume it boots from, instead of the image."""
    mapping = [{
        "boot_index": 0, "uuid": root_volume, "source_type": "volume", "destination_type": "volume", "delete_on_termination": True}]
    params: dict[str, Any] = driver._create_args_to_params(
        None, name=name, size=SimpleNamespace(id=flavor), image=SimpleNamespace(id="" if root_volume else image), ex_userdata=userdata,
        ex_config_drive=config_drive, ex_metadata=dict(metadata), ex_availability_zone=zone or None, ex_keyname=key_name or None,
        ex_blockdevicemappings=mapping if root_volume else None, ex_ports=list(ports), ex_tags=list(tags))
    return params
