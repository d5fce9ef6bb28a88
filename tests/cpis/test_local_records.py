"""The records of local machines: what a crash right beside a record leaves is found and goes."""

from __future__ import annotations

from pathlib import Path

from cpis.local import LocalCpi
from cpis.local.records import cid_of


def test_a_folder_without_a_record_goes_when_its_token_is_looked_for(tmp_path: Path) -> None:
    """The director died after the folder was made and before its record was written."""
    cpi = LocalCpi({"state_dir": str(tmp_path)})
    home = tmp_path / "vms" / cid_of("vm", "token")
    home.mkdir(parents=True)
    (home / ".vm.json.1.2").write_text("half a reco")
    other = tmp_path / "vms" / cid_of("vm", "other")
    other.mkdir()
    assert cpi.find("token") == []
    assert not home.exists()
    assert other.exists(), "it belongs to another token"
