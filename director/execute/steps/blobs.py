"""Blobs reach a machine: only those it lacks, verified there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from director.errors import CaissonError
from director.execute import parallel
from director.execute.context import Context
from director.machine.agent import Agent, bare, blobs_of

STREAMS = 2  # one SSH connection carries them all; more only share it


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
    agent.put_blob(ctx.blobs.path(blob.id), digest)
