"""Who uses what a config offers: nothing that machines stand on is taken away under them.

The reference accepts any map and lets the next deploy fail. See `docs/decisions/2026-11-27-configs-in-use.md`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from director.diagnostics import Diagnostic
from director.errors import ConflictError, ManifestError
from director.manifest.load import load_yaml
from director.state import store as state_store

IN_USE = 440011
SHOWN = 5

Tree = dict[Any, Any]


@dataclasses.dataclass(frozen=True)
class Offer:
    """What configs of one type offer by name. A part is None where a placeholder stands for all of it, so that nobody can tell.

    `azs` map to the CPI they name ('' for none), `cpis` and their older names to the present ones."""

    azs: Mapping[str, str] | None = None
    networks: frozenset[str] | None = None
    cpis: Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class _User:
    """An instance with what is there for it."""

    deployment: str
    label: str
    az: str
    networks: frozenset[str]
    cpis: frozenset[str]


def check_update(store: state_store.Store, type_: str, name: str, content: str) -> None:
    """Raises ConflictError when instances need what the config offers now and would not with that content."""
    now = _current(store, type_)
    _check(store, type_, now, {**now, name or "default": content})


def check_removal(store: state_store.Store, type_: str, *, name: str = "", version: int = 0) -> None:
    """The same for a config that goes with all its versions, or whose version (an id) does, so that the one before it is in force."""
    now = _current(store, type_)
    after = dict(now)
    if version:
        versions = store.configs.select(type=type_, limit=2)
        name = next((row.name for row in versions if row.id == version and row.current), "")
        before = next((row.content for row in versions if row.name == name and row.id != version), None)
        after |= {name: before} if name and before is not None else {}
        if not name or before is not None:
            return _check(store, type_, now, after)
    after.pop(name, None)
    return _check(store, type_, now, after)


def _current(store: state_store.Store, type_: str) -> dict[str, str]:
    return {row.name: row.content for row in store.configs.current(type_)}


def _check(store: state_store.Store, type_: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    if type_ in ("cloud", "cpi"):
        old, new = _offer(type_, before.values()), _offer(type_, after.values())
        problems = [*_problems(old, new, _users(store), _migrations(store)), *_left_behind(store, old, new)]
        if problems:
            raise ConflictError(*problems)


def _offer(type_: str, texts: Iterable[str]) -> Offer:
    trees = [tree for text in texts if (tree := _tree(text)) is not None]
    if type_ == "cpi":
        cpis = _items(trees, "cpis")
        return Offer(cpis=None if cpis is None else {name: str(item["name"]) for item in cpis for name in _names(item)})
    azs, networks = _items(trees, "azs"), _items(trees, "networks")
    return Offer(
        azs=None if azs is None else {str(item["name"]): str(item.get("cpi") or "") for item in azs},
        networks=None if networks is None else frozenset(str(item["name"]) for item in networks),
    )


def _tree(text: str) -> Tree | None:
    try:
        tree = load_yaml(text, "config").tree
    except ManifestError:
        return None
    return tree if isinstance(tree, dict) else None


def _items(trees: Iterable[Tree], key: str) -> list[Tree] | None:
    """The maps of a list over all documents; None when one of them has a placeholder there."""
    found: list[Tree] = []
    for tree in trees:
        value = tree.get(key)
        if isinstance(value, str):
            return None
        found += [item for item in value or () if isinstance(item, dict) and "name" in item] if isinstance(value, list) else []
    return found


def _names(cpi: Tree) -> Iterator[str]:
    yield str(cpi["name"])
    older = cpi.get("migrated_from")
    for entry in older if isinstance(older, list) else ():
        if isinstance(entry, dict) and "name" in entry:
            yield str(entry["name"])


def _migrations(store: state_store.Store) -> Mapping[str, str]:
    """CPI names and older ones -> present names."""
    return _offer("cpi", _current(store, "cpi").values()).cpis or {}


def _users(store: state_store.Store) -> list[_User]:
    """Instances that have a machine or a disk."""
    vms = [row for row in store.vms.all() if row.instance_id]
    disks = [row for row in store.disks.all() if row.instance_id]
    networks: dict[str, set[str]] = {}
    cpis: dict[str, set[str]] = {}
    for vm in vms:
        networks.setdefault(vm.instance_id or "", set()).update(str(item.get("name")) for item in vm.networks if item.get("name"))
        cpis.setdefault(vm.instance_id or "", set()).add(vm.cpi)
    for disk in disks:
        cpis.setdefault(disk.instance_id or "", set()).add(disk.cpi)
    return [
        _User(row.deployment, row.label, row.az, frozenset(networks.get(row.id, ())), frozenset(cpis[row.id]))
        for row in store.instances.all() if row.id in cpis
    ]


def _problems(old: Offer, new: Offer, users: Sequence[_User], migrations: Mapping[str, str]) -> Iterator[Diagnostic]:
    azs, after = old.azs or {}, new.azs
    if after is not None:
        for name in azs:
            if name not in after:
                yield from _lost(f"Availability zone '{name}'", [user for user in users if user.az == name])
            elif after[name] != azs[name]:
                yield from _moved(name, azs[name], after[name], users, migrations)
    if new.networks is not None:
        for name in sorted((old.networks or frozenset()) - new.networks):
            yield from _lost(f"Network '{name}'", [user for user in users if name in user.networks])
    if new.cpis is not None:
        for name in old.cpis or {}:
            if name not in new.cpis:
                hint = "Or rename it: list the old name in migrated_from of the new one. "
                yield from _lost(f"CPI '{name}'", [user for user in users if name in user.cpis], hint)


def _moved(az: str, before: str, after: str, users: Sequence[_User], migrations: Mapping[str, str]) -> Iterator[Diagnostic]:
    """A zone that names another CPI than the one which made its machines, and not a newer name of that."""
    stuck = [user for user in users if user.az == az and any(migrations.get(cpi, cpi) != after for cpi in user.cpis)]
    if stuck:
        yield Diagnostic(
            f"Availability zone '{az}' moves from {_cpi(before)} to {_cpi(after)}, away from {_count(stuck)}: {_named(stuck)}", code=IN_USE,
            suggestion="Make a new zone with the other CPI, deploy with it, then remove this one. With --force it is done all the same.",
        )


def _left_behind(store: state_store.Store, old: Offer, new: Offer) -> Iterator[Diagnostic]:
    """What nobody uses and only that CPI can delete."""
    for name in old.cpis or {} if new.cpis is not None else ():
        disks = [row.cid for row in store.disks.orphans() if row.cpi == name]
        vms = [row.cid for row in store.vms.orphans() if row.cpi == name]
        if (disks or vms) and name not in (new.cpis or {}):
            parts = [_counted(len(disks), "orphaned disk"), _counted(len(vms), "orphaned machine")]
            yield Diagnostic(
                f"CPI '{name}' still has {' and '.join(filter(None, parts))}: {_some([*disks, *vms])}", code=IN_USE,
                suggestion="Delete them first with `caisson clean-up --all`. With --force it is removed all the same, and they stay there.",
            )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])


def _cpi(name: str) -> str:
    return f"CPI '{name}'" if name else "the director's own CPI"


def _lost(what: str, users: Sequence[_User], hint: str = "") -> Iterator[Diagnostic]:
    if users:
        yield Diagnostic(
            f"{what} is used by {_count(users)}: {_named(users)}", code=IN_USE,
            suggestion=f"Deploy without it first, then remove it. {hint}With --force it is removed all the same.",
        )


def _count(users: Sequence[_User]) -> str:
    return _counted(len(users), "instance")


def _named(users: Sequence[_User]) -> str:
    """Every deployment; of each the first few instances."""
    parts = []
    for deployment in dict.fromkeys(user.deployment for user in users):
        parts.append(f"deployment '{deployment}' ({_some([user.label for user in users if user.deployment == deployment])})")
    return "; ".join(parts)
