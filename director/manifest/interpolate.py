"""The command line's interpolation: `((name))` from given values, and where these values come from. Source: manifest contract, section 20.

What the director does with the placeholders that remain is in `late.py`.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from director.diagnostics import Diagnostic, Where
from director.errors import ManifestError, UsageError
from director.manifest.load import Document, Path, load_yaml
from director.manifest.ops import Op, apply_ops, find
from director.manifest.pointer import PathError, found_keys, type_name

PATTERN = re.compile(r"\(\( ?(!?[-/.\w]+) ?\)\)")

_DIGITS = re.compile(r"[0-9]{1,18}\Z")


class Lookup(Protocol):
    """Where values of variables come from."""

    @property
    def generates(self) -> bool:
        """Whether values are made from definitions."""
        ...

    def find(self, name: str, definition: Mapping[str, Any] | None) -> tuple[bool, Any]:
        """Whether there is a value for the (undotted) name, and the value. `definition` is its entry in `variables` with options
        interpolated, from which a store may generate a value; None when there is none, or no value shall be made."""
        ...

    def names(self) -> Iterable[str]:
        """The names that were given, for `--var-errs-unused`."""
        ...

    def expect(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """These definitions will be asked for, so that what takes long can begin. Their options are not filled in yet."""
        ...


@dataclasses.dataclass(frozen=True)
class Values:
    """Given values. Names with dots make nested maps."""

    values: Mapping[str, Any]
    generates: bool = dataclasses.field(default=False, init=False)

    @classmethod
    def of(cls, *sources: Mapping[str, Any]) -> Values:
        """Join sources; later ones win. In the order of section 20.2, lowest first: environment, files of variables, files, values."""
        joined: dict[str, Any] = {}
        for source in sources:
            joined.update({str(name): value for name, value in source.items()})
        nested = {name: value for name, value in joined.items() if "." not in name}
        for name in sorted(name for name in joined if "." in name):
            root, *rest = name.split(".")
            nested[root] = _nest(nested.get(root), rest, joined[name])
        return cls(nested)

    def find(self, name: str, definition: Mapping[str, Any] | None) -> tuple[bool, Any]:
        return name in self.values, self.values.get(name)

    def names(self) -> Iterable[str]:
        return self.values

    def expect(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is made."""


def _nest(below: Any, names: Sequence[str], value: Any) -> Any:
    if not names:
        return value
    base = below if isinstance(below, dict) else {}
    return {**base, names[0]: _nest(base.get(names[0]), names[1:], value)}


@dataclasses.dataclass(frozen=True)
class Chain:
    """The first source that has a value wins: given values, then a store that may generate."""

    sources: Sequence[Lookup]

    @property
    def generates(self) -> bool:
        return any(source.generates for source in self.sources)

    def find(self, name: str, definition: Mapping[str, Any] | None) -> tuple[bool, Any]:
        for source in self.sources:
            found, value = source.find(name, definition)
            if found:
                return True, value
        return False, None

    def names(self) -> Iterable[str]:
        return [name for source in self.sources for name in source.names()]

    def expect(self, definitions: Sequence[Mapping[str, Any]]) -> None:
        for number, source in enumerate(self.sources):
            before = self.sources[:number]
            source.expect([item for item in definitions if not any(one.find(str(item["name"]), None)[0] for one in before)])


def parse_var(text: str) -> tuple[str, Any]:
    """`NAME=VALUE` of `--var`. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"Expected var '{text}' to be in format 'name=value'")
    if not name:
        raise UsageError(f"Expected var '{text}' to specify non-empty name")
    if not value:
        raise UsageError(f"Expected var '{name}=' to specify non-empty value")
    read = load_yaml(value, f"value of {name}").tree
    if isinstance(read, str):
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        return name, value[1:-1] if quoted else value
    return name, read


def parse_var_file(text: str) -> tuple[str, str]:
    """`NAME=PATH` of `--var-file`. Raises UsageError."""
    name, equals, path = text.partition("=")
    if not equals:
        raise UsageError(f"Expected var '{text}' to be in format 'name=path'")
    if not name:
        raise UsageError(f"Expected var '{text}' to specify non-empty name")
    if not path:
        raise UsageError(f"Expected var '{text}' to specify non-empty path")
    return name, path


def parse_vars_file(text: str, file: str) -> dict[str, Any]:
    """A file of `--vars-file`: a map. Raises ManifestError."""
    document = load_yaml(text, file)
    if document.tree is None:
        return {}
    if not isinstance(document.tree, dict):
        summary = f"Expected variables file '{file}' to be a map of names to values"
        raise ManifestError(Diagnostic(summary, where=document.where(()), suggestion="For example: name: value"))
    return {str(name): value for name, value in document.tree.items()}


def parse_vars_env(prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """`PREFIX_name=value` of the environment, values read as YAML."""
    start = f"{prefix}_"
    return {name[len(start) :]: load_yaml(value, name).tree for name, value in environment.items() if name.startswith(start)}


def interpolate(
    tree: Any,
    variables: Lookup,
    *,
    ops: Sequence[Op] = (),
    path: str = "",
    expect_all_keys: bool = False,
    expect_all_used: bool = False,
    document: Document | None = None,
) -> Any:
    """Operations, then interpolation, then what is at `path`: the order of `bosh interpolate`.

    Names without a value stay as they are, unless `expect_all_keys`. Definitions in `variables` for which there is a value are taken out.
    Raises ManifestError, for missing and unused names one with both; places are those of `document`, from which `tree` is.
    """
    tree = apply_ops(tree, ops)
    tracker = _Tracker(variables, tree, document)
    try:
        tracker.visit_definitions()
        tree = tracker.walk(tracker.without_found(tree))
    except PathError as error:
        raise ManifestError(Diagnostic(str(error), where=tracker.place(error), suggestion=error.suggestion)) from error
    problems = []
    if expect_all_keys and tracker.missing:
        problems.append(Diagnostic(
            "\n  ".join(["Expected to find variables:", *tracker.with_places(sorted(tracker.missing))]),
            suggestion="Give them with -v or -l.",
        ))
    unused = sorted(set(variables.names()) - tracker.visited)
    if expect_all_used and unused:
        problems.append(
            Diagnostic("\n  ".join(["Expected to use variables:", *unused]), suggestion="Remove them, or correct their names.")
        )
    if problems:
        raise ManifestError(*problems)
    if path:
        try:
            return find(tree, path)
        except PathError as error:
            raise ManifestError(Diagnostic(f"Finding path '{path}': {error}", suggestion=error.suggestion)) from error
    return tree


class _Tracker:
    """One interpolation: values looked up once, names seen and missed."""

    def __init__(self, variables: Lookup, tree: Any, document: Document | None) -> None:
        self.variables = variables
        self.document = document
        listed = tree.get("variables") if isinstance(tree, dict) else None
        entries = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        self.names = [str(item["name"]) for item in entries if item.get("name") is not None]
        self.definitions: dict[str, Mapping[str, Any]] = {}
        for item in entries:
            if item.get("name") is not None:
                self.definitions.setdefault(str(item["name"]), item)  # of two with the same name the first counts, as for the reference
        self.cache: dict[str, tuple[bool, Any]] = {}
        self.visited: set[str] = set()
        self.absent: set[str] = set()
        self.missing: set[str] = set()  # what the part being read lacks
        self.open: list[str] = []

    def place(self, error: PathError) -> Where | None:
        """Where the variable that an error is about is defined, or else used."""
        if self.document is None:
            return None
        name = error.variable if isinstance(error, Unexpected) else ""
        path = definitions_of(self.document.tree).get(name) if isinstance(error, BadDefinition) else None
        path = path or places_of(self.document.tree).get(name)
        return Where(self.document.file) if path is None else self.document.where(path)

    def with_places(self, names: Iterable[str]) -> list[str]:
        """The names, and where they are used or at least defined."""
        places = places_of(self.document.tree) if self.document is not None else {}
        return [f"{name} ({self.document.where(places[name])})" if self.document and name in places else name for name in names]

    def visit_definitions(self) -> None:
        """Look up or generate all that is defined, in order."""
        for name in [name for name, count in collections.Counter(self.names).items() if count > 1]:
            if self.variables.generates or self.variables.find(name, None)[0]:
                raise BadDefinition(f"Some of the variables have duplicate names, eg: '{name}'", name, "Remove or rename one of them.")
        if self.variables.generates:
            self.variables.expect([item for item in self.definitions.values() if item.get("type")])
        for name in self.definitions:
            try:
                self.root(name)
            except PathError as error:
                text = f"Getting all variables from variable definitions sections: {error}"
                raise BadDefinition(text, error.variable if isinstance(error, BadDefinition) else name, error.suggestion) from error

    def without_found(self, tree: Any) -> Any:
        """The document without the definitions that have a value."""
        if not self.definitions:
            return tree
        found = {name for name in self.definitions if self.cache[name][0]}
        kept = [item for item in tree["variables"] if not (isinstance(item, dict) and str(item.get("name")) in found)]
        return {**tree, "variables": kept} if len(kept) < len(tree["variables"]) else tree

    def root(self, name: str) -> tuple[bool, Any]:
        """A value by its undotted name: a given one, or one made from its definition once all that the definition names is known."""
        self.visited.add(name)
        if name in self.cache:
            if name in self.absent:
                self.missing.add(name)
            return self.cache[name]
        found = self.variables.find(name, None)
        entry = self.definitions.get(name)
        complete = True
        if not found[0] and entry is not None and entry.get("type"):
            definition, complete = self._definition(name, entry)
            if complete and self.variables.generates:
                found = self._made(name, definition)
        self.cache[name] = found
        if not found[0] and complete:
            self.absent.add(name)
            self.missing.add(name)
        return found

    def _definition(self, name: str, definition: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """The definition with its options filled in, and whether nothing was missing for that. The signer is made before."""
        if name in self.open:
            loop = " -> ".join([*self.open[self.open.index(name) :], name])
            text = f"Interpolating variable '{name}' definition options: Detected recursion ({loop})"
            raise BadDefinition(text, name, "Break the circle.")
        self.open.append(name)
        before, self.missing = self.missing, set()
        try:
            options = self.walk(definition.get("options"))
            complete = not self.missing
            if options is not None and not isinstance(options, dict):
                raise Unexpected(f"options of variable with name '{name}' is not a Hash")
            ca = (options or {}).get("ca")
            if self.variables.generates and isinstance(ca, str) and ca in self.definitions and ca != name:
                self.root(ca)
            return {**definition, "options": options or {}}, complete
        except BadDefinition:
            raise
        except PathError as error:
            text = f"Interpolating variable '{name}' definition options: {error}"
            raise BadDefinition(text, name, error.suggestion) from error
        finally:
            self.open.pop()
            self.missing = before

    def _made(self, name: str, definition: Mapping[str, Any]) -> tuple[bool, Any]:
        try:
            return self.variables.find(name, definition)
        except ManifestError as error:
            where = self.place(BadDefinition("", name))
            raise ManifestError(*[dataclasses.replace(item, where=item.where or where) for item in error.diagnostics]) from error

    def value(self, name: str) -> tuple[bool, Any]:
        """A value by a name that may have dots."""
        root, *rest = name.split(".")
        found, value = self.root(root)
        for at, step in enumerate(rest if found else ()):
            value = self._step(value, step, root, rest[: at + 1])
        return found, value

    def _step(self, value: Any, step: str, root: str, steps: Sequence[str]) -> Any:
        if isinstance(value, list) and _DIGITS.match(step) and int(step) < len(value):
            return value[int(step)]
        if isinstance(value, dict):
            if step in value:
                return value[step]
            if _DIGITS.match(step) and int(step) in value:
                return value[int(step)]
        path = "".join(f"/{word}" for word in steps)
        text = f"Finding variable '{'.'.join([root, *steps])}': "
        if isinstance(value, dict):
            raise Unexpected(f"{text}Expected to find a map key '{step}' for path '{path}' ({found_keys(value)})", root)
        raise Unexpected(f"{text}Expected to find a map at path '{path}' but found '{type_name(value)}'", root)

    def walk(self, node: Any) -> Any:
        """The node with its placeholders replaced; the same object where there is nothing to replace."""
        if isinstance(node, str):
            return self._text(node) if "((" in node else node
        if isinstance(node, dict):
            made = {self._key(key): self.walk(value) for key, value in node.items()}
            same = len(made) == len(node) and all(made.get(key, self) is value for key, value in node.items())
            return node if same else made
        if isinstance(node, list):
            items = [self.walk(item) for item in node]
            return node if all(new is old for new, old in zip(items, node, strict=True)) else items
        return node

    def _key(self, key: Any) -> Any:
        made = self.walk(key)
        if isinstance(made, (dict, list)):
            text = f"Expected the value for key '{key}' to be usable as a key but found '{type_name(made)}'"
            raise Unexpected(text, str(key).strip("(! )"))
        return made

    def _text(self, text: str) -> Any:
        whole = PATTERN.fullmatch(text)
        if whole:
            found, value = self.value(whole[1].removeprefix("!"))
            return value if found else text
        made = PATTERN.sub(self._part, text)
        return text if made == text else made

    def _part(self, match: re.Match[str]) -> str:
        """What stands for a placeholder within a text. With spaces inside it is left alone, but its value must fit all the same."""
        name = match[1].removeprefix("!")
        found, value = self.value(name)
        if not found:
            return match[0]
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise Unexpected(
                f"Invalid type '{type_name(value)}' for variable '{name}'. "
                "Supported types for interpolation within a string are integers and strings.",
                name,
            )
        return match[0] if " " in match[0] else str(value)


class Unexpected(PathError):
    """A value that does not fit its place; `variable` is whose value it is."""

    def __init__(self, text: str, variable: str = "", suggestion: str = "") -> None:
        super().__init__(text, suggestion)
        self.variable = variable


class BadDefinition(Unexpected):
    """An entry of `variables` that cannot be used."""


def places_of(tree: Any) -> dict[str, Path]:
    """Of each variable (undotted name) the path of the first text that names it, or else of its entry in `variables`."""
    found: dict[str, Path] = {}
    waiting: list[tuple[Path, Any]] = [((), tree)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str):
            for match in PATTERN.finditer(node) if "((" in node else ():
                found.setdefault(match[1].removeprefix("!").partition(".")[0], path)
        elif isinstance(node, dict):
            for key in reversed(node):
                waiting.append(((*path, key), node[key]))
                if isinstance(key, str) and "((" in key:
                    waiting.append(((*path, key), key))
        elif isinstance(node, list):
            waiting.extend(((*path, index), node[index]) for index in reversed(range(len(node))))
    for name, path in definitions_of(tree).items():
        found.setdefault(name, path)
    return found


def definitions_of(tree: Any) -> dict[str, Path]:
    """The paths of the entries of `variables`."""
    found: dict[str, Path] = {}
    listed = tree.get("variables") if isinstance(tree, dict) else None
    for index, item in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(item, dict):
            found.setdefault(str(item.get("name")), ("variables", index))
    return found
