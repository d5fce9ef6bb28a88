"""What reading costs: the largest manifest that is public, ops files, errors, and a manifest of 5 MB."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from director.errors import ManifestError
from director.manifest import model
from director.manifest.cloud_config import parse_cloud_config
from director.manifest.dump import dump
from director.manifest.interpolate import Values, interpolate
from director.manifest.load import Document, load_yaml
from director.manifest.ops import apply_ops, parse_ops
from director.manifest.parse import parse_manifest
from tests.bench.rows import Row
from tests.bench.world import CAISSON, ROOT, World

CORPUS = ROOT.parent / "shared/corpus"
FOLDER = CORPUS / "cf-deployment"
DOMAIN = {"system_domain": "example.com"}
OPS = 20
ERRORS = 200
LARGE_BYTES = 5_000_000
TIMES = 9
# All that anyone must do: start, and have libyaml make data of the same files.
LIBYAML = "import sys, yaml\nfor name in sys.argv[1:]:\n    yaml.load(open(name, 'rb'), Loader=yaml.CSafeLoader)\n"


def read(world: World) -> list[Row]:
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"the corpus is not at {CORPUS}")
    text, cloud = (FOLDER / "cf-deployment.yml").read_text(), _cloud_config()
    value = _best(lambda: _parsed(text, cloud))
    peer = _best(lambda: yaml.load(text, Loader=yaml.CSafeLoader))
    row = Row("parse, interpolate and validate cf-deployment", value, "s", 0.5, f"libyaml reading it: {peer:.3f} s", peer)
    return [row, _int_with_ops(world), *_many_errors(text, cloud), *_large(world, text)]


def _parsed(text: str, cloud: Document) -> model.Manifest:
    document = load_yaml(text, "cf-deployment.yml")
    filled_in = document.replaced(interpolate(document.tree, Values.of(DOMAIN)))
    return parse_manifest(filled_in, parse_cloud_config([cloud]))


def _cloud_config() -> Document:
    """The corpus has a cloud config for one computer; extensions that only clouds have are added."""
    document = load_yaml((FOLDER / "iaas-support/bosh-lite/cloud-config.yml").read_text(), "cloud-config.yml")
    manifest = load_yaml((FOLDER / "cf-deployment.yml").read_text(), "cf-deployment.yml").tree
    known = {item["name"] for item in document.tree["vm_extensions"]}
    wanted = {name for group in manifest["instance_groups"] for name in group.get("vm_extensions", ())}
    more = [{"name": name} for name in sorted(wanted - known)]
    return document.replaced({**document.tree, "vm_extensions": [*document.tree["vm_extensions"], *more]})


def _int_with_ops(world: World) -> Row:
    """Whole processes, bytecode compiled as in an installation."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(world.folder / "bytecode")
    ops = _ops_that_go_together()
    command = [CAISSON, "int", "cf-deployment.yml", *(word for name in ops for word in ("-o", name)), "-v", "system_domain=example.com"]
    bare = [sys.executable, "-c", LIBYAML, "cf-deployment.yml", *ops]
    value, peer = _processes(command, environment), _processes(bare, environment)
    compared = f"bare Python and libyaml reading the same files: {1000 * peer:.0f} ms"
    return Row(f"caisson int with {OPS} ops files", 1000 * value, "ms", 3000 * peer, compared, 1000 * peer)


def _ops_that_go_together() -> list[str]:
    """The first recorded ops files that succeed after each other."""
    rows = json.loads((CORPUS / "expected/interpolate.json").read_text())
    names = [row["args"][1] for row in rows if row["ok"] and len(row["args"]) == 2 and row["args"][0] == "-o"]
    found: list[str] = []
    tree = load_yaml((FOLDER / "cf-deployment.yml").read_text(), "cf-deployment.yml").tree
    for name in names:
        if len(found) == OPS:
            break
        try:
            tree = apply_ops(tree, parse_ops((FOLDER / name).read_text(), name))
        except ManifestError:
            continue
        found.append(name)
    return found


def _many_errors(text: str, cloud: Document) -> list[Row]:
    """Wrong types, unknown keys and names that are not there, four in each group."""
    tree = load_yaml(text, "many.yml").tree
    wrong = {"instances": "two", "azs": ["z9"], "vm_type": "smal", "stemcell": "default", "networks": [{"name": "default"}],
             "jobs": [], "persistent_disk": "large"}  # fmt: skip
    groups = [{"name": f"group-{number}", **wrong} for number in range(ERRORS // 4)]
    bad = dump({**tree, "instance_groups": groups})
    told: list[int] = []

    def validate() -> None:
        try:
            _parsed(bad, cloud)
        except ManifestError as error:
            told.append(len(error.diagnostics))

    value = _best(validate)
    reported = told[-1] if told else 0
    peer = _best(lambda: yaml.load(bad, Loader=yaml.CSafeLoader))
    name = f"validate a manifest with {ERRORS} errors"
    return [
        Row(name, value, "s", 1, f"libyaml reading it: {peer:.3f} s", peer),
        Row(f"{name}: reported", float(reported), "errors", ERRORS, "all", float(ERRORS), at_least=True),
    ]


def _large(world: World, text: str) -> list[Row]:
    tree = load_yaml(text, "large.yml").tree
    groups: list[Any] = []
    size = len(dump(tree["instance_groups"]))
    for number in range(LARGE_BYTES // size + 1):
        groups += [{**group, "name": f"{group['name']}-{number}"} for group in tree["instance_groups"]]
    file = world.file("large.yml", dump({**tree, "instance_groups": groups}))
    value = _processes([CAISSON, "int", file, "-v", "system_domain=example.com"], dict(os.environ), times=1)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of all children until now, of which this is the largest
    peer = _processes([sys.executable, "-c", LIBYAML, file], dict(os.environ), times=1)
    megabytes = Path(file).stat().st_size / 1e6
    compared = f"bare Python and libyaml reading it: {peer:.2f} s"
    return [
        Row(f"caisson int of a manifest of {megabytes:.1f} MB", value, "s", 3 * peer, compared, peer),
        Row("memory of that, at most", peak, "MiB", 1024),
    ]


def _processes(command: Sequence[str], environment: dict[str, str], times: int = TIMES) -> float:
    found = []
    for _ in range(times + 1):  # the first one warms the caches
        started = time.perf_counter()
        subprocess.run(command, cwd=FOLDER, env=environment, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - started)
    return sorted(found[1:])[times // 2]


def _best(work: Callable[[], object], times: int = 5) -> float:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)
