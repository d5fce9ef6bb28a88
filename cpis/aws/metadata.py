"""Tags: the deployment's metadata in the form that EC2 takes, and our own marks, by which things are found again.

Source: CPI contract, sections 2, 4.1 and 6.1 (key of 127, value of 255 characters at most), "Tag restrictions" in the EC2 user guide.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cpis.aws.api import Api
from cpis.aws.driver import numbered_tags
from cpis.cloud.tags import SHAPE, TOKEN, Rules, clean
from cpis.contract import CpiError, Properties

RULES = Rules(50, 127, 255, bad_key=r"[^\w +\-=.:/@]", bad_value=r"[^\w +\-=.:/@]", first_of_key=r"(?i)(?!aws:)", key_prefix="x-")
PART = "caisson-part"
ROUTES = "caisson-routes"
IMAGE = "caisson-image"
_SETTLING_SECONDS = 60.0
OURS = ("director", TOKEN, SHAPE, PART, ROUTES, IMAGE)
"""Tags that stay when metadata is replaced."""


def shape(*parts: Any) -> str:
    """A digest of what a thing was asked to be."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def tags(metadata: Mapping[str, object], ours: Mapping[str, str], extra: Properties | None = None) -> dict[str, str]:
    """All tags of a thing: `extra` are those of cloud_properties, which metadata overrides; `ours` are always there."""
    first = clean({"Name": _name(metadata), **ours}, RULES)
    others = {key: value for key, value in {**(extra or {}), **metadata}.items() if RULES.key(str(key)) not in first}
    return {**first, **clean(others, dataclasses.replace(RULES, max_count=RULES.max_count - len(first)))}


def _name(metadata: Mapping[str, object]) -> str:
    """What the console shows. Source: CPI contract, section 2, `set_vm_metadata`."""
    if metadata.get("name"):
        return str(metadata["name"])
    if metadata.get("compiling"):
        return f"compiling/{metadata['compiling']}"
    job, index = metadata.get("job"), metadata.get("index")
    return f"{job}/{index}" if job and index not in (None, "") else ""


def specifications(kinds: Mapping[str, Mapping[str, str]], first: int = 1) -> dict[str, str]:
    """`TagSpecification` parameters of a creating request, numbered from `first`: tags by type of resource."""
    result = {}
    for number, (kind, found) in enumerate(kinds.items(), first):
        result[f"TagSpecification.{number}.ResourceType"] = kind
        result.update(numbered_tags(f"TagSpecification.{number}.Tag", found))
    return result


def changes(now: Mapping[str, str], metadata: Mapping[str, object]) -> tuple[dict[str, str], Sequence[str]]:
    """(tags to set, keys to delete) so that the metadata is this and our own marks stay."""
    wanted = tags(metadata, {key: now[key] for key in OURS if key in now})
    if "Name" not in wanted and "Name" in now:
        wanted["Name"] = now["Name"]
    stale = [key for key in now if key not in wanted and not key.startswith("aws:")]
    return {key: value for key, value in wanted.items() if now.get(key) != value}, stale


def replace(api: Api, cid: str, now: Mapping[str, str], metadata: Mapping[str, object]) -> None:
    """Make the metadata of something this: two requests at most, none when it is. A thing just made may not be known to all servers yet."""
    wanted, stale = changes(now, metadata)
    if wanted:
        api.do("CreateTags", lambda driver: driver.ex_create_tags(cid, wanted), also=_not_there_yet, patience=_SETTLING_SECONDS)
    if stale:
        params = {"ResourceId.1": cid, **{f"Tag.{number}.Key": key for number, key in enumerate(stale, 1)}}
        api.ask("DeleteTags", params, also=_not_there_yet, patience=_SETTLING_SECONDS)


def _not_there_yet(error: CpiError) -> bool:
    return error.code.endswith(".NotFound")
