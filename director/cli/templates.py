"""Manifests on their way to the director: ops files, variables, and the text that is sent.

Source: manifest contract, sections 19 and 20.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from director.diagnostics import Where
from director.errors import UsageError
from director.manifest import interpolate
from director.manifest.load import Document, is_text, load_yaml
from director.manifest.ops import parse_ops

Function = Callable[..., Any]


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
    document = load_yaml(read(path), "standard input" if path == "-" else path)
    if sources.empty and verbatim:
        return Evaluated(document.tree, document.text, document)
    ops = [op for file in sources.ops for op in parse_ops(read(file), file)]
    given = interpolate.Values.of(*_given(sources))
    lookups: list[interpolate.Lookup] = [given]
    if sources.store:
        from director.cli import vars_store

        lookups.append(vars_store.VarsStore(pathlib.Path(sources.store).expanduser()))
    with _place(document):
        tree = interpolate.interpolate(
            document.tree, interpolate.Chain(lookups), ops=ops, path=inside, expect_all_keys=all_found, expect_all_used=all_used
        )
    return Evaluated(tree, dump(tree), document.replaced(tree))


def read(path: str) -> str:
    """A file, or the standard input for `-`. Raises UsageError."""
    try:
        return sys.stdin.read() if path == "-" else pathlib.Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"The file '{path}' cannot be read: {reason}", suggestion="Check the path.") from error


def _given(sources: Sources) -> Iterator[dict[str, Any]]:
    for prefix in sources.prefixes:
        yield interpolate.parse_vars_env(prefix, os.environ)
    for file in sources.files:
        yield interpolate.parse_vars_file(read(file), file)
    for text in sources.value_files:
        name, file = interpolate.parse_var_file(text)
        yield {name: read(file)}
    for text in sources.values:
        name, value = interpolate.parse_var(text)
        yield {name: value}


@contextlib.contextmanager
def _place(document: Document) -> Iterator[None]:
    """Errors that name no place get the file's."""
    from director.errors import ManifestError

    try:
        yield
    except ManifestError as error:
        if any(item.where for item in error.diagnostics):
            raise
        raise ManifestError(*[dataclasses.replace(item, where=Where(document.file)) for item in error.diagnostics]) from error


def dump(tree: Any) -> str:
    """YAML that the director reads back as the same data: texts that look like something else are quoted."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, indentless)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value and value.isprintable() is False and _blockable(value) else None if is_text(value) else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    made: str = yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1 << 20, default_flow_style=False)
    return made.removesuffix("...\n") if not isinstance(tree, (dict, list)) else made


def _blockable(value: str) -> bool:
    """Whether a block shows it as it is: no spaces at line ends, no control characters."""
    return not any(line != line.rstrip() for line in value.split("\n")) and all(letter == "\n" or letter.isprintable() for letter in value)
