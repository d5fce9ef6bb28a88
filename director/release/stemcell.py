"""Stemcells: archives with `stemcell.MF` and `image`, or one small YAML file for an image that the cloud has already.

Source: release contract, section 12.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from director import diagnostics, errors
from director.release import tar, text, versions

NO_IMAGE = 50001


@dataclasses.dataclass(frozen=True)
class StemcellArchive:
    """What a stemcell says of itself. `image` is None for a light one written as YAML; an empty file is a light one too.

    `formats` is empty when the manifest names none: every CPI accepts it then. The image's path lives until `close`.
    """

    name: str
    version: str
    os: str
    sha1: str
    cloud_properties: Mapping[str, Any]
    formats: tuple[str, ...]
    api_version: int
    bosh_protocol: str
    image: Path | None
    _stack: contextlib.ExitStack

    @property
    def is_light(self) -> bool:
        return self.image is None or self.image.stat().st_size == 0

    def __enter__(self) -> StemcellArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()


def read_stemcell(path: Path, *, workdir: Path | None = None, limits: tar.Limits | None = None) -> StemcellArchive:
    """Open a stemcell. Raises ReleaseError: unreadable, no manifest, missing keys (all at once), no image."""
    if path.suffix in (".yml", ".yaml"):
        if not path.is_file():
            raise errors.ReleaseError(f"There is no stemcell at '{path}'")
        return _parsed(path.read_text("utf-8", errors="replace"), path.name, None, contextlib.ExitStack())
    if not path.is_file():
        hint = "Give a stemcell archive, or the YAML of a light stemcell."
        raise errors.ReleaseError(f"There is no stemcell at '{path}'", suggestion=hint)
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stemcell-", dir=workdir)))
        # Images are mostly empty space: a high ratio is normal here.
        tar.extract(path, root, label=path.name, limits=limits or tar.Limits(ratio=1100))
        manifest = root / "stemcell.MF"
        if not manifest.is_file():
            raise errors.ReleaseError(f"'{path.name}' holds no stemcell.MF", suggestion="Is it a stemcell?")
        if not (root / "image").is_file():
            raise errors.ReleaseError(f"Stemcell image not found: '{path.name}' holds no file 'image'", code=NO_IMAGE)
        return _parsed(manifest.read_text("utf-8", errors="replace"), "stemcell.MF", root / "image", stack.pop_all())


def repack(
    path: Path, result: Path, *, name: str = "", version: str = "", empty_image: bool = False, formats: Sequence[str] = (),
) -> None:
    """Write the archive anew; what is not given stays. Raises ReleaseError."""
    read_stemcell(path).close()
    with tempfile.TemporaryDirectory(prefix="stemcell-") as folder:
        root = Path(folder)
        names = tar.extract(path, root, label=path.name, limits=tar.Limits(ratio=1100))
        tree = text.read_map((root / "stemcell.MF").read_text("utf-8"), "stemcell.MF")
        tree |= {key: value for key, value in (("name", name), ("version", version)) if value}
        if formats:
            tree["stemcell_formats"] = list(formats)
        if empty_image:
            (root / "image").write_bytes(b"")
            tree["sha1"] = hashlib.sha1(b"", usedforsecurity=False).hexdigest()
        content = text.dump_yaml(tree)
        _parsed(content, "stemcell.MF", None, contextlib.ExitStack()).close()
        (root / "stemcell.MF").write_text(content, "utf-8")
        result.parent.mkdir(parents=True, exist_ok=True)
        tar.write(result, [(item, root / item, 0o644) for item in sorted(names, key=lambda item: (item != "stemcell.MF", item))], level=1)


def _parsed(content: str, file: str, image: Path | None, stack: contextlib.ExitStack) -> StemcellArchive:
    problems = diagnostics.Diagnostics()
    where = diagnostics.Where(file)
    with stack:
        tree = text.read_map(content, file)
        name, version = str(tree.get("name") or ""), str(tree.get("version") or "")
        for key, value in (("name", name), ("version", version)):
            if not value:
                problems.add(f"Required property '{key}' was not specified in the stemcell manifest", where=where)
        if version:
            try:
                versions.parse_stemcell(version)
            except errors.ReleaseError:
                problems.add(f"Stemcell version invalid: {version}", where=where)
        properties = tree.get("cloud_properties") or {}
        if not isinstance(properties, dict):
            problems.add("'cloud_properties' of the stemcell is not a map", where=where)
            properties = {}
        formats = tree.get("stemcell_formats", tree.get("formats")) or []
        if not isinstance(formats, list):
            problems.add("'stemcell_formats' of the stemcell is not a list", where=where)
            formats = []
        api_version = tree.get("api_version", 3)
        if not isinstance(api_version, int):
            problems.add("'api_version' of the stemcell is not a number", where=where)
            api_version = 3
        if problems.errors:
            raise errors.ReleaseError(*problems.errors)
        return StemcellArchive(
            name, version, str(tree.get("operating_system") or tree.get("os") or name), str(tree.get("sha1") or ""), properties,
            tuple(str(item) for item in formats), api_version, str(tree.get("bosh_protocol") or "1"), image, stack.pop_all(),
        )
