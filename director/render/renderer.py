"""Instances in, files out. Equal input is rendered once; all errors are told at once. Source: release contract, sections 17 and 20."""

from __future__ import annotations

import collections
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from director.render import report
from director.render.engine import Outcome, Source, engine_of
from director.render.erb import Erb, Work
from director.render.jinja import Jinja
from director.render.model import RenderedInstance, RenderedJob, RenderRequest
from director.render.units import Shared, Unit, dumped
from director.render.workers import Workers

PORTION = 4096
"""Contexts that are rendered together: enough for every processor, and a bound on memory."""


class Renderer:
    """Renders batches; keeps a Ruby process and what it rendered last. Safe to call from many threads. Close it at the end."""

    def __init__(self, ruby: str = "ruby", *, isolate: bool = True, cache_bytes: int = 48 << 20, erb: Erb | None = None) -> None:
        self._erb = erb or Workers(lambda: Erb(ruby, isolate=isolate))
        self._jinja = Jinja()
        self._cache = _Cache(cache_bytes)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._erb.close()

    def batch(self, requests: Sequence[RenderRequest]) -> Batch:
        """Read what these instances' templates will see, and render nothing yet."""
        return Batch(self, requests)

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderedInstance]:
        """Render all jobs of all instances, in the order of the requests. Raises RenderError with everything that failed."""
        return list(self.batch(requests).render(range(len(requests))))

    def jobs_of(self, units: Sequence[Unit]) -> tuple[dict[bytes, RenderedJob], list[report.Problem]]:
        """The rendered jobs by the units' keys, and everything that failed."""
        wanted: dict[bytes, Unit] = {}
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
        return found, [problem.of_group(unit.request.group) for unit in units for problem in failures.get(unit.key, ())]

    def render_text(self, file: str, text: str, document: Mapping[str, Any]) -> Outcome:
        """Fill in one template (`*.j2` is Jinja2, else ERB) with a context document, as the reference's template tool does."""
        source = Source(file, text)
        engine = engine_of(file, text, jinja_around=False)
        if engine != "erb":
            return self._jinja.fill_in(source, document) if engine == "jinja" else text
        rest = {key: value for key, value in document.items() if key not in ("properties", "links")}
        work = Work(file, dumped(rest), dumped(document.get("properties")), dumped(document.get("links") or {}), [source])
        return self._erb.fill_in([work])[0][0]

    def _filled(self, units: Sequence[Unit]) -> Iterable[tuple[Unit, list[Outcome]]]:
        """Each unit with the outcomes of its sources; those without any ERB tag never reach Ruby."""
        outcomes: list[list[Outcome | None]] = []
        work: list[Work] = []
        waiting: list[tuple[int, list[int]]] = []
        for number, unit in enumerate(units):
            row: list[Outcome | None] = []
            for source, engine in unit.part.sources:
                if engine == "text":
                    row.append(source.text)
                else:
                    row.append(self._jinja.fill_in(source, unit.document) if engine == "jinja" else None)
            outcomes.append(row)
            places = [place for place, outcome in enumerate(row) if outcome is None]
            if places:
                part = unit.part
                waiting.append((number, places))
                work.append(Work(unit.job.name, unit.spec, part.properties, part.links, [part.sources[place][0] for place in places]))
        if work:
            for (number, places), results in zip(waiting, self._erb.fill_in(work), strict=True):
                for place, result in zip(places, results, strict=True):
                    outcomes[number][place] = result
        return [(unit, [item for item in row if item is not None]) for unit, row in zip(units, outcomes, strict=True)]


class Batch:
    """Instances whose input is known; they are rendered when their files are asked for. Holds no files itself."""

    def __init__(self, renderer: Renderer, requests: Sequence[RenderRequest]) -> None:
        self._renderer, self._requests, self._shared = renderer, requests, Shared()
        keys = (b"".join(unit.key for unit in self._units(number)) for number in range(len(requests)))
        self.inputs = tuple(hashlib.sha256(key).hexdigest() for key in keys)
        """For each request a digest of everything that its templates see, and of the templates: equal ones render to equal files."""

    def render(self, numbers: Iterable[int]) -> Iterator[RenderedInstance]:
        """The instances with these numbers, some at a time: who keeps none of them needs little memory. Raises RenderError with everything
        that failed, at the end."""
        problems: list[report.Problem] = []
        for some in self._portions(numbers):
            units = [self._units(number) for number in some]
            found, wrong = self._renderer.jobs_of([unit for row in units for unit in row])
            problems += wrong
            if not problems:
                for number, row in zip(some, units, strict=True):
                    yield RenderedInstance(self._requests[number].id, tuple(found[unit.key] for unit in row))
        if problems:
            raise report.failed(problems)

    def _units(self, number: int) -> list[Unit]:
        request = self._requests[number]
        return [Unit(request, job, self._shared) for job in request.jobs]

    def _portions(self, numbers: Iterable[int]) -> Iterator[list[int]]:
        some: list[int] = []
        size = 0
        for number in numbers:
            some.append(number)
            size += len(self._requests[number].jobs)
            if size >= PORTION:
                yield some
                some, size = [], 0
        if some:
            yield some


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
