"""Every folder of tests/plans is a case."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from golden import CASES, run


@pytest.mark.parametrize("case", sorted(path for path in CASES.iterdir() if path.is_dir()), ids=lambda path: path.name)
def test_golden_plan(case: Path) -> None:
    assert run(case) == yaml.safe_load((case / "plan.yml").read_text())
