"""Templates to files: ERB and Jinja2 over one shared context. Knows no database and no machine; its only process is Ruby's.

In reading order: model (what goes in and comes out), context (the document templates see), engine (outcomes), erb, jinja, schema
(properties_schema.json), report (errors), renderer (the whole).
"""

from __future__ import annotations

from director.render.model import DnsIds, RenderedFile, RenderedInstance, RenderedJob, RenderJob, RenderRequest, Template
from director.render.renderer import Renderer

__all__ = ["DnsIds", "RenderJob", "RenderRequest", "RenderedFile", "RenderedInstance", "RenderedJob", "Renderer", "Template"]
