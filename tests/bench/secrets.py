"""The variables of a large manifest, made in one pass: most of the time goes into RSA keys."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from director.diagnostics import Diagnostics
from director.manifest import late
from director.manifest.load import load_yaml
from director.manifest.reader import Reader
from director.manifest.variables import read_variables
from director.state import Store
from director.variables import Vault
from director.variables.generate import key_length_of
from tests.bench.rows import Row
from tests.bench.world import ROOT, World, seconds

MANIFEST = ROOT.parent / "shared/corpus/cf-deployment/cf-deployment.yml"


def generate(world: World) -> list[Row]:
    if not MANIFEST.exists():
        raise FileNotFoundError("the corpus of public manifests is not beside this checkout")
    document = load_yaml(MANIFEST.read_text(), "cf-deployment.yml")
    tree = late.resolve(document.tree["variables"], lambda name: "sys.example.org")
    variables = read_variables(Reader(document, Diagnostics()), tree, ("variables",), "")
    folder = world.folder / "variables"
    folder.mkdir()
    with Store(folder / "state.db") as store:
        vault = Vault(store, folder / "vault.key")
        value = seconds(lambda: vault.ensure("cf", variables))
        again = seconds(lambda: vault.ensure("cf", variables))
    keys = sum(key_length_of(variable.type, variable.options) is not None for variable in variables)
    peer = seconds(lambda: _openssl(keys, folder))
    compared = f"openssl, the keys only, on all processors: {peer:.2f} s"
    return [
        Row(f"make {len(variables)} variables ({keys} RSA keys)", value, "s", None, compared, peer),
        Row(f"find {len(variables)} variables made", again, "s"),
    ]


def _openssl(count: int, folder: Path) -> None:
    command = f"seq {count} | xargs -P {os.cpu_count()} -I @ openssl genrsa -out {folder}/@.pem 2048"
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
