"""Manifests on their way to the director: ops files, variables, and the text that is sent.

Source: manifest contract, sections 19 and 20.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from director.diagnostics import Where
from director.errors import CaissonError, ManifestError, UsageError
from director.manifest import interpolate
from director.manifest.dump import dump
from director.manifest.load import Document, load_yaml
from director.manifest.ops import Op, parse_ops

Function = Callable[..., Any]
T = TypeVar("T")

MAX_LINKS = 8
_LINK_TEXT = re.compile(r"[\w.@+-]*/?(?:[\w.@+ -]+/)*[\w.@+ -]+\.ya?ml\Z")


@dataclasses.dataclass(frozen=True)
class Sources:
    """The flags, in the order they were given. Later ones win within a kind; values beat files, files beat the environment."""

    values: tuple[str, ...] = ()
    value_files: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    store: str = ""
    ops: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not any(dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A document after ops and variables. `text` is what is sent: the text as it was read where nothing changed it, so that the
    director's errors name the user's own lines."""

    tree: Any
    text: str
    document: Document

    @property
    def file(self) -> str:
        return self.document.file

    def line(self, path: tuple[str | int, ...]) -> int | None:
        return self.document.line(path)

    def where(self, path: tuple[str | int, ...]) -> Where:
        return self.document.where(path)

    def replaced(self, tree: Any) -> Evaluated:
        return Evaluated(tree, dump(tree), self.document.replaced(tree))


def options(function: Function) -> Function:
    """The flags of variables and ops files, handed over as one `sources`."""

    @functools.wraps(function)
    def with_sources(*args: Any, **given: Any) -> Any:
        found: dict[str, Any] = {field.name: given.pop(f"_{field.name}") for field in dataclasses.fields(Sources)}
        return function(*args, sources=Sources(**found), **given)

    decorated: Function = with_sources
    for decorate in reversed(
        (
            click.option("-v", "--var", "_values", multiple=True, metavar="VAR=VALUE", help="Set a variable; VALUE is read as YAML"),
            click.option("--var-file", "_value_files", multiple=True, metavar="VAR=PATH", help="Set a variable to the content of a file"),
            click.option("-l", "--vars-file", "_files", multiple=True, metavar="PATH", help="Load variables from a YAML file"),
            click.option("--vars-env", "_prefixes", multiple=True, metavar="PREFIX", help="Load variables from the environment"),
            click.option(
                "--vars-store", "_store", default="", metavar="PATH", help="Load variables from this file, generate missing ones into it"
            ),
            click.option("-o", "--ops-file", "_ops", multiple=True, metavar="PATH", help="Apply an ops file"),
        )
    ):
        decorated = decorate(decorated)
    return decorated


def evaluate(
    path: str, sources: Sources, *, inside: str = "", all_found: bool = False, all_used: bool = False, verbatim: bool = True
) -> Evaluated:
    """Read, apply ops, fill in variables; `verbatim` keeps the text when there is nothing to do. Raises ManifestError, UsageError."""
    document = load_yaml(read_yaml(path), "standard input" if path == "-" else path)
    if sources.empty and verbatim:
        return Evaluated(document.tree, document.text, document)
    ops, given = _all_read(sources)
    with contextlib.ExitStack() as ending, _place(document):
        lookups: list[interpolate.Lookup] = [given]
        if sources.store:
            from director.cli import vars_store

            lookups.append(ending.enter_context(contextlib.closing(vars_store.VarsStore(pathlib.Path(sources.store).expanduser(), given))))
        tree = interpolate.interpolate(
            document.tree, interpolate.Chain(lookups), ops=ops, path=inside, expect_all_keys=all_found, expect_all_used=all_used,
            document=document,
        )
    return Evaluated(tree, dump(tree), document.replaced(tree))


def read(path: str) -> str:
    """A file, or the standard input for `-`. Raises UsageError."""
    try:
        if path == "-":
            return _decoded(stream.read() if (stream := getattr(sys.stdin, "buffer", None)) else sys.stdin.read().encode())
        return _decoded(pathlib.Path(path).expanduser().read_bytes())
    except (OSError, UnicodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise UsageError(f"The file '{path}' cannot be read: {reason}", suggestion="Check the path.") from error


def _decoded(content: bytes) -> str:
    return content.decode("utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8")


def read_yaml(path: str) -> str:
    """A YAML file. One whose only line is the path of another one stands for that: git leaves symbolic links like this where it cannot
    make them, and no document is a bare path. Raises UsageError."""
    text = read(path)
    followed = 0
    while path != "-" and len(text) < 4096 and _LINK_TEXT.match(text.strip()) and followed < MAX_LINKS:
        target = pathlib.Path(path).expanduser().parent / text.strip()
        if not target.is_file():
            break
        path, followed = str(target), followed + 1
        text = read(path)
    return text


def _all_read(sources: Sources) -> tuple[list[Op], interpolate.Values]:
    """The operations and the given values. Raises UsageError, ManifestError with all that is wrong in any of the files."""
    errors: list[CaissonError] = []
    ops = _collected(sources.ops, lambda file: parse_ops(read_yaml(file), file), errors)
    given = [
        *_collected(sources.prefixes, lambda prefix: interpolate.parse_vars_env(prefix, os.environ), errors),
        *_collected(sources.files, lambda file: interpolate.parse_vars_file(read_yaml(file), file), errors),
        *_collected(sources.value_files, _value_of_file, errors),
        *_collected(sources.values, lambda text: dict([interpolate.parse_var(text)]), errors),
    ]
    if errors:
        raise (UsageError if all(isinstance(error, UsageError) for error in errors) else ManifestError)(
            *(item for error in errors for item in error.diagnostics)
        )
    return [op for file in ops for op in file], interpolate.Values.of(*given)


def _collected(names: Sequence[str], read_one: Callable[[str], T], errors: list[CaissonError]) -> list[T]:
    made = []
    for name in names:
        try:
            made.append(read_one(name))
        except CaissonError as error:
            errors.append(error)
    return made


def _value_of_file(text: str) -> dict[str, str]:
    name, file = interpolate.parse_var_file(text)
    return {name: read(file)}


@contextlib.contextmanager
def _place(document: Document) -> Iterator[None]:
    """Errors that name no place get the file's."""
    try:
        yield
    except ManifestError as error:
        if any(item.where for item in error.diagnostics):
            raise
        # Lists of names have their places in their lines.
        raise ManifestError(*[
            item if "\n" in item.summary else dataclasses.replace(item, where=Where(document.file)) for item in error.diagnostics
        ]) from error
