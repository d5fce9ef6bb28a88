"""`caisson portability --run`: one deployment here and on what stands in for a cloud, with the same outcome."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import CAISSON, ROOT, traces

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MANIFEST = """
name: greeter
releases: [{name: greeter, version: latest}]
stemcells: [{alias: default, os: debian-bookworm, version: latest}]
update: {canaries: 1, max_in_flight: 2, canary_watch_time: 500-20000, update_watch_time: 500-20000}
instance_groups:
- name: web
  instances: 2
  azs: [z1, z2]
  jobs: [{name: greeter, release: greeter, properties: {greeting: Hello}}]
  vm_type: small
  persistent_disk_type: small
  stemcell: default
  networks: [{name: default}]
"""


def test_the_same_comes_out_here_and_there(tmp_path: Path) -> None:
    (tmp_path / "app.yml").write_text(MANIFEST)
    release = shutil.copytree(ROOT / "docs/examples/greeter/release", tmp_path / "release")
    configs = ROOT / "manifests/cloud-configs"
    done = subprocess.run(
        [CAISSON, "portability", str(tmp_path / "app.yml"), "--cloud-config", str(configs / "local.yml"),
         "--cloud-config", str(configs / "gcp.yml"), "--run", "--release", str(release), "--json"],
        capture_output=True, text=True, timeout=800, check=False, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    printed = json.loads(done.stdout)
    (rehearsal,) = [table for table in printed["Tables"] if table["Content"] == "rehearsal"]
    facts = {row["what_came_out"]: (row["local"], row["gcp"]) for row in rehearsal["Rows"]}
    assert facts == {"web z1 greeter running": ("1", "1"), "web z2 greeter running": ("1", "1")}
    assert "The same came out everywhere" in printed["Lines"]
    assert not list(tmp_path.glob("caisson-rehearsal-*"))
    assert traces([str(tmp_path / "caisson-rehearsal-")]) == []
