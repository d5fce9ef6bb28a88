"""What a plan rests on, as short texts that can be kept, compared and shown: versions, ids, and keyed digests of what may be secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from director.execute.context import Context
from director.execute.prepare import Prepared
from director.plan import model
from director.plan.shown import PLACEHOLDER
from director.release.model import Release
from director.variables import names

Tree = dict[str, Any]
SHORT = 16


def configs(ctx: Context) -> dict[str, Tree]:
    """The configs that a deploy would use now."""
    return {
        f"{kind}-config '{row.name}'": {"version": str(row.id)}
        for kind in ("cloud", "runtime", "cpi") for row in ctx.store.configs.current(kind)
    }


def facts(ctx: Context, prepared: Prepared) -> dict[str, Tree]:
    """Everything that must still be so when the plan is carried out, and what may explain why it became another one."""
    request = prepared.blueprint.request
    found = {**configs(ctx), "the director": _director(ctx, request)}
    found |= dict(_deployment(ctx, prepared))
    found |= {f"release '{item.name}'": {"version": item.version, "content": _digest(ctx, _content(item))} for item in request.releases}
    found |= dict(_stemcells(ctx, prepared))
    found |= dict(_variables(ctx, prepared))
    for item in request.observed:
        found[f"instance {item.group}/{item.id}"] = _instance(ctx, item)
        if item.vm is not None:
            found[f"agent {item.group}/{item.id}"] = {"state": item.vm.agent_state}
    found |= {
        f"shared link '{item.name}' ({item.type}) of {item.deployment}/{item.group}": {"content": _digest(ctx, item.content)}
        for item in request.shared_providers
    }
    return found


def _director(ctx: Context, request: model.Request) -> Tree:
    return {
        "name": ctx.director.name, "domain": request.domain, "trusted certificates": request.trusted_certs_sha1[:SHORT],
        "DNS addresses": "used" if request.director_use_dns_addresses else "",
    }


def _deployment(ctx: Context, prepared: Prepared) -> Iterator[tuple[str, Tree]]:
    row = ctx.store.deployments.find(prepared.manifest.name)
    if row is not None and row.succeeded:
        yield f"deployment '{row.name}'", {"last success": _digest(ctx, [row.manifest, row.resolved, row.variable_set_id])}


def _content(release: Release) -> list[list[str]]:
    return [
        *sorted([item.name, item.version, item.fingerprint, item.digest] for item in release.jobs),
        *sorted([item.name, item.version, item.fingerprint, item.digest] for item in release.packages),
    ]


def _stemcells(ctx: Context, prepared: Prepared) -> Iterator[tuple[str, Tree]]:
    used = {(item.spec.stemcell_name, item.spec.stemcell_version) for item in prepared.blueprint.instances}
    by_name: dict[str, list[str]] = {}
    for name, version in sorted(used):
        images = ", ".join(row.cid for row in ctx.store.stemcells.on_all_cpis(name, version))
        by_name.setdefault(name, []).append(f"{version} ({images})")
    yield from ((f"stemcell '{name}'", {"version": ", ".join(versions)}) for name, versions in by_name.items())


def _variables(ctx: Context, prepared: Prepared) -> Iterator[tuple[str, Tree]]:
    """Of every variable that is named anywhere: which version is the newest. Ids are no secrets."""
    texts = [prepared.wanted.manifest, *(document.text for document in (*prepared.configs.cloud, *prepared.configs.runtime))]
    told = {match[2:-2].strip().removeprefix("!").split(".")[0] for text in texts for match in PLACEHOLDER.findall(text)}
    told |= {variable.name for variable in prepared.manifest.variables}
    full = sorted(names.absolute(name, ctx.director.name, prepared.manifest.name) for name in told if name)
    rows = ctx.store.variables.latest_of(full)
    yield from ((f"variable {name}", {"version": rows[name].id if name in rows else "not made yet"}) for name in full)


def _instance(ctx: Context, item: model.ObservedInstance) -> Tree:
    place = {
        "index": str(item.index), "AZ": item.az, "state": item.state, "ignored": "yes" if item.ignored else "no",
        "machine": item.vm.cid if item.vm else "none",
        "disks": ", ".join(sorted(f"{disk.cid} ({disk.size_mib} MiB)" for disk in item.disks)),
        "addresses": ", ".join(sorted(held.ip for held in item.reservations if held.ip)),
    }
    if item.vm is None:
        return place
    complete = "not complete" if item.dirty else "complete"
    return {**place, "last update": complete, "content": _digest(ctx, item.applied) if item.applied else "nothing"}


def _digest(ctx: Context, value: Any) -> str:
    """Keyed, so that it tells nothing about a short secret."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hmac.new(ctx.director.secret, text.encode(), hashlib.sha256).hexdigest()[:SHORT]
