"""What runs on machines, packed as one zip file that `python3` runs: equal files make equal bytes, so the digest names it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import zipfile
from pathlib import Path

GUEST = Path(__file__).parent.parent / "guest"
EPOCH = (1980, 1, 1, 0, 0, 0)

STUB = """import os, sys
home = sys.argv[0][:-4]
if os.path.isdir(home):  # unpacked beside the zip file, where Python keeps what it compiled: half the time to start
    sys.path.insert(0, home)
if sys.version_info < (3, 8):
    sys.stdout.write('{"refused": "Python %d.%d is too old, 3.8 is needed"}\\n' % sys.version_info[:2])
    sys.exit(1)
from {name}.__main__ import main
main()
"""


@dataclasses.dataclass(frozen=True)
class Package:
    """A zip file; `digest` is the first 16 hex digits of its sha256."""

    data: bytes = dataclasses.field(repr=False)
    digest: str


def build(folder: Path, name: str = "") -> Package:
    """Pack a Python package folder that has a `__main__.py` with a function `main`. `name` is the package's name inside."""
    name = name or folder.name
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, "__main__.py", STUB.replace("{name}", name).encode())
        for path in sorted(folder.rglob("*.py")):
            _add(archive, f"{name}/{path.relative_to(folder)}", path.read_bytes())
    data = packed.getvalue()
    return Package(data, hashlib.sha256(data).hexdigest()[:16])


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


@functools.lru_cache(maxsize=1)
def agent() -> Package:
    """The agent, packed once in this process."""
    return build(GUEST / "agent", "agent")
