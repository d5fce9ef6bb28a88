"""Every row of the tables "Easy to get wrong" has a test: `tests/rows.yml` says which."""

from __future__ import annotations

import re
from pathlib import Path

import cloud_rows
import names_rows
import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ROWS: dict[str, dict[int, list[str]]] = yaml.safe_load((ROOT / "tests/rows.yml").read_text())
CONTRACTS = ROOT.parent / "shared" / "reference"


@pytest.mark.parametrize("table", ROWS)
def test_every_row_is_proved_by_tests_that_exist(table: str) -> None:
    rows = ROWS[table]
    assert list(rows) == list(range(1, len(rows) + 1)), "no row is left out"
    missing = [f"row {number}: {text}" for number, proofs in rows.items() for text in proofs if not _exists(text)]
    assert missing == []
    assert all(rows.values())


@pytest.mark.parametrize("table", ROWS)
def test_no_row_of_the_contract_is_forgotten(table: str) -> None:
    contract = CONTRACTS / f"{table}.md"
    if not contract.is_file():
        pytest.skip(f"the contract '{table}' is not on this computer")
    text = contract.read_text()
    section = text[text.index(". Easy to get wrong\n"):]
    numbers = [int(found) for found in re.findall(r"^(?:\| )?(\d+)(?:\.| \|) ", section, re.MULTILINE)]
    assert set(numbers) == set(ROWS[table])


def test_the_page_of_names_is_up_to_date() -> None:
    assert names_rows.PAGE.read_text() == names_rows.text(), "make it anew: python -m tests.docs.names_rows"


def test_the_page_of_clouds_is_up_to_date() -> None:
    assert cloud_rows.gaps() == []
    assert cloud_rows.PAGE.read_text() == cloud_rows.text(), "make it anew: python -m tests.docs.cloud_rows"


def _exists(proof: str) -> bool:
    if proof.startswith("plans/"):
        return (ROOT / "tests" / proof / "plan.yml").is_file()
    path, _, text = proof.partition(": ")
    file = ROOT / path
    if not file.is_file():
        return False
    wanted = f"def {text}(" if text.startswith("test_") else text
    return wanted in file.read_text()
