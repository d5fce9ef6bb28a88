"""`why`: what the recorded events say of an instance: when it was changed, for which reasons, by which task and user."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import click

from director.cli.client import DirectorError
from director.cli.session import Session
from director.cli.verb import instance_of, verb
from director.cli.verbs.tasks import when
from director.errors import NotFoundError
from director.plan.explain import duration_text, reason_text
from director.plan.outline import reason_of

PAGE = 200
MOST = 1_000_000
UNKNOWN_INSTANCE, UNKNOWN_DEPLOYMENT = 70001, 70000
KEPT = "The director keeps the newest 10,000 events; what was done before them is not known any more."


@dataclasses.dataclass(frozen=True)
class Done:
    """One thing that was done to the instance. `ended_at` is None while it goes on, or when its director died."""

    instance: str
    action: str
    began_at: float
    ended_at: float | None
    user: str
    task: str
    error: str
    az: str
    index: int | None
    migrated_from: str
    reasons: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "reasons": list(self.reasons)}


@verb(examples=("caisson -d app why web/0", "caisson -d app why web/0 --all", "caisson -d app why web/0 -n 3 --json"))
@click.argument("slug", metavar="INSTANCE-GROUP/INSTANCE-ID")
@click.option("--all", "everything", is_flag=True, help="All that is recorded, not only the last change")
@click.option("-n", "--number", type=click.IntRange(min=1), help="So many of the last changes [1]")
def command(session: Session, slug: str, everything: bool, number: int | None) -> None:
    """Tell why an instance was last changed, by whom and when; of deleted ones too."""
    group, instance = instance_of(slug)
    deployment = session.deployment()
    name = _name(session, deployment, group, instance)
    done = list(_history(session, deployment, name)) if name else []
    if not done:
        raise NotFoundError(
            f"Nothing is recorded of '{name or slug}' in deployment '{deployment}'",
            suggestion=f"{KEPT} `caisson -d {deployment} instances` lists the instances that are there.")
    shown = _chosen(done, MOST if everything else number or 1)
    if session.flags.json:
        session.ui.block(json.dumps([item.to_json() for item in shown], indent=2))
        return
    _show(session, shown, len(done) - len(shown))


def _chosen(done: list[Done], number: int) -> list[Done]:
    """The newest ones, and those before them that they only complete: of an update that was interrupted or failed the reasons stand in
    the first try."""
    while number < len(done) and (done[number].ended_at is None or done[number].error):
        number += 1
    return done[:number]


def _show(session: Session, shown: list[Done], more: int) -> None:
    first = shown[0]
    place = f" in {first.az}" if first.az else ""
    session.ui.block(f"{first.instance}{'' if first.index is None else f' ({first.index})'}{place}\n", "strong", kind="text")
    for item in shown:
        session.ui.block("\n" + _title(item) + "\n", kind="text")
        if item.migrated_from:
            session.ui.block(f"  was in instance group '{item.migrated_from}'\n", kind="text")
        for line in _reasons(item):
            session.ui.block(f"  {line}\n", kind="text")
        if item.error:
            session.ui.block(f"  failed: {item.error}\n", "bad", kind="text")
    if more:
        session.ui.line(f"{more} earlier changes are recorded: --all shows them.")


def _title(item: Done) -> str:
    by = f" by {item.user}" if item.user else ""
    task = f", task {item.task}" if item.task else ""
    took = f", took {duration_text(item.ended_at - item.began_at)}" if item.ended_at is not None else ", not ended"
    return f"{when(item.began_at)}: {item.action}{by}{task}{took}"


def _reasons(item: Done) -> list[str]:
    if item.reasons:
        return [reason_text(reason_of(reason)) for reason in item.reasons]
    return ["no reason was recorded"]


def _history(session: Session, deployment: str, name: str) -> Iterator[Done]:
    """Newest first; under earlier names too, for one that came from another instance group."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        seen.add(current)
        for item in _done(list(_events(session, deployment, instance=current))):
            yield item
            earlier = f"{item.migrated_from}/{current.partition('/')[2]}"
            if item.migrated_from and earlier not in seen and earlier not in todo:
                todo.append(earlier)


def _done(events: list[dict[str, Any]]) -> Iterator[Done]:
    ends = {event["parent_id"]: event for event in events if event.get("parent_id")}
    known = {event["id"] for event in events}
    for event in events:
        parent = event.get("parent_id")
        if parent in known:
            continue
        end = event if parent else ends.get(event["id"])
        context = event.get("context") or {}
        reasons = context.get("reasons") or [{"kind": str(kind), "text": "changed"} for kind in context.get("changes") or ()]
        yield Done(
            str(event.get("instance") or event.get("object_name")), str(event["action"]), float(event["timestamp"]),
            None if end is None else float(end["timestamp"]), str(event.get("user") or ""), str(event.get("task") or ""),
            str((end or {}).get("error") or ""), str(context.get("az") or ""), context.get("index"),
            str(context.get("migrated_from") or ""), tuple(item for item in reasons if isinstance(item, dict) and "kind" in item))


def _name(session: Session, deployment: str, group: str, instance: str) -> str:
    """`GROUP/UUID`: of an instance that is there, or of the last one that had this index; '' when there was none."""
    if not re.fullmatch(r"\d{1,9}", instance):
        return f"{group}/{instance}"
    try:
        return f"{group}/{session.client.instance(deployment, group, instance)['id']}"
    except DirectorError as error:
        if error.code not in (UNKNOWN_INSTANCE, UNKNOWN_DEPLOYMENT):
            raise
    for event in _events(session, deployment):
        name = str(event.get("instance") or "")
        if name.startswith(f"{group}/") and (event.get("context") or {}).get("index") == int(instance):
            return name
    return ""


def _events(session: Session, deployment: str, **query: str) -> Iterator[dict[str, Any]]:
    """Page by page, newest first."""
    before: str | None = None
    while True:
        page = session.client.events({"deployment": deployment, "object_type": "instance", "before_id": before, **query})
        yield from page
        if len(page) < PAGE:
            return
        before = str(page[-1]["id"])
