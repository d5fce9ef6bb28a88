"""Other names for records. Source: DNS contract, section 5 and its corrections."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

from .records import Records, packed_of
from .wire import Labels, labels_of

Target = Union[Labels, bytes]
"""A name, or the 4 or 16 bytes of an address."""

_FILTERS = {"smart": "0", "unhealthy": "1", "healthy": "3", "all": "4"}
_CHECKS = {"asynchronous": "y0", "synchronous": "y1"}
PLACEHOLDER = "_"
DEEPEST = 100


class BadAliases(Exception):
    """Aliases of files contradict themselves: an empty name, a target that is no text, a circle."""


class Aliases:
    """All aliases; those of files win over those of records. `of` answers in one look-up."""

    def __init__(self, files: Mapping[str, Sequence[str]], records: Records) -> None:
        """Raises BadAliases for those of files. Those of records that cannot be read give nothing."""
        self._exact: Dict[Labels, Tuple[Target, ...]] = {}
        self._suffix: Dict[Labels, Tuple[Target, ...]] = {}
        self._of_name: Dict[Labels, List[Labels]] = {}
        self._from_files: Set[Labels] = set()
        named: Dict[Labels, List[Target]] = {}
        for name, entries in records.raw_aliases.items():
            _expand(labels_of(str(name)), entries, records, named)
        flat = _flat(files)
        self._from_files = set(flat)
        for labels, targets in {**named, **flat}.items():
            unique = tuple(dict.fromkeys(targets))
            if labels[0] == PLACEHOLDER and len(labels) > 1:
                self._suffix[labels[1:]] = unique
                continue
            self._exact[labels] = unique
            for target in unique:
                if isinstance(target, tuple):
                    self._of_name.setdefault(target, []).append(labels)
        self.zones: Set[Labels] = {*self._exact, *self._suffix}

    def of(self, labels: Labels) -> Optional[Tuple[Target, ...]]:
        """The targets of a name, None when it is no alias."""
        targets = self._exact.get(labels)
        if targets is None and len(labels) > 1:
            targets = self._suffix.get(labels[1:])
            if targets is not None:
                return tuple([_with_label(target, labels[0]) for target in targets])
        return targets

    def origin(self, labels: Labels) -> str:
        """Where the alias comes from: `files` or `records`."""
        return "files" if labels in self._from_files or (PLACEHOLDER, *labels[1:]) in self._from_files else "records"

    def names_of(self, labels: Labels) -> Sequence[Labels]:
        """The aliases that target exactly that name."""
        return self._of_name.get(labels, ())


def follows_instances(records: Records) -> bool:
    """Whether other instances make other aliases."""
    return any(
        isinstance(entry, dict) and entry.get("placeholder_type") == "uuid"
        for entries in records.raw_aliases.values() if isinstance(entries, list)
        for entry in entries
    )


def _with_label(target: Target, label: str) -> Target:
    if isinstance(target, tuple) and target[0] == PLACEHOLDER:
        return (label, *target[1:])
    return target


def _expand(labels: Labels, entries: Any, records: Records, named: Dict[Labels, List[Target]]) -> None:
    """The aliases that one entry of the records file stands for; entries that cannot be read give nothing."""
    if not labels or not isinstance(entries, list):
        return
    named.setdefault(labels, [])
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        root, group_id = str(entry.get("root_domain") or ""), str(entry.get("group_id") or "")
        codes = "s" + _FILTERS.get(str(entry.get("health_filter")), "0") + _CHECKS.get(str(entry.get("initial_health_check")), "")
        group: Labels = ("q-g" + group_id, *labels_of(root))
        if entry.get("placeholder_type") != "uuid":
            named[labels].append(("q-" + codes, *group))
            continue
        for record in records.in_group(labels_of(root), group_id):
            name = labels_of(".".join(labels).replace(PLACEHOLDER, record.id, 1))
            named.setdefault(name, []).append(("q-m%s%s" % (record.num_id, codes), *group))
    if not named[labels]:
        # Nothing, or only names per instance, came of it: no alias and no zone.
        del named[labels]


def _flat(files: Mapping[str, Sequence[str]]) -> Dict[Labels, Tuple[Target, ...]]:
    """Aliases of files with aliases among the targets replaced by what those stand for. Raises BadAliases."""
    named: Dict[Labels, List[Target]] = {}
    for name, targets in files.items():
        labels = labels_of(name)
        if not labels:
            raise BadAliases("bad alias format: empty alias name")
        if not isinstance(targets, (list, tuple)) or not all(isinstance(target, str) and target.strip(".") for target in targets):
            raise BadAliases("the targets of alias %s are no list of names and addresses" % name)
        named[labels] = [_target(target) for target in targets]
    found: Dict[Labels, Tuple[Target, ...]] = {}
    for labels in named:
        _resolve(labels, named, (), found)
    return found


def _resolve(
    labels: Labels, named: Mapping[Labels, Sequence[Target]], path: Tuple[Labels, ...], found: Dict[Labels, Tuple[Target, ...]],
) -> Tuple[Target, ...]:
    """Puts what the alias stands for into `found`, each target once, so that aliases of aliases of many do not multiply."""
    if labels in found:
        return found[labels]
    if labels in path:
        circle = " -> ".join(".".join(name) for name in (*path[path.index(labels) :], labels))
        raise BadAliases("recursion detected: alias %s stands for itself (%s)" % (".".join(labels), circle))
    if len(path) >= DEEPEST:
        raise BadAliases("alias %s stands for an alias of an alias, more than %d times" % (".".join(path[0]), DEEPEST))
    targets: Dict[Target, None] = {}
    for target in named[labels]:
        if isinstance(target, tuple) and target in named:
            targets.update(dict.fromkeys(_resolve(target, named, (*path, labels), found)))
        else:
            targets[target] = None
    found[labels] = tuple(targets)
    return found[labels]


def _target(text: str) -> Target:
    try:
        return packed_of(text)
    except ValueError:
        return labels_of("q-s0" + text[1:] if text.startswith("*.") else text)
