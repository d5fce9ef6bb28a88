"""What carries this director's mark in its clouds and stands in no record: found, and removed by name. Source: CPI contract, section 4.1.

A thing belongs to a record when its CID does, or when it shares its token with a thing whose CID does (a machine's network card), or when
its token is that of an effect under way. A second machine, disk or snapshot of one token belongs to none: it came of a request that was
given up and sent anew, long after. Clouds are asked before the records are read: what is made in between is in neither.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cpis import contract
from director.diagnostics import Diagnostic
from director.errors import CaissonError, CloudError
from director.execute.clouds import translated
from director.execute.context import Context
from director.state import Store

YOUNG_SECONDS = 900.0
"""The longest that a creation takes; what is younger may belong to one that nobody has written down yet."""

_ONE_FOR_A_TOKEN = ("vm", "disk", "snapshot")
_ORDER = ("vm", "snapshot", "disk", "network", "stemcell")


@dataclasses.dataclass(frozen=True)
class Orphan:
    """`age_seconds` is None when the cloud does not tell. `cid` is empty when only a token is known."""

    cpi: str
    kind: str
    cid: str
    token: str
    age_seconds: float | None
    metadata: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Found:
    """`young` counts things that are left alone for their age; `silent` are clouds that did not answer, with their errors."""

    orphans: tuple[Orphan, ...]
    young: int
    silent: tuple[Diagnostic, ...]


def find(ctx: Context, only: str | None = None) -> Found:
    """Look in all clouds, or in one."""
    things: list[tuple[str, contract.Found]] = []
    silent: list[Diagnostic] = []
    for name in _names(ctx) if only is None else (only,):
        ctx.check()
        try:
            with translated(f"Listing what is in {_words(name)}"):
                things += [(name, item) for item in ctx.cpi(name).owned()]
        except CloudError as error:
            if only is not None:
                raise
            silent.extend(error.diagnostics)
    unknown = _unknown(ctx.store, things)
    quiet = not any(row.effect.startswith("create_") for row in ctx.store.journal.open())
    now = ctx.clock()
    orphans = [
        Orphan(name, item.kind, item.cid, item.token, None if item.created_at is None else max(0.0, now - item.created_at), item.metadata)
        for name, item in unknown
    ]
    old = [item for item in orphans if (quiet if item.age_seconds is None else item.age_seconds >= YOUNG_SECONDS)]
    return Found(tuple(sorted(old, key=_order)), len(orphans) - len(old), tuple(silent))


def _names(ctx: Context) -> list[str]:
    """Each cloud once: the director's own, too, when it has another name in the CPI config or none."""
    names = list(ctx.clouds.names())
    if "" not in names and not any("" in ctx.clouds.aliases(name) for name in names):
        names.append("")
    return names


def _unknown(store: Store, things: Sequence[tuple[str, contract.Found]]) -> list[tuple[str, contract.Found]]:
    cids = {
        *(row.cid for row in store.vms.all()), *(row.cid for row in store.vms.orphans()), *(row.cid for row in store.disks.all()),
        *(row.cid for row in store.disks.snapshots()), *(row.cid for row in store.stemcells.all()),
        *(row.cid for row in store.networks.subnets()),
    }
    under_way = {row.token for row in store.journal.open()}
    recorded = {(item.token, item.kind) for _, item in things if item.token and item.cid in cids}
    owners = {token for token, _ in recorded}

    def is_part(item: contract.Found) -> bool:
        return item.token in owners and not (item.kind in _ONE_FOR_A_TOKEN and (item.token, item.kind) in recorded)

    return [(name, item) for name, item in things if item.cid not in cids and item.token not in under_way and not is_part(item)]


def _order(orphan: Orphan) -> tuple[str, int, str]:
    return orphan.cpi, _ORDER.index(orphan.kind) if orphan.kind in _ORDER else len(_ORDER), orphan.cid


def list_orphans(ctx: Context, only: str | None = None) -> str:
    """A line of JSON for each in the result. Raises CloudError when a cloud did not answer, after the rest was told."""
    stage = ctx.log.stage("Looking for what stands in no record", 1)
    with stage.step("all clouds" if only is None else _words(only)):
        found = find(ctx, only)
        for orphan in found.orphans:
            ctx.log.result(json.dumps(dataclasses.asdict(orphan)) + "\n")
        ctx.log.result(json.dumps({"young": found.young}) + "\n")
        if found.silent:
            raise CloudError(*found.silent)
    return f"{len(found.orphans)} found, {found.young} too young to tell"


def remove_orphans(ctx: Context, chosen: Sequence[Mapping[str, Any]]) -> str:
    """Delete those of the chosen (cpi, kind, cid; the token where there is no CID) that are orphans still. Raises CaissonError with all
    that could not be deleted."""
    wanted = {_name(*(str(item.get(key) or "") for key in ("cpi", "kind", "cid", "token"))) for item in chosen}
    found = [item for name in sorted({name[0] for name in wanted}) for item in find(ctx, name).orphans]
    doomed = [item for item in found if _name(item.cpi, item.kind, item.cid, item.token) in wanted]
    problems: list[Diagnostic] = []
    stage = ctx.log.stage("Deleting what stands in no record", len(doomed)) if doomed else None
    for orphan in doomed:
        assert stage is not None
        ctx.check()
        try:
            event = ctx.event("delete", f"orphan {orphan.kind}", orphan.cid or orphan.token, context={"cpi": orphan.cpi})
            with stage.step(f"{orphan.kind} {orphan.cid or orphan.token}"), event:
                _remove(ctx, orphan)
        except CloudError as error:
            problems.extend(error.diagnostics)
    if problems:
        raise CaissonError(*problems)
    left = len(wanted) - len(doomed)
    return f"Deleted {len(doomed)}" + (f", {left} had gone or had found their record" if left else "")


def _name(cpi: str, kind: str, cid: str, token: str) -> tuple[str, str, str, str]:
    return (cpi, kind, cid, "" if cid else token)


def _remove(ctx: Context, orphan: Orphan) -> None:
    cpi = ctx.cpi(orphan.cpi)
    with translated(f"Deleting {orphan.kind} {orphan.cid or orphan.token}", orphan.cpi):
        ways: dict[str, Callable[[str], None]] = {
            "vm": cpi.delete_vm, "disk": cpi.delete_disk, "snapshot": cpi.delete_snapshot, "stemcell": cpi.delete_stemcell,
        }
        if isinstance(cpi, contract.NetworkMaker):
            ways["network"] = cpi.delete_network
        if orphan.cid and orphan.kind in ways:
            ways[orphan.kind](orphan.cid)
        elif isinstance(cpi, contract.Remover):
            cpi.remove(contract.Found(orphan.kind, orphan.cid, orphan.token, orphan.metadata))
        else:
            raise contract.NotSupported(
                f"the {cpi.name} CPI cannot delete a {orphan.kind} by itself", resource=orphan.cid or orphan.token,
                suggestion="Delete it with the cloud's own tool.")


def _words(name: str) -> str:
    return f"CPI '{name}'" if name else "the director's own cloud"
