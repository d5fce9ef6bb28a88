"""Checks of a cloud that are made from here, without a director."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from director.cli import templates
from director.errors import CloudError, NotFoundError, UsageError
from director.manifest.load import Document

_MARK = "caisson-check"


def from_here(
    cpi_type: str, name: str, config_path: str, cloud_configs: tuple[str, ...], sources: templates.Sources, images: tuple[str, ...] = (),
) -> Iterator[Mapping[str, Any]]:
    """The checks of one cloud, made in this process: rows of `Check` with `cpi`. `config_path` has the CPI's properties, or is a CPI config
    with one entry of that type (and name). Every zone of the cloud configs is taken for one of this cloud; `images` are CIDs of
    stemcells to look for. Raises CloudError, NotFoundError, UsageError."""
    from cpis import registry
    from cpis.contract import CpiError
    from director.execute.cloud_checks import checks

    properties = _properties(templates.evaluate(config_path, sources).tree, cpi_type, name)
    documents = [templates.evaluate(path, sources).document for path in cloud_configs]
    types = dict.fromkeys([name, *_cpis_of(documents)], cpi_type)
    try:
        with contextlib.closing(registry.load(cpi_type, {"director": _MARK, **properties})) as cpi:
            for check in checks(cpi, name, types, documents, images):
                yield {"cpi": name or cpi_type, **dataclasses.asdict(check)}
    except CpiError as error:
        raise CloudError(f"{cpi_type}: {error.message}", suggestion=error.suggestion) from error


def _properties(tree: Any, cpi_type: str, name: str) -> dict[str, Any]:
    """Of a CPI config's entry, or of a file that has the properties alone (below `properties`, or not). Raises UsageError,
    NotFoundError."""
    if not isinstance(tree, dict):
        raise UsageError("The file of --config must be a hash")
    entries = tree.get("cpis")
    if not isinstance(entries, list):
        inner = tree.get("properties", tree)
        return dict(inner) if isinstance(inner, dict) else {}
    fitting = [
        item for item in entries if isinstance(item, dict) and item.get("type") == cpi_type and name in ("", item.get("name"))]
    if len(fitting) != 1:
        names = ", ".join(str(item.get("name")) for item in entries if isinstance(item, dict))
        raise NotFoundError(
            f"The CPI config has {len(fitting) or 'no'} entries of type '{cpi_type}'{f' and name {name!r}' if name else ''}",
            suggestion=f"Name one of: {names}.")
    return dict(fitting[0].get("properties") or {})


def _cpis_of(documents: list[Document]) -> list[str]:
    return [
        str(az.get("cpi")) for document in documents if isinstance(document.tree, dict)
        for az in document.tree.get("azs") or () if isinstance(az, dict) and az.get("cpi")
    ]
