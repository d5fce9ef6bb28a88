"""A prepared plan as it is told: with what it may take, and with known secrets taken out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from director.execute.context import Context
from director.execute.past import past
from director.execute.prepare import Prepared
from director.plan.expect import expected
from director.plan.model import Reason
from director.plan.outline import Outline, outline, reason_json


def told(ctx: Context, prepared: Prepared) -> Outline:
    """What is shown, kept and sent. Secrets are not in reasons to begin with; values that the vault knows are replaced all the same,
    for one may have been written where none was expected."""
    found = expected(outline(prepared.plan, prepared.blueprint, prepared.warnings), past(ctx, prepared.manifest.name))
    return dataclasses.replace(
        found, warnings=tuple(ctx.redact(text) for text in found.warnings),
        entries=tuple(dataclasses.replace(entry, reasons=redacted(ctx, entry.reasons)) for entry in found.entries))


def redacted(ctx: Context, reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Reasons as they may be shown and recorded."""
    return tuple(
        dataclasses.replace(item, text=ctx.redact(item.text), before=ctx.redact(item.before), after=ctx.redact(item.after), paths=())
        for item in reasons)


def recorded(ctx: Context, reasons: Iterable[Reason]) -> dict[str, Any]:
    """What events remember of a change: the kinds, as the reference's events have them, and the whole reasons.

    Source: planning contract, section 25.
    """
    reasons = redacted(ctx, reasons)
    return {"changes": [item.kind for item in reasons], "reasons": [reason_json(item) for item in reasons]}
