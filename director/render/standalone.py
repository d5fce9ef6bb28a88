"""One template and one context document, without a deployment: what the reference's template tool does.

The engines are the director's own, so the results are too. Source of the context: release contract, section 17.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from director.diagnostics import Diagnostic, Where, did_you_mean
from director.errors import RenderError
from director.render.context import link_document
from director.render.engine import Failure
from director.render.model import DnsIds
from director.render.renderer import Renderer

_PROPERTY = re.compile(r"Can't find property '(\[.*?\])'", re.DOTALL)
_LINK = re.compile(r"Can't find link '(.*?)'", re.DOTALL)


def fill_in(file: str, text: str, context: Mapping[str, Any], *, engine: str = "") -> str:
    """The filled in template. `engine` is `erb` or `jinja2`, by default what the file's name says.

    Raises RenderError with the template's line, and the nearest name for a property or link that is not there.
    """
    document = {**context, "properties": context.get("properties") or {}, "links": _links(context)}
    jinja = engine == "jinja2" or (not engine and file.endswith(".j2"))
    name = file if jinja == file.endswith(".j2") else file + (".j2" if jinja else ".erb")
    with Renderer() as renderer:
        outcome = renderer.render_text(name, text, document)
    if isinstance(outcome, Failure):
        line = "(unknown)" if outcome.line is None else outcome.line
        summary = f"Error filling in template '{file}' (line {line}: {outcome.message})"
        raise RenderError(Diagnostic(summary, where=Where(file, outcome.place), suggestion=_suggestion(outcome.message, document)))
    return outcome


def _links(context: Mapping[str, Any]) -> dict[str, Any]:
    """Links with what `address` needs: of a group its DNS name, of a manual link its own address."""
    links = context.get("links")
    made = {}
    for name, link in (links if isinstance(links, Mapping) else {}).items():
        if isinstance(link, Mapping) and "address" not in link and (group := link.get("group_name") or link.get("instance_group")):
            link = link_document({**link, "group_name": group}, DnsIds())
        made[name] = link
    return made


def _suggestion(message: str, document: Mapping[str, Any]) -> str:
    found = _PROPERTY.search(message)
    if found:
        known = list(_dotted(document["properties"]))
        return " ".join(
            did_you_mean(name, known) or f"The context has no '{name}' below properties." for name in re.findall(r'"([^"]*)"', found[1])
        )
    found = _LINK.search(message)
    if found:
        return did_you_mean(found[1], document["links"]) or f"The context has no '{found[1]}' below links, or it lists no instances."
    return ""


def _dotted(tree: Any, prefix: str = "") -> Iterator[str]:
    """Names of all that is set, `a` and `a.b`."""
    for key, value in (tree if isinstance(tree, Mapping) else {}).items():
        yield f"{prefix}{key}"
        yield from _dotted(value, f"{prefix}{key}.")
