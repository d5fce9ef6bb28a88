"""Which documents are compared for which difference; `director.manifest.diff` compares them. Source: planning contract, section 22."""

from __future__ import annotations

from collections.abc import Sequence

from director.manifest.load import Document, load_yaml
from director.state import store as state_store

Lines = list[list[str | None]]


def of_contents(old: str, new: str, *, redact: bool) -> Lines:
    """Between two texts of one config. Raises ManifestError."""
    return _lines([load_yaml(old, "from")], [load_yaml(new, "to")], redact)


def of_deployment(store: state_store.Store, name: str, manifest: str, *, redact: bool) -> Lines:
    """Between the last successful deploy with its configs and this manifest with the current ones. Raises ManifestError."""
    deployment = store.deployments.find(name)
    old: list[Document] = []
    if deployment is not None and deployment.manifest:
        used = store.configs.with_ids([*deployment.cloud_config_ids, *deployment.runtime_config_ids])
        old = [load_yaml(deployment.manifest, "the deployed manifest"), *(load_yaml(used[number].content, used[number].name) for number in used)]
    current = [*store.configs.current("cloud"), *store.configs.current("runtime")]
    new = [load_yaml(manifest, "manifest"), *(load_yaml(config.content, f"{config.type} config '{config.name}'") for config in current)]
    return _lines(old, new, redact)


def _lines(old: Sequence[Document], new: Sequence[Document], redact: bool) -> Lines:
    from director.manifest import diff as manifest_diff

    return [[line, status] for line, status in manifest_diff.diff(old, new, redact)]
