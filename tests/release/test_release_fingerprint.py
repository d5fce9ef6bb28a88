"""Vectors of the release contract, section 4, and rows 1 to 6 of section 21."""

from __future__ import annotations

from pathlib import Path

import pytest

from director.release import fingerprint

PACKAGE = "7094093aa40b7b5079fab76214066071f1165a4b056dd4e41d84a12378806d6e"
JOB = "6516f6900f656dcdf286beb0ef3b2609e52930548eb1bd414a461cfa888ee693"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main.txt").write_text("hello\n")
    (tmp_path / "packaging").write_text("set -e\n")
    return tmp_path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "spec").write_text("---\nname: web\ntemplates:\n  ctl.erb: bin/ctl\npackages: []\nproperties: {}\n")
    (tmp_path / "monit").write_text("")
    (tmp_path / "templates/ctl.erb").write_text("#!/bin/bash\n")
    return tmp_path


def of_package(root: Path, dependencies: tuple[str, ...] = ()) -> str:
    return fingerprint.package_fingerprint(root, {"app/main.txt": root / "app/main.txt"}, dependencies)


def of_job(root: Path) -> str:
    return fingerprint.job_fingerprint(root, ["ctl.erb"])


def test_license(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("MIT\n")
    expected = "6ddb1b0645b74df98a7db80ddd7e1a89ffa4df5700554d2c78f191b29642f183"
    assert fingerprint.license_fingerprint([tmp_path / "LICENSE"]) == expected


def test_package(package: Path) -> None:
    assert of_package(package) == PACKAGE


def test_an_executable_file_changes_a_package(package: Path) -> None:
    (package / "app/main.txt").chmod(0o755)
    assert of_package(package) == "c5206523efc84c8da01c1b8dd5b254c3a4b9264e9a8c902b8b2653f3a3223bd9"


def test_dependency_names_count_in_any_order(package: Path) -> None:
    expected = "a83b82c68dd07b855095587fc9f8b5d27ae20f48ff9ce33c64909ff2b0fe89bb"
    assert of_package(package, ("zlib", "golang")) == of_package(package, ("golang", "zlib")) == expected


def test_executable_packaging_changes_nothing(package: Path) -> None:
    (package / "packaging").chmod(0o755)
    assert of_package(package) == PACKAGE


def test_pre_packaging_counts(package: Path) -> None:
    (package / "pre_packaging").write_text("true\n")
    assert of_package(package) != PACKAGE


def test_a_link_in_a_package_counts_with_its_target_text(package: Path) -> None:
    (package / "app/main.txt").unlink()
    (package / "app/main.txt").symlink_to("elsewhere")
    item = fingerprint.item_of(package / "app/main.txt", "app/main.txt")
    assert item.mode == "symlink"
    (package / "app/main.txt").unlink()
    (package / "app/main.txt").symlink_to("nowhere")
    assert fingerprint.item_of(package / "app/main.txt", "app/main.txt").digest != item.digest


def test_job(job: Path) -> None:
    assert of_job(job) == JOB


def test_a_comment_in_a_job_spec_changes_it(job: Path) -> None:
    with (job / "spec").open("a") as spec:
        spec.write("# a comment\n")
    assert of_job(job) != JOB


def test_a_linked_template_counts_as_executable_content(job: Path) -> None:
    (job / "elsewhere").write_text("#!/bin/bash\n")
    (job / "templates/ctl.erb").unlink()
    (job / "templates/ctl.erb").symlink_to("../elsewhere")
    linked = of_job(job)
    (job / "templates/ctl.erb").unlink()
    (job / "templates/ctl.erb").write_text("#!/bin/bash\n")
    (job / "templates/ctl.erb").chmod(0o755)
    assert linked == of_job(job) != JOB
