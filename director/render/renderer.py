"""Instances in, files out. Equal input is rendered once; all errors are told at once. Source: release contract, sections 17 and 20."""

from __future__ import annotations

import collections
import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from director.render import report, schema
from director.render.context import context_of, link_document
from director.render.engine import Failure, Outcome, Source, engine_of
from director.render.erb import Erb, Work
from director.render.jinja import Jinja
from director.render.model import DnsIds, RenderedFile, RenderedInstance, RenderedJob, RenderJob, RenderRequest, Template, Tree

MONIT = "monit"
LINKS_FILE = ".bosh/links.json"


class Renderer:
    """Renders batches; keeps a Ruby process and what it rendered last. Safe to call from many threads. Close it at the end."""

    def __init__(self, ruby: str = "ruby", *, isolate: bool = True, cache_bytes: int = 48 << 20, erb: Erb | None = None) -> None:
        self._erb = erb or Erb(ruby, isolate=isolate)
        self._jinja = Jinja()
        self._cache = _Cache(cache_bytes)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._erb.close()

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderedInstance]:
        """Render all jobs of all instances, in the order of the requests. Raises RenderError with everything that failed."""
        problems: list[report.Problem] = []
        shared = _SharedLinks()
        units = [_Unit(request, job, shared) for request in requests for job in request.jobs]
        wanted: dict[bytes, _Unit] = {}
        found: dict[bytes, RenderedJob] = {}
        for unit in units:
            if unit.key not in found and unit.key not in wanted:
                known = self._cache.get(unit.key)
                if known is None:
                    wanted[unit.key] = unit
                else:
                    found[unit.key] = known
        failures: dict[bytes, list[report.Problem]] = {}
        for unit, texts in self._filled(list(wanted.values())):
            wrong = unit.problems(texts)
            if wrong:
                failures[unit.key] = wrong
            else:
                rendered = unit.rendered([text for text in texts if isinstance(text, str)])
                found[unit.key] = rendered
                self._cache.put(unit.key, rendered)
        for unit in units:
            problems += [problem.of_group(unit.request.group) for problem in failures.get(unit.key, ())]
        if problems:
            raise report.failed(problems)
        remaining = iter(units)
        return [RenderedInstance(request.id, tuple(found[next(remaining).key] for _ in request.jobs)) for request in requests]

    def render_text(self, file: str, text: str, document: Mapping[str, Any]) -> Outcome:
        """Fill in one template (`*.j2` is Jinja2, else ERB) with a context document, as the reference's template tool does."""
        source = Source(file, text)
        engine = engine_of(file, text, jinja_around=False)
        if engine != "erb":
            return self._jinja.fill_in(source, document) if engine == "jinja" else text
        spec, links = _split(document)
        return self._erb.fill_in([Work(file, spec, links, [source])])[0][0]

    def _filled(self, units: Sequence[_Unit]) -> Iterable[tuple[_Unit, list[Outcome]]]:
        """Each unit with the outcomes of its sources; those without any ERB tag never reach Ruby."""
        outcomes: list[list[Outcome | None]] = []
        work: list[Work] = []
        waiting: list[tuple[int, list[int]]] = []
        for number, unit in enumerate(units):
            row: list[Outcome | None] = []
            for source, engine in unit.sources:
                if engine == "text":
                    row.append(source.text)
                else:
                    row.append(self._jinja.fill_in(source, unit.document) if engine == "jinja" else None)
            outcomes.append(row)
            places = [place for place, outcome in enumerate(row) if outcome is None]
            if places:
                waiting.append((number, places))
                work.append(Work(unit.job.name, unit.spec, unit.links, [unit.sources[place][0] for place in places]))
        if work:
            for (number, places), results in zip(waiting, self._erb.fill_in(work), strict=True):
                for place, result in zip(places, results, strict=True):
                    outcomes[number][place] = result
        return [(unit, [item for item in row if item is not None]) for unit, row in zip(units, outcomes, strict=True)]


class _Unit:
    """One job on one instance. `key` tells whether two units render to the same."""

    def __init__(self, request: RenderRequest, job: RenderJob, shared: _SharedLinks) -> None:
        self.request = request
        self.job = job
        links, self.links = shared.of(job, request.ids)
        self.document = context_of(request, job, links)
        self.spec, _ = _split({**self.document, "links": {}})
        self.templates = _templates(job)
        self.sources = [(Source(f"{job.name}/{item.source}", item.text), _engine(item, job)) for item in self.templates]
        self.key = self._digest()

    def _digest(self) -> bytes:
        job = self.job
        total = hashlib.sha256(self.spec)
        for part in (
            self.links, job.name.encode(), _dumped(job.provides), _dumped(job.properties_schema),
            *(f"{item.source}\0{item.destination}\0{item.text}".encode("utf-8", "surrogateescape") for item in self.templates),
        ):
            total.update(len(part).to_bytes(8, "big") + part)
        return total.digest()

    def problems(self, outcomes: Sequence[Outcome]) -> list[report.Problem]:
        """What went wrong: violations of the schema first, then templates in order."""
        found = []
        if self.job.properties_schema is not None:
            violations = schema.violations(self.job.properties_schema, self.job.properties)
            if violations:
                found.append(report.Problem(self.request.group, self.job, "", Failure(""), tuple(violations)))
        for template, outcome in zip(self.templates, outcomes, strict=True):
            if isinstance(outcome, Failure):
                found.append(report.Problem(self.request.group, self.job, template.source, outcome))
        return found

    def rendered(self, texts: Sequence[str]) -> RenderedJob:
        monit = texts[0]
        files = [
            RenderedFile(template.source, template.destination, text)
            for template, text in zip(self.templates[1:], texts[1:], strict=True)
        ]
        files.append(RenderedFile(LINKS_FILE, LINKS_FILE, _links_file(self.job)))
        return RenderedJob(self.job.name, monit, tuple(sorted(files, key=lambda file: file.source)))


class _SharedLinks:
    """Links of a batch. The instances of a group share their links' content, and a link may list a thousand instances."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Mapping[str, Any], DnsIds, Tree, bytes]] = {}

    def of(self, job: RenderJob, ids: DnsIds) -> tuple[Tree, bytes]:
        """The links as templates see them, and as JSON text."""
        tree: Tree = {}
        parts: list[bytes] = []
        for name, content in job.links.items():
            key = (id(content), id(ids))
            if key not in self._known:
                # Content and ids are kept, so that no other object gets their identity while this batch lasts.
                document = link_document(content, ids)
                self._known[key] = (content, ids, document, _dumped(document))
            _, _, tree[name], text = self._known[key]
            parts.append(_dumped(name) + b":" + text)
        return tree, b"{" + b",".join(parts) + b"}"


class _Cache:
    """What was rendered, the least recently used dropped when it gets larger than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._jobs: collections.OrderedDict[bytes, tuple[RenderedJob, int]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> RenderedJob | None:
        with self._lock:
            found = self._jobs.get(key)
            if found is None:
                return None
            self._jobs.move_to_end(key)
            return found[0]

    def put(self, key: bytes, job: RenderedJob) -> None:
        size = len(job.monit) + sum(len(file.text) + 200 for file in job.files)
        with self._lock:
            _, old = self._jobs.pop(key, (None, 0))
            self._jobs[key] = (job, size)
            self._size += size - old
            while self._size > self._limit and self._jobs:
                _, (_, dropped) = self._jobs.popitem(last=False)
                self._size -= dropped


def _templates(job: RenderJob) -> list[Template]:
    """Monit first, then templates, then extra monit files."""
    extra = [Template(name, name, text) for name, text in sorted(job.extra_monits.items())]
    return [Template(MONIT, MONIT, job.monit), *job.templates, *extra]


def _engine(template: Template, job: RenderJob) -> str:
    return engine_of(template.source, template.text, jinja_around=any(item.source.endswith(".j2") for item in job.templates))


def _split(document: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The document without its links, and the links: two JSON texts, since most templates never look at links."""
    rest = {key: value for key, value in document.items() if key != "links"}
    return _dumped(rest), _dumped(document.get("links") or {})


def _dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "surrogateescape")


def _links_file(job: RenderJob) -> str:
    items = [{"name": item["name"], "type": item["type"], "group": item["group"]} for item in job.provides]
    shaped: list[Tree] = sorted(items, key=lambda item: item["group"])
    return json.dumps(shaped, indent=2, ensure_ascii=False) + "\n"
