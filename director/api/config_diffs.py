"""Which documents are compared for which difference; `director.manifest.diff` compares them. Source: planning contract, section 22."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from director.errors import ManifestError, ReleaseError
from director.manifest import diff
from director.manifest.load import Document, load_yaml
from director.release import versions
from director.state import store as state_store
from director.state.configs import ConfigRow

Lines = list[list[str | None]]
Tree = dict[Any, Any]


def of_contents(old: str, new: str, *, redact: bool) -> Lines:
    """Between two texts of one config. Raises ManifestError."""
    return _lines(diff.diff([load_yaml(old, "the present config")], [load_yaml(new, "the new config")], redact))


def of_deployment(store: state_store.Store, name: str, manifest: str, *, redact: bool) -> Lines:
    """Between the last successful deploy with its configs and this manifest with the current ones; `latest` is what it was then and
    what it would be now. Raises ManifestError."""
    new = load_yaml(manifest, "the manifest")
    if not isinstance(new.tree, dict):
        raise ManifestError("Manifest should be a hash", code=440001)
    current = [*store.configs.current("cloud"), *store.configs.current("runtime")]
    old: list[Document] = []
    deployment = store.deployments.find(name)
    if deployment is not None and deployment.resolved:
        ids = [*deployment.cloud_config_ids, *deployment.runtime_config_ids]
        used = store.configs.with_ids(ids)
        old = [Document(deployment.resolved, "the deployed manifest"), *_documents(used[number] for number in ids if number in used)]
    return _lines(diff.diff(old, [new.replaced(_with_versions(store, new.tree)), *_documents(current)], redact))


def _documents(configs: Iterable[ConfigRow]) -> list[Document]:
    return [load_yaml(config.content, f"{config.type} config '{config.name}'") for config in configs]


def _with_versions(store: state_store.Store, tree: Tree) -> Tree:
    """The manifest with the versions that `latest` stands for today; what nothing fits stays as written."""

    def latest(item: Any, known: Callable[[Tree], Iterable[str]], *, stemcell: bool) -> Any:
        if not isinstance(item, dict) or not str(item.get("version", "")).endswith("latest"):
            return item
        try:
            found = versions.latest_of(str(item["version"]), known(item), stemcell=stemcell)
        except ReleaseError:
            found = None
        return {**item, "version": found} if found else item

    stemcells = store.stemcells.all()

    def of_stemcell(item: Tree) -> Iterable[str]:
        return [row.version for row in stemcells if item.get("name") in (None, row.name) and item.get("os") in (None, row.os)]

    made = dict(tree)
    if isinstance(tree.get("releases"), list):
        made["releases"] = [
            latest(item, lambda item: store.releases.versions(str(item.get("name"))), stemcell=False) for item in tree["releases"]
        ]
    if isinstance(tree.get("stemcells"), list):
        made["stemcells"] = [latest(item, of_stemcell, stemcell=True) for item in tree["stemcells"]]
    return made


def _lines(lines: Sequence[diff.Line]) -> Lines:
    return [[line, status] for line, status in lines]
