"""Whether two plans do the same. A digest is keyed, since what it is made of holds literal secrets of manifests."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Iterator

from director.plan.model import Action, Plan
from director.plan.outline import outline, to_json


def digest(plan: Plan, key: bytes = b"", *, specs: bool = True) -> str:
    """`sha256:HEX`. Equal for plans that do the same for the same reasons to the same specs. Not counted: places of reasons, what the
    machines' processes are called, warnings, how long it takes, and which packages are compiled already, since others may compile them
    meanwhile. `specs=False` leaves out what instances should be, and counts only what is done to them."""
    shape = to_json(outline(plan))
    kept = {name: shape[name] for name in ("deployment", "removed_groups", "runs")}
    changes = []
    for change in shape["changes"]:
        changes.append({name: value for name, value in change.items() if name != "processes"} | {
            "reasons": [[item["kind"], item["text"], item["before"], item["after"]] for item in change.get("reasons", ())]})
    text = json.dumps([kept, changes, list(_specs(plan)) if specs else []], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _specs(plan: Plan) -> Iterator[str]:
    """What the changed instances should be, with placeholders unresolved. Jobs and packages are shared by the instances of a group, and are
    digested once for them."""
    shared: dict[int, str] = {}
    for change in plan.changes:
        if change.action is Action.KEEP or change.spec is None:
            continue
        spec = change.spec
        for part in (spec.jobs, spec.packages):
            if id(part) not in shared:
                shared[id(part)] = _sha256(part)
        yield _sha256([shared[id(spec.jobs)], shared[id(spec.packages)], dataclasses.replace(spec, jobs=(), packages=())])


def _sha256(value: object) -> str:
    try:
        text = json.dumps(value, sort_keys=True, default=_plain, separators=(",", ":"))
    except TypeError:  # numbers beside texts as keys of one map have no order; as they are written they have one
        text = json.dumps(value, default=_plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    return vars(value) if dataclasses.is_dataclass(value) else str(value)
