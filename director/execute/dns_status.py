"""How far the DNS records have come, and what one machine's resolver makes of a name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from director.diagnostics import Diagnostic
from director.errors import MachineError, NotFoundError
from director.execute.context import Context
from director.state import Store
from director.state.instances import InstanceRow


@dataclasses.dataclass(frozen=True)
class Behind:
    """A machine without the newest records. `version` is what it has, 0 for none; `since` when the first that it lacks was made."""

    deployment: str
    instance: str
    version: int
    since: float | None


@dataclasses.dataclass(frozen=True)
class Standing:
    """`machines` counts all that are to have records, `current` those with the newest `version` (0: there are none yet)."""

    version: int
    published_at: float | None
    machines: int
    current: int
    behind: Sequence[Behind]


def standing(store: Store) -> Standing:
    """As the machines have acknowledged it; asks none of them."""
    latest = store.dns.latest()
    rows = {row.id: row for row in store.instances.all()}
    machines = [rows[vm.instance_id] for vm in store.vms.all() if vm.active and vm.instance_id in rows]
    if latest is None:
        return Standing(0, None, len(machines), 0, ())
    late = sorted((row for row in machines if row.dns_version < latest.version), key=lambda row: (row.deployment, row.group, row.index))
    since = {version: store.dns.since(version) for version in {row.dns_version for row in late}}
    behind = tuple(Behind(row.deployment, row.name, row.dns_version, since[row.dns_version]) for row in late)
    return Standing(latest.version, latest.created_at, len(machines), len(machines) - len(late), behind)


def explain(ctx: Context, row: InstanceRow, name: str, kind: str) -> str:
    """Why the instance's resolver answers as it does, as JSON in the result output. Raises NotFoundError, MachineError."""
    vm = ctx.store.vms.active_of(row.id)
    if vm is None:
        raise NotFoundError(f"Instance '{row.name}' has no VM", suggestion="Start it first.")
    try:
        told = ctx.agent(vm).explain_name(name, kind)
    except MachineError as error:
        raise type(error)(Diagnostic(
            f"{row.name}: {error.message}", suggestion="Is the job bosh-dns on it, and does it run? See `caisson instances --ps`.",
        )) from error
    ctx.log.result(json.dumps({"instance": row.name, **told}))
    return ""
