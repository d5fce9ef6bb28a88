"""Jinja2 templates (`*.j2`), with the same context as ERB, in Jinja2's sandbox.

    {{ p('port') }}  {{ p('port', 80) }}  {{ p(['a', 'b']) }}      a property, the first one that is set, or the default
    {% if has_p('tls.cert', 'tls.key') %} ... {% endif %}          whether all are set
    {{ link('db').address() }}  {% if has_link('db') %}            a link, as in ERB
    {{ spec.ip }}  {{ properties.a.b }}  {{ name }}  {{ index }}
    {{ value | json }}  {{ value | yaml }}  {{ value | quote }}    as JSON, as YAML, as one shell word

What is undefined is an error. Blocks on their own line leave no empty line. Source of the context: release contract, section 17.
"""

from __future__ import annotations

import inspect
import json
import shlex
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.sandbox
import yaml

from director.render.context import LookupFailed, link_address
from director.render.engine import Failure, Outcome, Source

_MISSING: Any = object()
_PLAIN = frozenset({str, int, float, bool, type(None), list, dict})


class Jinja:
    """Compiles each template once. Safe to call from many threads."""

    def __init__(self, *, cache_size: int = 4000) -> None:
        self._environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True, autoescape=False,
            finalize=_printable,
        )
        self._environment.filters.update(json=_json, tojson=_json, yaml=_yaml, quote=_quote)
        self._compiled: dict[Source, jinja2.Template | Failure] = {}
        self._cache_size = cache_size

    def fill_in(self, source: Source, document: Mapping[str, Any]) -> Outcome:
        """Fill in one template with a context document."""
        template = self._template(source)
        if isinstance(template, Failure):
            return template
        try:
            return template.render(_names(document))
        except Exception as error:  # a template may make anything fail; which line it was is all we can know
            return Failure(_message(error), _line(error, source.file))

    def parsed(self, source: Source) -> jinja2.nodes.Template | Failure:
        """The template's syntax tree, or why it cannot be compiled."""
        found = self._template(source)
        return found if isinstance(found, Failure) else self._environment.parse(source.text, source.file, source.file)

    def _template(self, source: Source) -> jinja2.Template | Failure:
        found = self._compiled.get(source)
        if found is None:
            if len(self._compiled) >= self._cache_size:
                self._compiled.clear()
            found = self._compiled[source] = self._compile(source)
        return found

    def _compile(self, source: Source) -> jinja2.Template | Failure:
        try:
            code = self._environment.compile(source.text, source.file, source.file)
            return self._environment.template_class.from_code(self._environment, code, self._environment.make_globals(None))
        except jinja2.TemplateSyntaxError as error:
            return Failure(error.message or "syntax error", error.lineno)


class _Properties:
    """`p` and `has_p` over a tree of properties."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree

    def p(self, names: str | Iterable[str], default: Any = _MISSING) -> Any:
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            value = lookup(self._tree, name)
            if value is not None:
                return value
        if default is not _MISSING:
            return default
        raise LookupFailed(f"Can't find property '{json.dumps(wanted)}'", "property", tuple(wanted))

    def has_p(self, *names: str) -> bool:
        return all(lookup(self._tree, name) is not None for name in names)


class LinkInstance(_Properties):
    """One instance behind a link; fields that are not given are None."""

    def __init__(self, fields: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
        self.properties = fields.get("properties") or properties
        super().__init__(self.properties)
        self.name, self.index, self.id = fields.get("name"), fields.get("index"), fields.get("id")
        self.az, self.address, self.bootstrap = fields.get("az"), fields.get("address"), fields.get("bootstrap")


class Link(_Properties):
    """A resolved link."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.properties = fields.get("properties") or {}
        super().__init__(self.properties)
        self._fields = fields
        self.instances = [LinkInstance(item, self.properties) for item in fields.get("instances") or []]

    def address(self, **options: Any) -> str:
        """Takes azs, status, initial_health_check and uuid; others are ignored."""
        known = {key: options[key] for key in ("azs", "status", "initial_health_check", "uuid") if key in options}
        return link_address(self._fields, **known)


def lookup(tree: Any, name: str) -> Any:
    """The value at a dotted name, None where there is none; what is no map has nothing inside."""
    for key in name.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
        if tree is None:
            return None
    return tree


def _names(document: Mapping[str, Any]) -> dict[str, Any]:
    properties = document.get("properties") or {}
    links = document.get("links") or {}
    reader = _Properties(properties)

    def link(name: str) -> Link:
        found = links.get(name)
        if found is None or "instances" not in found:
            raise LookupFailed(f"Can't find link '{name}'", "link", (name,))
        return Link(found)

    def has_link(name: str) -> bool:
        return "instances" in (links.get(name) or {})

    job = document.get("job")
    return {
        "p": reader.p, "has_p": reader.has_p, "link": link, "has_link": has_link, "spec": document, "properties": properties,
        "name": job.get("name") if isinstance(job, Mapping) else None, "index": document.get("index"),
    }


def _printable(value: Any) -> Any:
    """What `{{ }}` prints: a method that nobody called would print where it is in memory, which is another place each time."""
    if type(value) not in _PLAIN and inspect.isroutine(value):
        name = getattr(value, "__name__", "this")
        raise TypeError(f"'{name}' is a method: write {name}()")
    return value


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096))


def _quote(value: Any) -> str:
    return shlex.quote(str(value))


def _message(error: Exception) -> str:
    if isinstance(error, jinja2.UndefinedError | LookupFailed | jinja2.exceptions.SecurityError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _line(error: Exception, file: str) -> int | None:
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return frames[-1] if frames else None
