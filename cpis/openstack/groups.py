"""Server groups that keep the machines of one instance group apart: made with its first machine, deleted with its last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cpis.cloud.keyed import OnePerToken
from cpis.contract import Invalid, NotFound
from cpis.openstack.api import Api
from cpis.openstack.marks import Marks

_POLICY = "soft-anti-affinity"
_LONGEST_NAME = 255


class Groups:
    """One server group for each name of an instance group, for the machines of this director."""

    def __init__(self, api: Api, marks: Marks) -> None:
        self._api = api
        self._marks = marks
        self._once = OnePerToken()

    @contextlib.contextmanager
    def held(self, instance_group: str) -> Iterator[str]:
        """The id of the server group; while inside nobody of this process deletes it for being empty."""
        name = f"{self._marks.tag}/{instance_group}"[:_LONGEST_NAME]
        with self._once(name):
            known = self._api.do("nova GET /os-server-groups", lambda driver: driver.ex_list_server_groups(), family="read")
            found = next((group for group in known if group.name == name), None)
            if found is None:
                found = self._api.do(
                    "nova POST /os-server-groups", lambda driver: driver.ex_add_server_group(name, _POLICY), repeatable=False)
            yield str(found.id)

    def release(self, cid: str) -> None:
        """Delete the group when no machine is in it."""
        try:
            group = self._api.do(f"nova GET /os-server-groups/{cid}", lambda driver: driver.ex_get_server_group(cid), family="read")
            with self._once(group.name):
                group = self._api.do(f"nova GET /os-server-groups/{cid}", lambda driver: driver.ex_get_server_group(cid), family="read")
                if not group.members:
                    self._api.do(f"nova DELETE /os-server-groups/{cid}", lambda driver: driver.ex_del_server_group(group))
        except (NotFound, Invalid):
            return  # Nova answers 404; some older versions 400 for one that is just gone
