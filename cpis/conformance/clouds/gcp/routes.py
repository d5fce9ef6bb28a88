"""Which request does what in the fake: paths below the project, by method."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from cpis.conformance.clouds.gcp import disks, instances
from cpis.conformance.clouds.gcp.filters import matching
from cpis.conformance.clouds.gcp.world import Body, Operation, Refused, World, not_found

Query = Mapping[str, str]
_VERB = re.compile(r"(zones/[^/]+/instances/[^/]+)/(reset|start|stop|resume)")
_SCOPED = re.compile(r"(?:zones|regions)/([^/]+)/([a-zA-Z]+)(?:/.*)?")


def read(world: World, path: str, query: Query) -> Body:
    """The answer to a GET. Raises Refused."""
    family = re.fullmatch(r"global/images/family/(.+)", path)
    if family:
        return _newest(world, [body for at, body in world.things.items() if at.startswith("global/images/")], family.group(1), path)
    if re.match(r"(?:zones/[^/]+|regions/[^/]+|global)/operations/", path):
        return _operation(world, path)
    if path in world.things:
        return world.things[path]
    if path == "":
        return {"kind": "compute#project", "name": world.project, "quotas": [{"metric": "SNAPSHOTS", "limit": 1000.0, "usage": 0.0}]}
    if path.startswith("aggregated/"):
        return _aggregated(world, path.removeprefix("aggregated/"), query)
    folder = re.fullmatch(r"zones|regions|global/[a-zA-Z]+|(?:zones|regions)/[^/]+/[a-zA-Z]+", path)
    if folder is None:
        raise not_found(world.project, path)
    items = world.within(path)
    if "/" in path and not path.startswith("global/") and "/".join(path.split("/")[:2]) not in world.things:
        raise not_found(world.project, "/".join(path.split("/")[:2]))
    return _page(items, query, lambda found: found)


def read_foreign(world: World, whole: str, query: Query) -> Body:
    """Of another project, only what it shares: images and a network."""
    project, _, path = whole.partition("/")
    family = re.fullmatch(r"global/images/family/(.+)", path)
    shared = [body for at, body in world.foreign.items() if at.startswith(f"{project}/{path.split('/family/')[0]}")]
    if family:
        return _newest(world, shared, family.group(1), path)
    if whole in world.foreign:
        return world.foreign[whole]
    if path == "global/images":
        return _page(shared, query, lambda found: found)
    raise Refused(404, "notFound", f"The resource 'projects/{whole}' was not found")


def _newest(world: World, images: list[Body], family: str, path: str) -> Body:
    found = sorted((body for body in images if body.get("family") == family), key=lambda body: str(body["name"]))
    if not found:
        raise not_found(world.project, path)
    return found[-1]


def _operation(world: World, path: str) -> Body:
    name = path.rsplit("/", 1)[-1]
    operation = world.operations.get(name)
    if operation is None or not operation.body["selfLink"].endswith(path):
        raise not_found(world.project, path)
    if operation.polls > 0:
        operation.polls -= 1
    return operation.body


def _aggregated(world: World, kind: str, query: Query) -> Body:
    found = [(at, body) for at, body in world.things.items() if (match := _SCOPED.fullmatch(at)) and match.group(2) == kind]

    def grouped(items: list[Body]) -> Body:
        result: Body = {}
        for item in items:
            scope = "/".join(world.path(item["selfLink"]).split("/")[:2])
            result.setdefault(scope, {kind: []})[kind].append(item)
        for scope in world.unreachable:
            result[scope] = {"warning": {"code": "UNREACHABLE", "message": f"Resource '{scope}' cannot be reached."}}
        return result or {"zones/us-central1-a": {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results."}}}

    reachable = [body for at, body in found if "/".join(at.split("/")[:2]) not in world.unreachable]
    return _page(reachable, query, grouped)


def _page(items: list[Body], query: Query, shape: Callable[[list[Body]], Any]) -> Body:
    if query.get("filter"):
        items = matching(items, query["filter"])
    start = int(query["pageToken"].removeprefix("page-")) if query.get("pageToken", "").startswith("page-") else 0
    size = max(1, min(500, int(query.get("maxResults") or 500)))
    page: Body = {"kind": "compute#list", "id": "list", "items": shape(items[start:start + size])}
    if start + size < len(items):
        page["nextPageToken"] = f"page-{start + size}"
    return page


def change(world: World, method: str, path: str, query: Query, body: Any) -> Operation:
    """What a POST or DELETE starts. Raises Refused."""
    parts = path.split("/")
    if parts[0] in ("zones", "regions") and "/".join(parts[:2]) not in world.things:
        raise not_found(world.project, "/".join(parts[:2]))
    if method == "DELETE":
        if re.fullmatch(r"zones/[^/]+/instances/[^/]+", path):
            return instances.delete(world, path)
        if path not in world.born and re.fullmatch(r"zones/[^/]+/disks/[^/]+|global/(snapshots|images)/[^/]+", path):
            return disks.delete(world, path)
        raise not_found(world.project, path)
    verb = _VERB.fullmatch(path)
    if verb:
        return instances.power(world, verb.group(1), verb.group(2))
    target, action = path.rpartition("/")[0], parts[-1]
    maker = _MAKERS.get((parts[0] if parts[0] == "global" else f"{parts[0]}/*", *parts[1 if parts[0] == "global" else 2:]))
    if maker:
        return maker(world, parts[1], body, query)
    kind = target.rsplit("/", 2)[-2] if target.count("/") >= 2 else ""
    changer = _CHANGERS.get((kind, action))
    if changer is None:
        raise not_found(world.project, path)
    return changer(world, target, body, query)


_MAKERS: Mapping[tuple[str, ...], Callable[[World, str, Any, Query], Operation]] = {
    ("zones/*", "instances"): lambda world, zone, body, query: instances.insert(world, zone, body),
    ("zones/*", "disks"): lambda world, zone, body, query: disks.insert(world, zone, body, query.get("sourceImage", "")),
    ("global", "images"): lambda world, zone, body, query: disks.image(world, body),
}
_CHANGERS: Mapping[tuple[str, str], Callable[[World, str, Any, Query], Operation]] = {
    ("instances", "attachDisk"): lambda world, path, body, query: instances.attach(world, path, body),
    ("instances", "detachDisk"): lambda world, path, body, query: instances.detach(world, path, unquote(query.get("deviceName", ""))),
    ("instances", "setMetadata"): lambda world, path, body, query: instances.set_metadata(world, path, body),
    ("instances", "setDiskAutoDelete"): lambda world, path, body, query: instances.auto_delete(
        world, path, query.get("deviceName", ""), query.get("autoDelete") == "true"),
    **{(kind, "setLabels"): lambda world, path, body, query: instances.set_labels(world, path, body)
       for kind in ("instances", "disks", "snapshots", "images")},
    ("disks", "resize"): lambda world, path, body, query: disks.resize(world, path, body),
    ("disks", "createSnapshot"): lambda world, path, body, query: disks.snapshot(world, path, body),
    ("targetPools", "addInstance"): lambda world, path, body, query: disks.pool(world, path, body, True),
    ("targetPools", "removeInstance"): lambda world, path, body, query: disks.pool(world, path, body, False),
    ("instanceGroups", "addInstances"): lambda world, path, body, query: disks.group(world, path, body, True),
    ("instanceGroups", "removeInstances"): lambda world, path, body, query: disks.group(world, path, body, False),
}
