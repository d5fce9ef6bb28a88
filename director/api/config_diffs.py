"""Which documents are compared for which difference; `director.manifest.diff` compares them. Source: planning contract, section 22."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from director.errors import ManifestError, ReleaseError
from director.manifest import diff
from director.manifest.applicable import applicable
from director.manifest.load import Document, load_yaml
from director.release import versions
from director.state import store as state_store
from director.state.configs import ConfigRow
from director.state.deployments import DeploymentRow

Lines = list[list[str | None]]
Tree = dict[Any, Any]


def of_contents(old: str, new: str, *, redact: bool) -> Lines:
    """Between two texts of one config. Raises ManifestError."""
    return _lines(diff.diff([load_yaml(old, "the present config")], [load_yaml(new, "the new config")], redact))


def of_deployment(store: state_store.Store, name: str, manifest: str, *, redact: bool) -> Lines:
    """Between the last successful deploy with its configs and this manifest with the current ones; `latest` is what it was then and
    what it would be now; placeholders are not filled in on either side. Raises ManifestError."""
    new = load_yaml(manifest, "the manifest")
    if not isinstance(new.tree, dict):
        raise ManifestError("Manifest should be a hash", code=440001)
    deployment = store.deployments.find(name)
    parts = _Parts(store, deployment.teams if deployment else ())
    current = [*store.configs.current("cloud"), *store.configs.current("runtime")]
    old: list[Document] = []
    if deployment is not None and deployment.resolved:
        ids = [*deployment.cloud_config_ids, *deployment.runtime_config_ids]
        used = store.configs.with_ids(ids)
        old = parts.of(Document(_deployed(deployment)), [used[number] for number in ids if number in used])
    return _lines(diff.diff(old, parts.of(new.replaced(_with_versions(store, new.tree)), current), redact))


def _deployed(deployment: DeploymentRow) -> Tree:
    """The deployed manifest as it was written, with the versions that it was deployed with."""
    resolved: Tree = deployment.resolved or {}
    written = load_yaml(deployment.manifest, "the deployed manifest").tree if deployment.manifest else None
    if not isinstance(written, dict):
        return resolved
    made = dict(written)
    for section in ("releases", "stemcells"):
        old, new = written.get(section), resolved.get(section)
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            made[section] = [
                {**item, "version": known.get("version")} if _floats(item) and isinstance(known, dict) else item
                for item, known in zip(old, new, strict=True)]
    return made


def _floats(item: Any) -> bool:
    """Whether it is a release or stemcell whose version is looked up at each deploy."""
    return isinstance(item, dict) and str(item.get("version", "")).endswith("latest")


class _Parts:
    """A manifest with what of the configs concerns it."""

    def __init__(self, store: state_store.Store, teams: Collection[str]) -> None:
        self._teams, self._os_of = teams, {row.name: row.os for row in store.stemcells.all()}

    def of(self, manifest: Document, configs: Iterable[ConfigRow]) -> list[Document]:
        found = [(config.type, load_yaml(config.content, f"{config.type} config '{config.name}'")) for config in configs]
        return [manifest, *(
            applicable(document, manifest.tree, teams=self._teams, os_of=self._os_of) if kind == "runtime" else document
            for kind, document in found)]


def _with_versions(store: state_store.Store, tree: Tree) -> Tree:
    """The manifest with the versions that `latest` stands for today; what nothing fits stays as written."""

    def latest(item: Any, known: Callable[[Tree], Iterable[str]], *, stemcell: bool) -> Any:
        if not _floats(item):
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
