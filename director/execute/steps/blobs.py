"""Blobs reach a machine: only those it lacks, verified there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from director.errors import CaissonError, NotFetched
from director.execute import parallel
from director.execute.context import Context
from director.machine.agent import Agent, bare, blobs_of
from director.state.blobs import BlobRow

STREAMS = 2  # one SSH connection carries them all; more only share it
FETCHED = ("package", "compiled-package")  # hold no secrets, unlike rendered templates: those only travel over SSH


class Sources(Protocol):
    """Where content is found by digest (bare sha256 hex)."""

    def blob(self, digest: str) -> bytes | None:
        """Content made for this operation (rendered templates), or None when the blobstore has it."""


def send(ctx: Context, agent: Agent, spec: Mapping[str, Any], sources: Sources) -> None:
    """Give the machine all blobs that `prepare` and `apply` of the spec need. Raises AgentError, for example when its disk is full."""
    missing = agent.missing_blobs(blobs_of(spec))
    parallel.each(missing, lambda digest: send_one(ctx, agent, digest, sources), STREAMS, ctx.check)


def send_one(ctx: Context, agent: Agent, digest: str, sources: Sources | None = None) -> None:
    content = sources.blob(bare(digest)) if sources else None
    if content is not None:
        agent.put_blob(content, digest)
        return
    blob = ctx.store.blobs.by_sha256(bare(digest))
    if blob is None:
        raise CaissonError(
            f"Blob sha256:{bare(digest)} is not in the blobstore",
            suggestion="Upload the release again with `caisson upload-release --fix`.",
        )
    if not _fetched(ctx, agent, digest, blob):
        agent.put_blob(ctx.blobs.path(blob.id), digest)


def _fetched(ctx: Context, agent: Agent, digest: str, blob: BlobRow) -> bool:
    """Let the machine fetch the blob itself, where it may; whether it did. One that cannot is not asked again in this task."""
    urls = ctx.blob_urls
    if urls is None or blob.kind not in FETCHED or agent in urls.cut_off:
        return False
    try:
        agent.fetch_blob(urls.make(blob.id), digest, ca=urls.ca, cancel=ctx.cancel)
    except NotFetched as error:
        urls.cut_off.add(agent)
        ctx.log.debug(f"{error.message}; the director sends blobs to this machine over SSH")
        return False
    ctx.log.debug(f"Blob {digest} was fetched by the machine itself")
    return True
