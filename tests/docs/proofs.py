"""What proves the rows of the tables "Easy to get wrong", read from `tests/rows.yml` for the pages that show them."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent.parent


def rows(table: str) -> dict[int, list[str]]:
    """The proofs of each row of a table, as `PATH: NAME`."""
    found: dict[int, list[str]] = yaml.safe_load((ROOT / "tests/rows.yml").read_text())[table]
    return found


def as_pytest_names(proof: str) -> str:
    """As pytest names it."""
    path, _, name = proof.partition(": ")
    return f"{path}::{name}"
