"""One job on one instance: what its templates see, as engines want it, and a digest of it. Source: release contract, sections 17 and 20."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from director.render import report, schema
from director.render.context import context_of, link_document
from director.render.engine import Failure, Outcome, Source, engine_of
from director.render.model import DnsIds, RenderedFile, RenderedJob, RenderJob, RenderRequest, Template, Tree

MONIT = "monit"
LINKS_FILE = ".bosh/links.json"


class Unit:
    """`key` tells whether two units render to the same. `spec` is the JSON text of the document without properties and links."""

    __slots__ = ("document", "key", "part", "request", "spec")

    def __init__(self, request: RenderRequest, job: RenderJob, shared: Shared) -> None:
        self.request = request
        self.part = shared.part(job, request.ids)
        self.document = context_of(request, job, self.part.link_tree)
        self.spec = dumped({key: value for key, value in self.document.items() if key not in ("properties", "links")})
        self.key = hashlib.sha256(self.part.digest + self.spec).digest()

    @property
    def job(self) -> RenderJob:
        return self.part.job

    def problems(self, outcomes: Sequence[Outcome]) -> list[report.Problem]:
        """What went wrong: violations of the schema first, then templates in order."""
        found = []
        if self.job.properties_schema is not None:
            violations = schema.violations(self.job.properties_schema, self.job.properties)
            if violations:
                found.append(report.Problem(self.request.group, self.job, "", Failure(""), tuple(violations)))
        for template, outcome in zip(self.part.templates, outcomes, strict=True):
            if isinstance(outcome, Failure):
                found.append(report.Problem(self.request.group, self.job, template.source, outcome))
        return found

    def rendered(self, texts: Sequence[str]) -> RenderedJob:
        """The files, of the texts that came of the templates."""
        monit = texts[0]
        files = [
            RenderedFile(template.source, template.destination, text)
            for template, text in zip(self.part.templates[1:], texts[1:], strict=True)
        ]
        files.append(RenderedFile(LINKS_FILE, LINKS_FILE, self.part.links_file))
        return RenderedJob(self.job.name, monit, tuple(sorted(files, key=lambda file: file.source)))


class Part:
    """What the instances of a group share of a job: templates, properties, links. The texts are JSON."""

    __slots__ = ("digest", "job", "link_tree", "links", "links_file", "properties", "sources", "templates")

    def __init__(self, job: RenderJob, properties: bytes, link_tree: Tree, links: bytes) -> None:
        self.job = job
        self.properties, self.link_tree, self.links = properties, link_tree, links
        self.templates = _templates(job)
        self.sources = [(Source(f"{job.name}/{item.source}", item.text), _engine(item, job)) for item in self.templates]
        self.links_file = _links_file(job)
        self.digest = self._digest()

    def _digest(self) -> bytes:
        job = self.job
        total = hashlib.sha256()
        for text in (
            self.properties, self.links, job.name.encode(), dumped(job.provides), dumped(job.properties_schema),
            *(f"{item.source}\0{item.destination}\0{item.text}".encode("utf-8", "surrogateescape") for item in self.templates),
        ):
            total.update(len(text).to_bytes(8, "big") + text)
        return total.digest()


class Shared:
    """Parts of a batch. Jobs, properties and links are objects that the instances of a group have in common, and a link may list a
    thousand instances; what is looked up by identity is kept, so that nothing else gets the same identity while the batch lasts."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], tuple[RenderJob, DnsIds, Part]] = {}
        self._links: dict[tuple[int, int], tuple[Mapping[str, Any], DnsIds, Tree, bytes]] = {}
        self._properties: dict[int, tuple[Tree, bytes]] = {}

    def part(self, job: RenderJob, ids: DnsIds) -> Part:
        key = (id(job), id(ids))
        if key not in self._parts:
            self._parts[key] = (job, ids, Part(job, self._text(job.properties), *self._linked(job, ids)))
        return self._parts[key][2]

    def _text(self, properties: Tree) -> bytes:
        if id(properties) not in self._properties:
            self._properties[id(properties)] = (properties, dumped(properties))
        return self._properties[id(properties)][1]

    def _linked(self, job: RenderJob, ids: DnsIds) -> tuple[Tree, bytes]:
        """The links as templates see them, and as JSON text."""
        tree: Tree = {}
        parts: list[bytes] = []
        for name, content in job.links.items():
            key = (id(content), id(ids))
            if key not in self._links:
                document = link_document(content, ids)
                self._links[key] = (content, ids, document, dumped(document))
            _, _, tree[name], text = self._links[key]
            parts.append(dumped(name) + b":" + text)
        return tree, b"{" + b",".join(parts) + b"}"


def dumped(value: Any) -> bytes:
    """JSON for Ruby, and for digests."""
    return _ENCODER.encode(value).encode("utf-8", "surrogateescape")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


def _templates(job: RenderJob) -> list[Template]:
    """Monit first, then templates, then extra monit files."""
    extra = [Template(name, name, text) for name, text in sorted(job.extra_monits.items())]
    return [Template(MONIT, MONIT, job.monit), *job.templates, *extra]


def _engine(template: Template, job: RenderJob) -> str:
    return engine_of(template.source, template.text, jinja_around=any(item.source.endswith(".j2") for item in job.templates))


def _links_file(job: RenderJob) -> str:
    items = [{"name": item["name"], "type": item["type"], "group": item["group"]} for item in job.provides]
    shaped: list[Tree] = sorted(items, key=lambda item: item["group"])
    return json.dumps(shaped, indent=2, ensure_ascii=False) + "\n"
