"""vSphere tags of machines, which SOAP does not know: the REST API beside it. Source: CPI contract, section 10.1 (`tags`)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.contract import Denied, Invalid, Unavailable
from cpis.vsphere.session import Session

_BASE = "/rest/com/vmware/cis"


class Tagging:
    """Tags by category and name, each looked up once. Safe to use from many threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._login = ""
        self._tags: dict[tuple[str, str], str] = {}

    def attach(self, ref: Any, wanted: Sequence[Mapping[str, str]]) -> None:
        """Put the tags on a machine; there already is fine. Raises Invalid when a category or tag does not exist."""
        for item in wanted:
            tag = self._tag(item["category"], item["tag"])
            body = {"object_id": {"id": ref._moId, "type": "VirtualMachine"}}
            self._ask("POST", f"/tagging/tag-association/id:{tag}?~action=attach", body)

    def _tag(self, category: str, name: str) -> str:
        with self._lock:
            if (category, name) not in self._tags:
                found = self._named(self._ask("GET", "/tagging/category"), "category", category, "tag category")
                tags = self._ask("POST", f"/tagging/tag/id:{found}?~action=list-tags-for-category", {})
                self._tags[category, name] = self._named(tags, "tag", name, f"tag in the category '{category}'")
            return self._tags[category, name]

    def _named(self, ids: Sequence[str] | None, kind: str, name: str, what: str) -> str:
        names = []
        for item in ids or []:
            found = self._ask("GET", f"/tagging/{kind}/id:{item}")["name"]
            if found == name:
                return item
            names.append(found)
        raise Invalid(f"there is no {what} called '{name}'", suggestion=f"there are: {', '.join(sorted(names)) or 'none'}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            return self._asked(method, path, body)
        except Denied:
            if not self._login:
                raise
            self._login = ""  # this API has sessions of its own, which end as well
            return self._asked(method, path, body)

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        if not self._login:
            user, password = self._session.credentials
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._login = self._value("POST", "/session", None, {"Authorization": f"Basic {basic}"})
        return self._value(method, path, body, {"vmware-api-session-id": self._login})

    def _value(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        answer = self._session.http(
            method, f"{self._session.address.url}{_BASE}{path}", data=data, headers={"Content-Type": "application/json", **headers})
        try:
            return answer.json().get("value") if answer.content else None
        except (ValueError, AttributeError) as error:
            raise Unavailable(f"{method} {_BASE}{path}: the answer is no JSON of vCenter's") from error
