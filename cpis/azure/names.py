"""Names of things, all derived from the token, and CIDs, which say by themselves where a thing is.

CIDs have the form of BOSH's CPI: `agent_id:NAME;resource_group_name:GROUP` and so on, in lower case, since Azure's ids have no case. A CID
without colons is a name in the resource group of the CPI config.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from cpis.azure.settings import Settings
from cpis.cloud.tags import FORCED, SHAPE, TOKEN, Rules, clean
from cpis.contract import Invalid

VM = "Microsoft.Compute/virtualMachines"
DISK = "Microsoft.Compute/disks"
SNAPSHOT = "Microsoft.Compute/snapshots"
IMAGE = "Microsoft.Compute/images"
GALLERY = "Microsoft.Compute/galleries"
SETS = "Microsoft.Compute/availabilitySets"
NIC = "Microsoft.Network/networkInterfaces"
PIP = "Microsoft.Network/publicIPAddresses"
VNET = "Microsoft.Network/virtualNetworks"
NSG = "Microsoft.Network/networkSecurityGroups"
ASG = "Microsoft.Network/applicationSecurityGroups"

CACHING = "caching"
PUBLIC = "caisson-public"
"""The tag of machines that a public address was made for."""
KEPT = "caisson-kept"
"""The tag that lists the tags of the machine's type, which new metadata does not take away."""

# Names begin with a letter of no reserved word; `<>%&\\?/` are forbidden in them. Source: Azure's limits for tags.
RULES = Rules(
    50, 512, 256, bad_key=r"[<>%&\\?/\x00-\x1f]+", bad_value=r"[\x00-\x1f]+", first_of_key=r"(?i)(?!microsoft|azure|windows)",
    key_prefix="n-")
_NAME = re.compile(r"[\w][\w.\-]{0,89}")
_PART = re.compile(r"[\w.\-()]{1,90}")


@dataclasses.dataclass(frozen=True)
class Ref:
    """A resource by its name and resource group. `caching` is that of a persistent disk."""

    name: str
    group: str
    caching: str = "None"


def vm_cid(name: str, group: str) -> str:
    return f"agent_id:{name.lower()};resource_group_name:{group.lower()}"


def disk_cid(name: str, group: str, caching: str) -> str:
    return f"caching:{caching};disk_name:{name.lower()};resource_group_name:{group.lower()}"


def snapshot_cid(name: str, group: str) -> str:
    return f"resource_group_name:{group.lower()};snapshot_name:{name.lower()}"


def parts_of(cid: str) -> dict[str, str]:
    """`a:b;c:d` as a mapping; a plain name under the key ``."""
    if ":" not in cid:
        return {"": cid}
    return {key: value for key, _, value in (item.partition(":") for item in cid.split(";"))}


def ref_of(settings: Settings, cid: str, key: str) -> Ref:
    """The resource of a CID; `key` is what its name is called in it. Raises Invalid for what can be none."""
    parts = parts_of(cid)
    name, group = parts.get(key) or parts.get("") or "", parts.get("resource_group_name") or settings.group
    if not _NAME.fullmatch(name) or not _PART.fullmatch(group):
        raise Invalid(f"'{cid}' is no CID of Azure", resource=cid)
    return Ref(name, group, parts.get(CACHING) or "None")


def split(identity: str) -> tuple[str, str]:
    """Resource group and name of an id, in lower case."""
    pieces = identity.lower().strip("/").split("/")
    return pieces[3], pieces[7]


def same(one: str, other: str) -> bool:
    """Whether two ids are one thing's."""
    return one.lower().rstrip("/") == other.lower().rstrip("/")


def nic_name(vm: str, number: int) -> str:
    return f"{vm}-nic-{number}"


def os_disk_name(vm: str) -> str:
    return f"{vm}-os"


def ephemeral_name(vm: str) -> str:
    return f"{vm}-ephemeral"


def public_ip_name(vm: str) -> str:
    return f"{vm}-ip"


def upload_name(stemcell: str) -> str:
    return f"{stemcell}-upload"


OF_A_VM = re.compile(r"(.+?)(?:-nic-\d+|-os|-ephemeral|-ip)")
"""Names of what belongs to a machine."""
OF_A_STEMCELL = re.compile(r"(.+)-upload")


def checked(token: str) -> str:
    """The token as a name. Raises Invalid for one that cannot be part of names here."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}", token):
        raise Invalid(f"the token '{token}' must have at most 60 characters a-z, 0-9 and -")
    return token


def shape_of(**what: Any) -> str:
    """A short digest of what was asked for, to tell the same request from another with the same token."""
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tags_of(
    metadata: Mapping[str, Any], settings: Settings, token: str, shape: str = "", more: Mapping[str, Any] | None = None,
    lasting: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """The tags of a new thing: metadata, with token and mark on top. `lasting` are those of the machine's type."""
    lasting = dict(lasting or {})
    forced: dict[str, Any] = {"director": settings.director, TOKEN: token, SHAPE: shape, **(more or {})}
    if lasting:
        forced[KEPT] = ",".join(sorted(RULES.key(str(key)) for key in lasting))
    return _fold({**metadata, **lasting}, forced)


def tags_anew(metadata: Mapping[str, Any], old: Mapping[str, str]) -> dict[str, str]:
    """The tags of a thing whose metadata is replaced: what makes it findable stays, and the tags of its type."""
    known = {key.lower(): key for key in old}
    kept = [item for item in old.get(known.get(KEPT, ""), "").split(",") if item]
    stay = {key: old[known[key.lower()]] for key in ("director", TOKEN, SHAPE, CACHING, PUBLIC, KEPT, *kept) if key.lower() in known}
    return _fold(metadata, stay)


def _fold(metadata: Mapping[str, Any], forced: Mapping[str, Any]) -> dict[str, str]:
    """Clean; names of tags have no case, so of two that differ by it the first in the order of importance stays."""
    room = Rules(RULES.max_count - len(forced), RULES.max_key, RULES.max_value, RULES.bad_key, RULES.bad_value,
                 key_prefix=RULES.key_prefix, first_of_key=RULES.first_of_key)
    taken = {key.lower() for key in forced}
    chosen: dict[str, Any] = {}
    for key in sorted(metadata, key=lambda key: (key not in FORCED, str(key))):
        folded = RULES.key(str(key)).lower()
        if folded not in taken and metadata[key] not in (None, ""):
            taken.add(folded)
            chosen[key] = metadata[key]
    return {**clean(chosen, room), **clean(forced, RULES)}
