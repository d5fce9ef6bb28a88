"""`sha2ify-release`, `sha1ify-release`: the same archives under digests of another algorithm."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from director.release import archive, tar, text

_FOLDERS = {"jobs": "jobs", "packages": "packages", "compiled_packages": "compiled_packages"}


def redigest(tarball: Path, destination: Path, algorithm: str) -> None:
    """Write the release with the digests of its parts in `algorithm` (sha1, sha256). It is verified first. Raises ReleaseError."""
    with tempfile.TemporaryDirectory(prefix="redigest-") as folder:
        root = Path(folder)
        names = tar.extract(tarball, root, label=tarball.name)
        archive.open_release(root).close()
        tree = text.read_map((root / "release.MF").read_text("utf-8"), "release.MF")
        for key, place in _FOLDERS.items():
            for item in tree.get(key) or []:
                item["sha1"] = _digest(root / place / f"{item['name']}.tgz", algorithm)
        licence: dict[str, Any] = tree.get("license") or {}
        if licence and (root / "license.tgz").is_file():
            licence["sha1"] = _digest(root / "license.tgz", algorithm)
        entries: list[tuple[str, Path | bytes, int]] = [("release.MF", text.dump_yaml(tree).encode(), 0o644)]
        entries += [(name, root / name, 0o600 if name.endswith(".tgz") else 0o644) for name in sorted(names) if name != "release.MF"]
        destination.parent.mkdir(parents=True, exist_ok=True)
        tar.write(destination, entries, packed=tree.get("no_compression") is not True, level=1)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    return found if algorithm == "sha1" else f"{algorithm}:{found}"
