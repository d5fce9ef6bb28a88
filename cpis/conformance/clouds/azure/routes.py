"""From a request to what it does: the paths of ARM."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cpis.conformance.clouds.azure import compute, disks, network
from cpis.conformance.clouds.azure.store import Operation, Refused, Store, Tree, shown

Answer = tuple[int, Tree | list[Tree] | None, Operation | None]
Put = Callable[[Store, str, Tree], tuple[Tree, Operation | None]]

_PUTS: Mapping[str, Put] = {
    compute.VM: compute.put_vm, compute.SETS: compute.put_set, network.NIC: network.put_nic, network.PIP: network.put_public_ip,
    disks.DISK: disks.put_disk, disks.SNAPSHOT: disks.put_snapshot, disks.IMAGE: disks.put_image,
    disks.GALLERY_IMAGE: disks.put_gallery_image, disks.GALLERY_VERSION: disks.put_gallery_version,
}
_DELETES: Mapping[str, Callable[[Store, str], Operation | None]] = {
    compute.VM: compute.delete_vm, compute.SETS: compute.delete_set, network.NIC: network.delete_nic, network.PIP: network.delete_public_ip,
    disks.SNAPSHOT: disks.delete_plain, disks.IMAGE: disks.delete_plain, disks.GALLERY_VERSION: disks.delete_plain,
    disks.GALLERY_IMAGE: disks.delete_gallery_image,
}
_TYPES = {kind.lower(): kind for kind in (*_PUTS, network.VNET, "Microsoft.Network/networkSecurityGroups")}
_VM_ACTIONS = ("restart", "start", "poweroff", "deallocate", "attachdetachdatadisks")
_GROUP = re.compile(r"/subscriptions/[^/]+/resourcegroups/[^/]+", re.IGNORECASE)


class Routes:
    """What the paths below one subscription do."""

    def __init__(self, store: Store, pages: disks.Pages, location: str) -> None:
        self._store = store
        self._pages = pages
        self._location = location

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Tree) -> Answer:
        """Status, body and the operation that has begun. Raises Refused."""
        parts = path.strip("/").split("/")
        if "api-version" not in query:
            raise Refused(
                400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
        if len(parts) < 2 or parts[0].lower() != "subscriptions":
            raise Refused(404, "InvalidResourcePath", f"The path {path} is not known.")
        if parts[1].lower() != self._store.subscription.lower():
            raise Refused(404, "SubscriptionNotFound", f"The subscription '{parts[1]}' could not be found.")
        lower = [part.lower() for part in parts]
        if len(parts) > 2 and lower[2] == "resourcegroups":
            return self._in_group(method, path, parts, query, body)
        return self._in_subscription(method, lower, parts, query, body)

    def _in_subscription(self, method: str, lower: list[str], parts: list[str], query: Mapping[str, str], body: Tree) -> Answer:
        store = self._store
        if method == "GET" and lower[2:] == []:
            return 200, {"subscriptionId": store.subscription, "displayName": "pretended", "state": "Enabled"}, None
        if method == "GET" and lower[2:] == ["resources"]:
            found = re.fullmatch(r"tagName eq '(.*)' and tagValue eq '(.*)'", query.get("$filter", ""))
            if not found:
                raise Refused(400, "InvalidFilterInQueryString", f"Invalid $filter '{query.get('$filter')}' specified in the query string.")
            listed = store.tagged(found.group(1), found.group(2).replace("''", "'"))
            keys = ("id", "name", "type", "location", "tags")
            extra = {"createdTime": "_created"} if "createdTime" in query.get("$expand", "") else {}
            return 200, [{**{key: item[key] for key in keys if key in item}, **{key: item[own] for key, own in extra.items()}}
                         for item in listed], None
        if lower[2:4] == ["providers", "microsoft.compute"] and lower[4:] == ["skus"]:
            return 200, compute.skus(store, self._location), None
        if lower[4:5] == ["locations"] and lower[6:7] == ["operations"] and len(parts) == 8 and parts[7] in store.operations:
            operation = store.operations[parts[7]]
            answer: Tree = {"name": operation.id, "status": operation.status}
            answer.update({"error": operation.error} if operation.error else {})
            answer.update({"properties": {"output": operation.output}} if operation.output else {})
            return 200, answer, None
        if "publishers" in lower and lower[-1] == "versions":
            wanted = "/".join((parts[7], parts[11], parts[13])).lower() + "/"
            versions = [item for item in compute.MARKET if item.lower().startswith(wanted)]
            if not versions:
                raise Refused(404, "NotFound", f"Artifact: VMImage was not found: {wanted}")
            return 200, {"plain": [{"name": item.rsplit("/", 1)[1], "id": "/" + item} for item in versions]}, None
        if lower[4:5] == ["locations"] and lower[-1] == "usages":
            known = compute.sizes(store)
            used = sum(known[vm["properties"]["hardwareProfile"]["vmSize"]][0] for vm in store.of_type(compute.VM))
            return 200, [{"name": {"value": "cores", "localizedValue": "Total Regional vCPUs"}, "currentValue": used,
                          "limit": store.switches.cores_quota, "unit": "Count"}], None
        kind = _TYPES.get("/".join(lower[3:5]))
        if method == "GET" and kind and len(lower) == 5:
            return 200, [shown(item) for item in store.of_type(kind)], None
        raise Refused(404, "InvalidResourceType", f"The resource type could not be found: {method} /{'/'.join(parts)}.")

    def _in_group(self, method: str, path: str, parts: list[str], query: Mapping[str, str], body: Tree) -> Answer:
        store = self._store
        if not store.group_exists(parts[3]):
            raise Refused(404, "ResourceGroupNotFound", f"Resource group '{parts[3]}' could not be found.")
        if len(parts) == 4 and method == "GET":
            return 200, shown(store.get(path)), None
        if [part.lower() for part in parts[4:6]] == ["providers", "microsoft.authorization"]:
            return 200, [{"actions": ["*"], "notActions": []}], None
        if len(parts) == 7 and method == "GET":
            kind = _TYPES.get("/".join(parts[5:7]).lower())
            if kind:
                return 200, [shown(item) for item in store.of_type(kind, parts[3])], None
        inner = parts[6:]
        kind = "/".join([parts[5], *inner[::2]])
        if len(inner) % 2:
            kind = "/".join([parts[5], *inner[:-1:2]]).lower()
            return self._action(method, "/" + "/".join(parts[:-1]), kind, parts[-1].lower(), query, body)
        return self._resource(method, path, _TYPES.get(kind.lower(), kind), query, body)

    def _resource(self, method: str, path: str, kind: str, query: Mapping[str, str], body: Tree) -> Answer:
        store = self._store
        if method == "GET":
            found = store.get(path)
            more = {"instanceView": compute.instance_view(found)} if query.get("$expand") == "instanceView" else {}
            answer = shown(found)
            return 200, {**answer, "properties": {**answer["properties"], **more}}, None
        if method == "PUT" and kind in _PUTS:
            self._check_location(kind, body)
            new = store.find(path) is None
            made, operation = _PUTS[kind](store, path, body)
            return (201 if new else 200), shown(made), operation
        if method == "PATCH":
            patches: Mapping[str, Put] = {compute.VM: compute.patch_vm, disks.DISK: disks.patch_disk}
            if kind in patches:
                made, operation = patches[kind](store, path, body)
            else:
                made, operation = store.get(path), None
                made["tags"] = dict(body.get("tags") or {})
            return (202 if operation else 200), shown(made), operation
        if method == "DELETE" and (kind in _DELETES or kind == disks.DISK):
            operation = disks.delete_disk(store, path, self._pages) if kind == disks.DISK else _DELETES[kind](store, path)
            return (202 if operation else 204), None, operation
        raise Refused(405, "MethodNotAllowed", f"{method} is not allowed for {kind}.")

    def _check_location(self, kind: str, body: Tree) -> None:
        location = str(body["location"])
        if location.lower().replace(" ", "") != self._location:
            raise Refused(
                400, "LocationNotAvailableForResourceType", f"The provided location '{location}' is not available for resource type "
                f"'{kind}'. List of available regions for the resource type is '{self._location}'.")

    def _action(self, method: str, identity: str, kind: str, action: str, query: Mapping[str, str], body: Tree) -> Answer:
        store = self._store
        if kind == compute.VM.lower() and action == "instanceview" and method == "GET":
            return 200, compute.instance_view(store.get(identity)), None
        if kind == compute.VM.lower() and action in _VM_ACTIONS and method == "POST":
            return 202, None, compute.vm_action(store, identity, action, body)
        if kind == disks.DISK.lower() and action in ("begingetaccess", "endgetaccess") and method == "POST":
            return 202, None, disks.disk_action(store, identity, action, body, self._pages)
        if kind == network.VNET.lower() and action == "checkipaddressavailability":
            return 200, network.check_address(store, identity, query["ipAddress"]), None
        if kind == disks.GALLERY_IMAGE.lower() and action == "versions" and method == "GET":
            inside = (item for item in store.of_type(disks.GALLERY_VERSION) if item["id"].lower().startswith(identity.lower() + "/"))
            return 200, [shown(item) for item in inside], None
        raise Refused(404, "InvalidResourceType", f"There is no action {action} of {kind}.")
