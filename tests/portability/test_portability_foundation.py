"""The foundation runs on every cloud that has a cloud config here, as far as one can say without the cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpis.portable import facts
from director.manifest.load import load_yaml
from director.portability.offer import Offer
from director.portability.study import study

ROOT = Path(__file__).parents[2]
FOUNDATION = ROOT / "manifests/foundation.yml"


@pytest.mark.parametrize("path", sorted((ROOT / "manifests/cloud-configs").glob("*.yml")), ids=lambda path: path.stem)
def test_nothing_is_missing(path: Path) -> None:
    manifest = load_yaml(FOUNDATION.read_text(), str(FOUNDATION))
    report = study("foundation", [Offer.read(path.stem, facts(path.stem), load_yaml(path.read_text(), str(path)), manifest)])
    missing = [f"{row.topic} {row.need}: {verdict.text}" for row in report.rows for verdict in row.verdicts.values()
               if verdict.state == "missing"]
    assert not missing, "\n".join(missing)
    assert report.totals[path.stem].machines == 10
