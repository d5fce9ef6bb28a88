"""The lines of a CPI that send requests, found in its source, so that a new one which no test sends is noticed."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
# By cloud: what requests go through (a variable or an attribute), and its methods that send; none of Libcloud's drivers' that do not.
_THROUGH: dict[str, dict[str, frozenset[str]]] = {
    "aws": {
        name: frozenset({"ask", "do", "call", "pages", "dry_run", "identity"}) for name in ("_api", "api")},
    # Without `pages`, which sends where its items are read.
    "azure": {
        name: frozenset({"call", "send", "get", "find", "put", "patch", "post", "delete", "until", "whole"}) for name in ("_arm", "arm")},
    "gcp": {
        "_compute": frozenset({"call", "get", "look", "pages", "all", "aggregated", "run", "start", "relabel"}),
        "driver": frozenset({
            "attach_volume", "destroy_node", "destroy_volume", "destroy_volume_snapshot", "detach_volume", "ex_delete_image",
            "ex_instancegroup_add_instances", "ex_resize_volume", "ex_targetpool_add_node", "ex_targetpool_remove_node", "reboot_node",
            "start_node"})},
}


def calls(cloud: str) -> Iterator[tuple[str, range, str]]:
    """(file, lines of the call, its text) of all calls that send something."""
    through = _THROUGH[cloud]
    for path in sorted((_ROOT / "cpis" / cloud).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in through.get(_last(node.func.value), ()):
                yield f"cpis/{cloud}/{path.name}", range(node.lineno, (node.end_lineno or node.lineno) + 1), ast.unparse(node)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def unsent(cloud: str, seen: Iterable[str]) -> list[str]:
    """The calls that none of the `seen` lines (`cpis/gcp/vms.py:42`) belongs to."""
    lines: dict[str, set[int]] = {}
    for site in seen:
        name, _, number = site.rpartition(":")
        lines.setdefault(name, set()).add(int(number))
    return [f"{name}:{where.start} {text[:120]}" for name, where, text in calls(cloud) if lines.get(name, set()).isdisjoint(where)]
