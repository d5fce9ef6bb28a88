"""Memory of machines that are control groups of a bigger one."""

from __future__ import annotations

from pathlib import Path

import pytest

from director.guest.agent.vitals import limited_memory

MIB = 1 << 20


@pytest.mark.parametrize(("files", "found"), [
    ({"memory.max": 512 * MIB, "memory.current": 100 * MIB, "memory.stat": f"anon 1\ninactive_file {20 * MIB}\n"}, (512 << 10, 432 << 10)),
    ({"memory.max": "max\n", "memory.current": 5, "memory.stat": ""}, None),
    ({"memory/memory.limit_in_bytes": 512 * MIB, "memory/memory.usage_in_bytes": 100 * MIB,
      "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {20 * MIB}\n"}, (512 << 10, 432 << 10)),
    ({"memory/memory.limit_in_bytes": 512 * MIB}, None),
    ({}, None),
], ids=["v2", "v2 without limit", "v1", "half of it", "none"])
def test_limit_and_what_is_free(tmp_path: Path, files: dict[str, object], found: tuple[int, int] | None) -> None:
    for name, value in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(str(value))
    assert limited_memory(tmp_path) == found
