"""Whether a cloud is ready for what the cloud config asks of it. Makes nothing there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

from cpis import contract
from director.errors import ManifestError
from director.execute import cloud_uses
from director.execute.context import Context
from director.manifest import late
from director.manifest.load import Document, load_yaml


def check_cloud(ctx: Context, name: str) -> str:
    """The checks of the CPI of that name ('' is the director's own), a line of JSON each in the result. Raises NotFoundError for a name
    that is none, CloudError when the CPI refuses its configuration."""
    cpi = ctx.cpi(name)
    stage = ctx.log.stage(f"Checking cloud{f' {name}' if name else ''}", 1)
    with stage.step(cpi.name):
        images = [row.cid for alias in ctx.clouds.aliases(name) for row in ctx.store.stemcells.all() if row.cpi == alias]
        bad = 0
        for check in checks(cpi, name, ctx.clouds.types(), _cloud_configs(ctx), images):
            ctx.check()
            bad += check.ok is False
            ctx.log.result(json.dumps({"cpi": name, **dataclasses.asdict(check)}) + "\n")
    return f"{bad} check(s) failed" if bad else "all checks passed"


def _cloud_configs(ctx: Context) -> list[Document]:
    """With placeholders filled in as far as there are values."""
    found = []
    for row in ctx.store.configs.current("cloud"):
        document = load_yaml(row.content, f"cloud-config '{row.name}'")
        try:
            document = late.interpolate_for_director(document, ctx.vault.lookup(""), "cloud")
        except ManifestError as error:
            ctx.log.warning(f"Placeholders of the cloud config stay as they are: {error.message}")
        found.append(document)
    return found


def checks(
    cpi: contract.Cpi, name: str, types: Mapping[str, str], documents: Sequence[Document], images: Sequence[str],
) -> Iterator[contract.Check]:
    """One after the other: what schemas say of cloud properties, then what the cloud says. `types` are clouds by CPI name."""
    known = types if name in types else {**types, name: cpi.name}
    for problem in cloud_uses.problems(documents, known, only=name):
        yield contract.Check(str(problem.where or problem.summary), "configuration", False, problem.summary, problem.suggestion)
    if isinstance(cpi, contract.CloudChecker):
        yield from cpi.checks(cloud_uses.uses(documents, name, known, images))
    elif isinstance(cpi, contract.Checked):
        try:
            cpi.check()
        except contract.CpiError as error:
            yield contract.Check.failed(cpi.name, "reach", error)
        else:
            yield contract.Check(cpi.name, "reach", True, "all that it needs is there")
    else:
        yield contract.Check(cpi.name, "reach", None, f"the {cpi.name} CPI has no checks of its own")
