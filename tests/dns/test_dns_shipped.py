"""What is shipped: Python 3.8, the standard library, pages beside the handlers but not on machines."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import yaml

from director.guest import dns

FOLDER = Path(dns.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
PACKAGE = Path(__file__).parents[2] / "releases/bosh-dns/packages/bosh-dns/spec"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_source_is_python_3_8_and_imports_only_the_standard_library(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"), feature_version=(3, 8))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        assert [name for name in names if name.split(".")[0] not in sys.stdlib_module_names] == []


def test_the_package_takes_all_of_it() -> None:
    patterns = yaml.safe_load(PACKAGE.read_text("utf-8"))["files"]
    root = PACKAGE.parents[2] / "src"
    packed = {path.resolve() for pattern in patterns for path in root.glob(pattern)}
    assert {path.resolve() for path in SOURCES} <= packed


def test_every_module_is_in_the_reading_order() -> None:
    told = (FOLDER / "__init__.py").read_text("utf-8")
    names = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert [name for name in sorted(names) if f"`{name}`" not in told] == []
