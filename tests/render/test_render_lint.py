"""`lint` finds what is wrong with a release directory, all at once and each at its line; cases are in cases/lint.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from director.errors import UsageError
from director.render.lint import RULES, Finding, lint

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "cases/lint.yml").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Finding, ...]]:
    root = tmp_path_factory.mktemp("release")
    for case in CASES:
        for name, content in case["files"].items():
            path = root / case["folder"] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if name in case.get("executable", ()) else 0o644)
    return root, lint(root)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["folder"])
def test_a_folder(found: tuple[Path, tuple[Finding, ...]], case: dict[str, Any]) -> None:
    root, findings = found
    mine = []
    for item in findings:
        where = item.diagnostic.where
        assert where is not None
        file = Path(where.file).relative_to(root).as_posix()
        if file == case["folder"] or file.startswith(f"{case['folder']}/"):
            spot = file.removeprefix(case["folder"]).removeprefix("/") + (f":{where.line}" if where.line else "")
            mine.append((f"{spot} {item.severity} {item.rule} ", f"{item.diagnostic.summary} {item.diagnostic.suggestion}"))
    expected = [line.split(" ", 3) for line in case["finds"]]
    assert sorted(start for start, _told in mine) == sorted(f"{spot} {severity} {rule} " for spot, severity, rule, _words in expected)
    for spot, severity, rule, words in expected:
        assert any(start == f"{spot} {severity} {rule} " and words in told for start, told in mine), (words, mine)


@pytest.mark.parametrize("folder", sorted(ROOT.glob("releases/*/config/final.yml")), ids=lambda path: path.parents[1].name)
def test_our_own_releases_are_clean(folder: Path) -> None:
    assert [item.diagnostic.sentence for item in lint(folder.parents[1])] == []


def test_without_ruby_the_rest_is_checked(found: tuple[Path, tuple[Finding, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    root, findings = found
    fewer = lint(root)
    rules = {item.rule for item in fewer}
    assert {item.rule for item in findings} - rules <= {"link-undeclared", "link-unused", "link-optional", "property-unused"}
    assert any("were not looked into, since there is no Ruby" in item.diagnostic.summary for item in fewer)


def test_what_is_no_release_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no release directory"):
        lint(tmp_path)
    with pytest.raises(UsageError, match="is no release directory"):
        lint(tmp_path / "absent")


def test_every_rule_is_in_the_manual_and_has_a_case() -> None:
    manual = (ROOT / "docs/operator/releases.md").read_text()
    assert [rule.name for rule in RULES if f"`{rule.name}`" not in manual] == []
    told = " ".join(line for case in CASES for line in case["finds"])
    assert [rule.name for rule in RULES if f" {rule.name} " not in told] == []
