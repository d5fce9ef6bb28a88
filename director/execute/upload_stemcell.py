"""A stemcell arrives. Source: release contract, section 12."""

from __future__ import annotations

from director.errors import ReleaseError
from director.execute.clouds import translated
from director.execute.context import Context
from director.execute.fetch import Upload, fetched
from director.execute.progress import Stage
from director.release.stemcell import StemcellArchive, read_stemcell
from director.state.stemcells import StemcellRow

NO_FORMAT = 50008
LOCK_SECONDS = 900.0


def upload_stemcell(ctx: Context, upload: Upload) -> str:
    """Give a stemcell to every CPI that takes its format. The task's result."""
    with fetched(ctx, upload, "stemcell") as path:
        stage = ctx.log.stage("Update stemcell", 3)
        with stage.step("Extracting stemcell archive"):
            stemcell = read_stemcell(path, workdir=ctx.blobs.incoming)
        name = f"{stemcell.name}/{stemcell.version}"
        with (
            stemcell, ctx.lock(f"lock:stemcells:{stemcell.name}:{stemcell.version}", LOCK_SECONDS * max(1, len(ctx.clouds.names()))),
            ctx.event("create", "stemcell", name),
        ):
            with stage.step("Verifying stemcell manifest"):
                takers = _takers(ctx, stemcell)
            for cpi in takers:
                _give(ctx, stage, stemcell, cpi, fix=upload.fix)
    return f"/stemcells/{name}"


def _takers(ctx: Context, stemcell: StemcellArchive) -> list[str]:
    """The CPIs that take one of its formats; all, when it names none. Raises ReleaseError 50008 when none does."""
    with translated("Asking clouds for the formats they take"):
        known = {name: ctx.cpi(name).info().stemcell_formats for name in ctx.clouds.names()}
    takers = [name for name, formats in known.items() if not stemcell.formats or set(stemcell.formats) & set(formats)]
    if not takers:
        formats = sorted({item for formats in known.values() for item in formats})
        raise ReleaseError(
            f"uploaded stemcell with formats {_quoted(stemcell.formats)} are not supported by available cpi formats: {_quoted(formats)}",
            code=NO_FORMAT, suggestion="Upload the stemcell that was made for this cloud.")
    return takers


def _quoted(words: list[str] | tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _give(ctx: Context, stage: Stage, stemcell: StemcellArchive, cpi: str, *, fix: bool) -> None:
    where = f" (cpi: {cpi})" if cpi else ""
    with stage.step(f"Checking if this stemcell already exists{where}"):
        there = any(ctx.store.stemcells.find(stemcell.name, stemcell.version, name) for name in ctx.clouds.aliases(cpi))
    if there and not fix:
        return
    with stage.step(f"Uploading stemcell {stemcell.name}/{stemcell.version} to the cloud{where}"):
        _create(ctx, stemcell, cpi)


def _create(ctx: Context, stemcell: StemcellArchive, cpi: str) -> None:
    token = f"stemcell-{ctx.new_id()}"
    image = str(stemcell.image) if stemcell.image and not stemcell.is_light else ""

    def record(cid: str) -> None:
        ctx.store.stemcells.add(StemcellRow(
            name=stemcell.name, version=stemcell.version, os=stemcell.os, cid=cid, token=token, cpi=cpi, api_version=stemcell.api_version,
            cloud_properties=dict(stemcell.cloud_properties),
        ))

    ctx.journal.perform(
        "create_stemcell", token, "", f"Uploading stemcell {stemcell.name}/{stemcell.version}", {"cpi": cpi},
        lambda: ctx.cpi(cpi).create_stemcell(image, dict(stemcell.cloud_properties), token), record,
    )
