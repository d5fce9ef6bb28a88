"""Answers of a cloud with one field spoiled: missing, empty, or of another type; and the sweep that lets a CPI have each of them.

What a client makes of an answer that lacks something must be an error of the contract or the right result, never a crash and never a
thing left behind. JSON is changed as a tree, XML in place, so that all but the one field stays as the cloud said it.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.parsers import expat

from cpis.conformance.bench import Bench
from cpis.conformance.faults import Befall, Target, Trial, each
from cpis.conformance.operations import OPERATIONS, Operation
from cpis.conformance.proxy import Fault, Request, Rule
from cpis.contract import CpiError, NotSupported

Place = tuple[str | int, ...]
"""Where a field is: keys and numbers from the root. In XML each step is `name` and which of the elements of that name it is."""

SWEPT = ("create_vm", "has_vm", "create_disk", "attach_disk", "snapshot_disk", "get_disks", "delete_vm")
WAYS = ("missing", "empty", "of another type", "in a list")


def fields(body: bytes) -> list[Place]:
    """All fields of an answer in JSON or XML, of lists in JSON those of the first item; none for what is neither."""
    tree = _tree(body)
    if tree is not None:
        return list(_of_tree(tree, ()))
    return list(_elements(body))[1:]  # not the root


def spoil(body: bytes, place: Place, way: str) -> bytes:
    """The answer with that field spoiled; as it is when it has no such field."""
    tree = _tree(body)
    if tree is None:
        return _spoiled_element(body, place, way)
    holder = tree
    try:
        for step in place[:-1]:
            holder = holder[step]
        old = holder[place[-1]]
    except (KeyError, IndexError, TypeError):
        return body
    if way == "missing":
        del holder[place[-1]]
    else:
        holder[place[-1]] = None if way == "empty" else [old] if way == "in a list" else _other(old)
    return json.dumps(tree).encode()


def _other(value: Any) -> Any:
    """Of another type, the one that is the likeliest mistake."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        return {str(number): item for number, item in enumerate(value)}
    return 7 if isinstance(value, str) else f"<{value}>"


def _tree(body: bytes) -> Any:
    if body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


def _of_tree(tree: Any, place: Place) -> Iterator[Place]:
    items = tree.items() if isinstance(tree, dict) else list(enumerate(tree))[:1] if isinstance(tree, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from _of_tree(value, (*place, key))


@dataclasses.dataclass
class _Element:
    """Offsets of an element in its document: of its tag, of what is in it, and of its end."""

    start: int
    inner: int
    inner_end: int = 0
    end: int = 0


def _elements(body: bytes) -> dict[Place, _Element]:
    found: dict[Place, _Element] = {}
    open_ones: list[tuple[Place, collections.Counter[str]]] = [((), collections.Counter())]
    parser = expat.ParserCreate()

    def begin(name: str, _: dict[str, str]) -> None:
        place, seen = open_ones[-1]
        mine = (*place, f"{name} {seen[name]}")
        seen[name] += 1
        at = parser.CurrentByteIndex
        found[mine] = _Element(at, body.index(b">", at) + 1)
        open_ones.append((mine, collections.Counter()))

    def end(_: str) -> None:
        place, _seen = open_ones.pop()
        at, element = parser.CurrentByteIndex, found[place]
        closed = body[element.inner - 2:element.inner] == b"/>"
        element.inner_end = element.inner if closed else at
        element.end = element.inner if closed else body.index(b">", at) + 1

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        return {}
    return found


def _spoiled_element(body: bytes, place: Place, way: str) -> bytes:
    element = _elements(body).get(place)
    if element is None:
        return body
    whole, inner = body[element.start:element.end], body[element.inner:element.inner_end]
    if way == "missing":
        new = b""
    elif element.inner == element.end:  # <empty/>: there is nothing inside to change
        new = whole + whole if way == "in a list" else b""
    elif way == "in a list":
        new = whole + whole
    else:
        other = b"" if way == "empty" else b"<x>7</x>" if inner.lstrip()[:1] != b"<" else b"text"
        new = body[element.start:element.inner] + other + body[element.inner_end:element.end]
    return body[:element.start] + new + body[element.end:]


def _answers(target: Target, operation: Operation) -> list[tuple[Request, bytes]]:
    """The requests of an operation when all is well, each with its answer; none for what this cloud has not."""
    bench = Bench(target.cpi, target.site, target.stemcell)
    said: list[bytes] = []

    def listen(body: bytes) -> bytes:
        said.append(body)
        return body

    try:
        prepared = operation.prepare(bench)
        target.proxy.forget()
        target.proxy.set(Rule(Fault("heard", spoil=listen), times=0))
        prepared.call(target.cpi)
        return list(zip(target.proxy.requests, said, strict=True))
    except NotSupported:
        return []
    finally:
        target.proxy.set()
        bench.clean(look_again=False)


def sweep(
    target: Target, names: Sequence[str] = SWEPT, report: Callable[[Trial], None] = lambda trial: None, *, every: int = 1,
) -> list[Trial]:
    """All trials: each field of each answer to each request of these operations, spoiled in each way, once. With `every` about one in so
    many, the same ones each time. Deletes what it made."""
    def wanted(operation: Operation) -> Iterator[tuple[int, Request, Befall]]:
        for number, (request, body) in enumerate(_answers(target, operation), 1):
            for place in fields(body):
                for way in WAYS:
                    yield number, request, Befall(_fault(place, way), 1, (CpiError,))

    return each(target, [operation for operation in OPERATIONS if operation.name in names], wanted, report, every)


def _fault(place: Place, way: str) -> Fault:
    return Fault(f"{'.'.join(map(str, place))} {way}", spoil=lambda body: spoil(body, place, way))
