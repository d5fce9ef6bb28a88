"""What carries our marks: by token, or all of this director. Source: CPI contract, section 4.1."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from cpis.aws import metadata
from cpis.aws.api import Api
from cpis.aws.driver import Tree, filters, items, tags_of
from cpis.aws.instances import Instances
from cpis.cloud.tags import TOKEN
from cpis.contract import Found

# Resource, action, set of the answer, its id, and when it was made.
_LISTS = (
    ("disk", "DescribeVolumes", "volumeSet", "volumeId", "createTime"),
    ("snapshot", "DescribeSnapshots", "snapshotSet", "snapshotId", "startTime"),
    ("stemcell", "DescribeImages", "imagesSet", "imageId", "creationDate"),
    ("network_interface", "DescribeNetworkInterfaces", "networkInterfaceSet", "networkInterfaceId", ""),
)
_OWN = ("DescribeSnapshots", "DescribeImages")


class Search:
    """Lists are asked for in pages, to the last."""

    def __init__(self, api: Api, instances: Instances, director: str) -> None:
        self._api = api
        self._instances = instances
        self._director = director

    def find(self, token: str) -> list[Found]:
        """See `Cpi.find`."""
        return list(self._all(TOKEN, token))

    def owned(self) -> list[Found]:
        """See `Cpi.owned`."""
        return [found for found in self._all("director", self._director) if found.token]

    def _all(self, tag: str, value: str) -> Iterator[Found]:
        instances = self._instances.search(tag, value)
        for instance in instances:
            yield _found("vm", instance, "instanceId", "launchTime")
        alive = {instance["instanceId"] for instance in instances}
        for kind, action, name, key, made in _LISTS:
            params = {**filters(**{f"tag:{tag}": value}), **({"Owner.1": "self"} if action in _OWN else {})}
            for item in self._api.pages(action, name, params):
                tags = tags_of(item)
                # Parts of a machine that is there are told with it, snapshots of a stemcell with that.
                if metadata.PART in tags and _holder(item) in alive:
                    continue
                if item.get("status") in ("deleting", "deleted") or metadata.IMAGE in tags:
                    continue
                yield _found("volume" if kind == "disk" and metadata.PART in tags else kind, item, key, made)


def _holder(item: Tree) -> str:
    """The machine that a volume or an interface is attached to."""
    attached = items(item, "attachmentSet") or [item["attachment"]] if item.get("attachment") or item.get("attachmentSet") else []
    return next((str(entry.get("instanceId") or "") for entry in attached), "")


def _found(kind: str, item: Mapping[str, Any], key: str, made: str) -> Found:
    tags = tags_of(item)
    return Found(
        kind, str(item[key]), tags.get(TOKEN, ""), {name: value for name, value in tags.items() if name not in metadata.OURS[1:]},
        _time(str(item.get(made) or "")))


def _time(text: str) -> float | None:
    try:
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
