"""The director is killed between any two effects of the local CPI; the next one goes on, and nothing is left behind or done twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_left import left, processes

from cpis.local import LocalCpi
from cpis.local.disks import loop_of
from cpis.local.records import cid_of

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.geteuid() != 0, reason="machines on this computer need root")]

ROOT = Path(__file__).resolve().parents[2]
VM, DISK = cid_of("vm", "vm"), cid_of("disk", "disk")
_MOST_STEPS = 60


def run(state: Path, last: int, *calls: str) -> tuple[int, list[str]]:
    """Exit status (-9 when it was killed) and the steps reached."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/e2e/local_crash.py"), str(state), str(last), *calls],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    assert run(state, 0, "stemcell")[0] == 0
    yield state
    LocalCpi({"state_dir": str(state)}).clean()
    assert left(state) == []


def every_step(state: Path, before: tuple[str, ...], calls: tuple[str, ...]) -> Iterator[int]:
    """Prepare, then kill before step 1, then before step 2 ... until the calls come through."""
    for step in range(1, _MOST_STEPS):
        if before:
            run(state, 0, *before)
        code, reached = run(state, step, *calls)
        print(step, reached[-1:] if code else "done")
        yield step
        if code == 0:
            assert step > 1, "no step was reached"
            return
    raise AssertionError("never came through")


@pytest.mark.timeout(600)
def test_creation_goes_on_after_a_kill(state: Path) -> None:
    for _ in every_step(state, (), ("create_vm",)):
        run(state, 0, "create_vm")
        assert len(processes(state)) == 1
        run(state, 0, "delete_vm")
        assert left(state) == []


@pytest.mark.timeout(600)
def test_what_is_half_made_can_be_deleted(state: Path) -> None:
    for _ in every_step(state, (), ("create_vm",)):
        run(state, 0, "delete_vm")
        assert left(state) == []


@pytest.mark.timeout(600)
def test_deletion_goes_on_after_a_kill_and_keeps_the_disk(state: Path) -> None:
    for _ in every_step(state, ("create_vm", "create_disk", "attach_disk"), ("delete_vm",)):
        run(state, 0, "delete_vm")
        cpi = LocalCpi({"state_dir": str(state)})
        assert not cpi.has_vm(VM)
        assert cpi.has_disk(DISK)
        assert loop_of(state / "disks" / DISK / "data") == ""
        run(state, 0, "delete_disk")
        assert left(state) == []


@pytest.mark.timeout(600)
def test_half_deleted_is_made_again(state: Path) -> None:
    for _ in every_step(state, ("create_vm",), ("delete_vm",)):
        run(state, 0, "create_vm")
        assert len(processes(state)) == 1
        run(state, 0, "delete_vm")
        assert left(state) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("calls", [("attach_disk",), ("attach_disk", "detach_disk"), ("attach_disk", "reboot_vm")], ids="-".join)
def test_disks_go_on_after_a_kill(state: Path, calls: tuple[str, ...]) -> None:
    run(state, 0, "create_vm")
    for _ in every_step(state, ("create_disk",), calls):
        run(state, 0, *calls, "attach_disk")
        assert LocalCpi({"state_dir": str(state)}).get_disks(VM) == [DISK]
        run(state, 0, "detach_disk", "delete_disk")
        assert loop_of(state / "disks" / DISK / "data") == ""


@pytest.mark.timeout(600)
def test_disks_are_made_and_removed_after_a_kill(state: Path) -> None:
    calls = ("create_disk", "resize_disk", "snapshot_disk", "delete_snapshot", "snapshot_disk", "delete_disk")
    for _ in every_step(state, (), calls):
        run(state, 0, "create_disk", "resize_disk", "snapshot_disk", "delete_disk")
        assert left(state) == []
        assert not list((state / "snapshots").iterdir())


@pytest.mark.timeout(600)
def test_clean_goes_on_after_a_kill(state: Path) -> None:
    for _ in every_step(state, ("stemcell", "create_vm", "create_disk", "attach_disk"), ("clean",)):
        run(state, 0, "clean")
        assert left(state) == []
