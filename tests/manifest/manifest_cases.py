"""A base manifest and cloud config that cases change by operations."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from director.manifest import model
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.dump import dump
from director.manifest.interpolate import Values, interpolate
from director.manifest.load import Document, load_yaml
from director.manifest.ops import parse_ops
from director.manifest.parse import parse_manifest
from director.release.model import JobSpec, Release, Stemcell

HERE = pathlib.Path(__file__).parent
CORPUS = HERE.parents[1] / ".." / "shared" / "corpus"


def cases(name: str) -> Any:
    """The data of `cases/NAME.yml`."""
    return load_yaml((HERE / "cases" / f"{name}.yml").read_text(), f"{name}.yml").tree


def job(name: str, release: str) -> JobSpec:
    return JobSpec(name, release, "f", "f", "d", {})


RELEASES = tuple(
    Release(name, version, jobs=tuple(job(item, name) for item in jobs))
    for name, version, jobs in (
        ("nginx", "1.2", ["nginx", "other"]), ("nginx", "1.10", ["nginx", "other"]), ("nginx", "10.0", ["nginx"]),
        ("app", "2+dev.1", ["app"]),
        ("app", "2", ["app"]), ("syslog", "1", ["syslog"]),
    )
)  # fmt: skip
STEMCELLS = (Stemcell("caisson-debian-12", "1.9", "debian-12"), Stemcell("caisson-debian-12", "1.10", "debian-12"))


def changed(tree: Any, ops: Sequence[Any], file: str) -> Document:
    """A document with text (hence lines) from a tree and operations; ((null)) stands for null, which operations cannot set."""
    made = interpolate(tree, Values({"null": None}), ops=parse_ops(dump(list(ops)), "case"))
    return load_yaml(dump(made), file)


class Base:
    """Parses the base manifest with changes."""

    def __init__(self) -> None:
        self.tree = cases("base")

    def cloud(self, ops: Sequence[Any] = ()) -> model.CloudConfig:
        return parse_cloud_config([changed(self.tree["cloud"], ops, "cloud.yml")])

    def manifest(self, ops: Sequence[Any] = (), *, cloud_ops: Sequence[Any] = (), runtime: Sequence[Any] = ()) -> model.Manifest:
        runtime_configs = [load_yaml(dump(tree), f"runtime-{index}.yml") for index, tree in enumerate(runtime)]
        return parse_manifest(
            changed(self.tree["manifest"], ops, "manifest.yml"), self.cloud(cloud_ops), runtime_configs=runtime_configs, releases=RELEASES,
            stemcells=STEMCELLS,
        )  # fmt: skip
