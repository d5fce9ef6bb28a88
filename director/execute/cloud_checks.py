"""Whether a cloud is ready for what the cloud config asks of it. Makes nothing there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from cpis import contract
from cpis.hurry import Hurry
from director.errors import ManifestError
from director.execute import cloud_uses
from director.execute.context import Context
from director.execute.in_time import TimeOver, in_time
from director.manifest import late
from director.manifest.load import Document, load_yaml

SECONDS = 30.0
"""For all checks of one cloud, unless somebody gives more or less."""


def check_cloud(ctx: Context, name: str, seconds: float = SECONDS) -> str:
    """The checks of the CPI of that name ('' is the director's own), a line of JSON each in the result as soon as it is known. Raises
    NotFoundError for a name that is none, CloudError when the CPI refuses its configuration."""
    cpi = ctx.cpi(name)
    stage = ctx.log.stage(f"Checking cloud{f' {name}' if name else ''}", 1)
    with stage.step(cpi.name):
        images = [row.cid for alias in ctx.clouds.aliases(name) for row in ctx.store.stemcells.all() if row.cpi == alias]
        bad = 0
        for check in checks(cpi, name, ctx.clouds.types(), _cloud_configs(ctx), images, seconds=seconds, watch=ctx.check):
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
    cpi: contract.Cpi, name: str, types: Mapping[str, str], documents: Sequence[Document], images: Sequence[str], *,
    seconds: float = SECONDS, watch: Callable[[], None] = lambda: None, ended: Callable[[], object] = lambda: None,
) -> Iterator[contract.Check]:
    """One after the other, each as soon as it is known: what schemas say of cloud properties, then what the cloud says. `types` are clouds
    by CPI name. A cloud that is not reached or does not let us in is asked nothing more, and none after `seconds`: what is left is told
    as not asked. `watch` and `ended` are those of `in_time`.
    """
    known = types if name in types else {**types, name: cpi.name}
    uses = cloud_uses.uses(documents, name, known, images)
    for problem in cloud_uses.problems(documents, known, only=name):
        yield contract.Check(str(problem.where or problem.summary), "configuration", False, problem.summary, problem.suggestion)
    entered, kinds = False, set[str]()
    try:
        for check in in_time(lambda: _asked(cpi, uses), Hurry(seconds), watch, ended):
            yield check
            if check.kind in ("reach", "authenticate"):
                if check.ok is False:
                    yield from _not_asked(uses, set(), f"{check.name} failed")
                    return
                entered = True
            elif entered:
                kinds.add(check.kind)
    except TimeOver as over:
        yield _late(cpi.name, over.doing, seconds, entered)
        yield from _not_asked(uses, kinds, "the time was over")


def _asked(cpi: contract.Cpi, uses: contract.Uses) -> Iterator[contract.Check]:
    if isinstance(cpi, contract.CloudChecker):
        yield from cpi.checks(uses)
    elif isinstance(cpi, contract.Checked):
        try:
            cpi.check()
        except contract.CpiError as error:
            yield contract.Check.failed(cpi.name, "reach", error)
        else:
            yield contract.Check(cpi.name, "reach", True, "all that it needs is there")
    else:
        yield contract.Check(cpi.name, "reach", None, f"the {cpi.name} CPI has no checks of its own")


def _late(cloud: str, doing: str, seconds: float, entered: bool) -> contract.Check:
    """The check that had no answer when the time was over."""
    more = f"`--timeout {2 * seconds:.0f}` waits longer."
    words = f"no answer within {seconds:g} s{f', to: {doing}' if doing else ''}"
    if entered:
        return contract.Check("time for all checks", "reach", False, words, f"The cloud may be slow. {more}")
    return contract.Check(
        f"the {cloud} cloud answers", "reach", False, words,
        f"Is the endpoint of the CPI config right, and does a proxy or firewall swallow what is sent to it? {more}")


def _not_asked(uses: contract.Uses, kinds: set[str], why: str) -> Iterator[contract.Check]:
    """A row for each thing of a kind that nothing has been told of."""
    left: tuple[tuple[str, contract.CheckKind, Sequence[str]], ...] = (
        ("", "quota", ("what the account may do, and how much is left",)), ("az", "configuration", tuple(uses.azs)),
        ("network", "network", tuple(uses.networks)), ("vm_type", "configuration", tuple(uses.vm_types)),
        ("disk_type", "storage", tuple(uses.disk_types)), ("stemcell", "image", uses.stemcell_cids),
    )
    for word, kind, names in left:
        for name in names if kind not in kinds else ():
            yield contract.Check(f"{word} {name}".lstrip(), kind, None, f"not asked: {why}", asked=False)
