"""What marks a resource as ours: its token, its director, and the shape of the request that made it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping

from cpis.cloud import tags
from cpis.contract import Conflict, VmRequest

ROOT = "caisson-root"
"""Metadata of a machine: the id of its root volume. Metadata of that volume: `yes`."""
POOLS = "caisson-pools"
"""Metadata of a machine: the ids of the load balancer pools it belongs to."""
GROUP = "caisson-group"
"""Metadata of a machine: the id of the server group that was made for its instance group."""
OURS = (tags.TOKEN, tags.SHAPE, "director", ROOT, POOLS, GROUP)

# Nova's limits; Cinder's are the same or wider. The number is the default quota. Characters beyond the Basic Multilingual Plane do not
# fit the services' usual databases (MySQL's utf8).
RULES = tags.Rules(
    max_count=128, max_key=255, max_value=255, bad_key=r"[^a-zA-Z0-9\-_:. ]", bad_value="[^\u0020-\ud7ff\ue000-\ufffd]")

_LONGEST_TAG = 60


@dataclasses.dataclass(frozen=True)
class Marks:
    """`director` is this director's mark."""

    director: str

    @property
    def tag(self) -> str:
        """The mark as a tag: of machines (60 characters, no comma or slash), of images, and as description of ports."""
        text = "director=" + self.director.replace(",", "-").replace("/", "-")
        if len(text) <= _LONGEST_TAG:
            return text
        return text[: _LONGEST_TAG - 9] + "-" + hashlib.sha256(text.encode()).hexdigest()[:8]

    def metadata(self, token: str, shape: str, others: Mapping[str, object]) -> dict[str, str]:
        """Of a new resource: ours, and what the caller wants, as the services take it."""
        return tags.clean({**others, tags.TOKEN: token, tags.SHAPE: shape, "director": self.director}, RULES)

    def replaced(self, there: Mapping[str, str], others: Mapping[str, object]) -> dict[str, str]:
        """New metadata for a resource that has `there`: ours stay, so that it can be found."""
        kept = {key: value for key, value in there.items() if key in OURS}
        return tags.clean({**others, "director": self.director, **kept}, RULES)


def shape(*parts: object) -> str:
    """A short digest of what a request asks for: the same token with another one is a Conflict."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shape_of(request: VmRequest) -> str:
    """Of a machine: what would make it another one."""
    networks = [(item.name, item.type, item.ip, dict(item.cloud_properties)) for item in request.networks]
    return shape(request.agent_id, request.stemcell_cid, dict(request.cloud_properties), networks, sorted(request.disk_cids))


def same(token: str, wanted: str, metadata: Mapping[str, str], cid: str) -> None:
    """Raises Conflict when the token has made something else."""
    if metadata.get(tags.SHAPE, wanted) != wanted:
        raise Conflict(f"the token '{token}' has made {cid} with other arguments", resource=cid)
