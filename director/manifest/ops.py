"""Ops files: operations on a document, given by paths. Source: manifest contract, section 19.

Nothing is changed in place: every operation gives a new document that shares with the old one what it did not touch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from director.diagnostics import Diagnostic, Diagnostics, Where, did_you_mean
from director.errors import ManifestError
from director.manifest.load import Document, load_yaml
from director.manifest.pointer import (
    Append,
    Index,
    Key,
    Match,
    Missing,
    PathError,
    Token,
    Unexpected,
    found_keys,
    insertion,
    matching,
    mismatch,
    parse_path,
    position,
    show,
)

KINDS = ("replace", "remove", "test")


@dataclasses.dataclass(frozen=True)
class Op:
    """One operation. `label` is `operation [0] in FILE`; `value` is shared with the documents it is put into."""

    kind: str
    tokens: tuple[Token, ...]
    value: Any = None
    absent: bool = False
    label: str = "operation [0]"
    where: Where | None = None


def parse_ops(text: str, file: str) -> list[Op]:
    """The operations of a file in order. Raises ManifestError with all that is wrong in it."""
    document = load_yaml(text, file)
    if document.tree is None:
        return []
    if not isinstance(document.tree, list):
        raise ManifestError(
            Diagnostic(
                f"Expected ops file '{file}' to be a list of operations",
                where=document.where(()),
                suggestion="For example: [{type: replace, path: /name, value: x}]",
            )
        )
    report = Diagnostics()
    ops = [_read(document, index, item, report) for index, item in enumerate(document.tree)]
    if report.errors:
        raise ManifestError(*report.errors)
    return [op for op in ops if op is not None]


def _read(document: Document, index: int, item: Any, report: Diagnostics) -> Op | None:
    where = Where(document.file, document.line((index,)), f"[{index}]")
    row = item if isinstance(item, dict) else {}
    kind = row.get("type")
    if kind not in KINDS:
        hint = did_you_mean(str(kind or ""), KINDS) or "An operation has type replace, remove or test, and a path."
        shown = "" if kind is None else kind
        keys = (
            f"with the keys {', '.join(sorted(map(str, row)))}"
            if row
            else "that is no map"
            if not isinstance(item, dict)
            else "that is empty"
        )
        report.add(
            f"Unknown operation [{index}] with type '{shown}' in '{document.file}'", detail=f"An item {keys}.", where=where, suggestion=hint
        )
        return None

    def wrong(problem: str, suggestion: str = "") -> None:
        report.add(f"{kind.capitalize()} operation [{index}]: {problem} in '{document.file}'", where=where, suggestion=suggestion)

    unknown = [key for key in row if key not in ("type", "path", "value", "absent", "error")]
    hints = " ".join(filter(None, (did_you_mean(str(key), ("path", "value", "absent")) for key in unknown)))
    value = row.get("value")
    if row.get("path") is None:
        wrong("Missing path", hints or "For example: path: /instance_groups/name=web/instances")
        return None
    if kind == "replace" and value is None:
        wrong("Missing value", hints or "Ops files cannot set null; use type: remove to take a key away.")
    if kind == "remove" and value is not None:
        wrong("Cannot specify value", "Remove the value, or use type: replace.")
    if kind == "test" and value is None and row.get("absent") is None:
        wrong("Missing value or absent", hints)
    try:
        tokens = parse_path(str(row["path"]))
    except PathError as error:
        wrong(f"Invalid path '{row['path']}': {error}")
        return None
    return Op(kind, tokens, value, row.get("absent") is True, f"operation [{index}] in {document.file}", where)


def apply_ops(tree: Any, ops: Iterable[Op]) -> Any:
    """The document after all operations, in order. Raises ManifestError for the first that fails; `tree` itself is never changed."""
    for op in ops:
        try:
            tree = apply_op(tree, op)
        except PathError as error:
            raise ManifestError(Diagnostic(f"Error '{op.label} failed': {error}", where=op.where, suggestion=error.suggestion)) from error
    return tree


def apply_op(tree: Any, op: Op) -> Any:
    """The document after one operation. Raises PathError."""
    if op.kind == "replace":
        return _replace(tree, op.tokens, 0, op.value)
    if op.kind == "remove":
        if not op.tokens:
            raise PathError("Cannot remove entire document")
        try:
            return _remove(tree, op.tokens, 0)
        except _NothingToRemove:
            return tree
    _test(tree, op)
    return tree


def find(tree: Any, path: str | Sequence[Token]) -> Any:
    """What is at a path. Raises PathError; optional elements that are missing are null or empty."""
    tokens = parse_path(path) if isinstance(path, str) else tuple(path)
    node = tree
    for at, token in enumerate(tokens):
        last = at == len(tokens) - 1
        if isinstance(token, Append):
            raise Unexpected(f"Expected not to find after last index token in path '{show(tokens)}' (not supported in find operations)")
        if isinstance(token, Key):
            if not isinstance(node, dict):
                raise mismatch("a map", tokens, at, node)
            if token.name in node:
                node = node[token.name]
            elif not token.optional:
                raise _missing_key(tokens, at, node)
            else:
                node = None if last else _container(tokens, at)
            continue
        if not isinstance(node, list):
            raise mismatch("an array", tokens, at, node)
        if isinstance(token, Match):
            found = matching(node, token, tokens, at)
            node = {token.key: token.value} if found is None else node[position(node, found, token.modifiers, tokens, at)]
        else:
            node = node[position(node, token.number, token.modifiers, tokens, at)]
    return node


def _test(tree: Any, op: Op) -> None:
    try:
        found = find(tree, op.tokens)
    except Missing as error:
        if op.absent and error.at == len(op.tokens) - 1:
            return
        raise
    if op.absent:
        raise Unexpected(f"Expected to not find '{show(op.tokens)}'")
    if found != op.value:
        raise Unexpected("Found value does not match expected value")


def _missing_key(tokens: tuple[Token, ...], at: int, node: dict[Any, Any]) -> Missing:
    token = tokens[at]
    name = token.name if isinstance(token, Key) else ""
    hint = did_you_mean(name, map(str, node))
    return Missing(f"Expected to find a map key '{name}' for path '{show(tokens[: at + 1])}' ({found_keys(node)})", at, hint)


def _container(tokens: tuple[Token, ...], at: int) -> Any:
    """What a missing optional key begins with, by the token after it."""
    following = tokens[at + 1]
    if isinstance(following, (Append, Match)):
        return []
    if isinstance(following, Key):
        return {}
    raise Unexpected(f"Expected to find key, matching index or after last index token at path '{show(tokens[: at + 2])}'")


def _replace(node: Any, tokens: tuple[Token, ...], at: int, value: Any) -> Any:
    if at == len(tokens):
        return value
    token = tokens[at]
    last = at == len(tokens) - 1
    if isinstance(token, Key):
        if not isinstance(node, dict):
            raise mismatch("a map", tokens, at, node)
        if token.name in node:
            inner = node[token.name]
        elif not token.optional:
            raise _missing_key(tokens, at, node)
        else:
            inner = None if last else _container(tokens, at)
        return {**node, token.name: _replace(inner, tokens, at + 1, value)}
    if not isinstance(node, list):
        raise mismatch("an array", tokens, at, node)
    if isinstance(token, Append):
        return [*node, value]
    if isinstance(token, Match):
        found = matching(node, token, tokens, at)
        if found is None:
            return [*node, value if last else _replace({token.key: token.value}, tokens, at + 1, value)]
        return _replace_item(node, found, token, tokens, at, value)
    return _replace_item(node, token.number, token, tokens, at, value)


def _replace_item(node: list[Any], number: int, token: Index | Match, tokens: tuple[Token, ...], at: int, value: Any) -> list[Any]:
    if at == len(tokens) - 1:
        start, end = insertion(node, number, token.modifiers, tokens, at)
        return [*node[:start], value, *node[end:]]
    index = position(node, number, token.modifiers, tokens, at)
    return [*node[:index], _replace(node[index], tokens, at + 1, value), *node[index + 1 :]]


class _NothingToRemove(Exception):
    """An optional element on the way is not there."""


def _remove(node: Any, tokens: tuple[Token, ...], at: int) -> Any:
    token = tokens[at]
    last = at == len(tokens) - 1
    if isinstance(token, Append):
        raise Unexpected(f"Expected to not find token 'AfterLastIndexToken' at path '{show(tokens[: at + 1])}'")
    if isinstance(token, Key):
        if not isinstance(node, dict):
            raise mismatch("a map", tokens, at, node)
        if token.name not in node:
            if token.optional:
                raise _NothingToRemove
            raise _missing_key(tokens, at, node)
        if last:
            return {key: value for key, value in node.items() if key != token.name}
        return {**node, token.name: _remove(node[token.name], tokens, at + 1)}
    if not isinstance(node, list):
        raise mismatch("an array", tokens, at, node)
    if isinstance(token, Match):
        found = matching(node, token, tokens, at)
        if found is None:
            raise _NothingToRemove
        index = position(node, found, token.modifiers, tokens, at)
    else:
        index = position(node, token.number, token.modifiers, tokens, at)
    inner = [] if last else [_remove(node[index], tokens, at + 1)]
    return [*node[:index], *inner, *node[index + 1 :]]
