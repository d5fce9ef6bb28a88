"""What runs on machines, packed as one zip file that `python3` runs, named by the digest of its sources.

Beside each source lies what this process's Python compiled of it: on a machine with the same version the agent starts from the zip file
as it is, in half the time. On any other it is unpacked once, so that the machine's Python keeps what it compiles.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import io
import marshal
import sys
import zipfile
from pathlib import Path

GUEST = Path(__file__).parent.parent / "guest"
EPOCH = (1980, 1, 1, 0, 0, 0)

STUB = """import os, sys
home = sys.argv[0][:-4]
if os.path.isdir(home):
    sys.path.insert(0, home)
if sys.version_info < (3, 8):
    sys.stdout.write('{"refused": "Python %d.%d is too old, 3.8 is needed"}\\n' % sys.version_info[:2])
    sys.exit(1)
from {name}.__main__ import main
main()
"""


MAGIC = importlib.util.MAGIC_NUMBER
COMPILED_BY = str(sys.implementation.cache_tag)  # another Python reads the sources: the magic number tells it that these are not its own
UNCHECKED = (1).to_bytes(4, "little")


@dataclasses.dataclass(frozen=True)
class Package:
    """A zip file; `digest` is the first 16 hex digits of the sha256 of its sources' names and contents."""

    data: bytes = dataclasses.field(repr=False, compare=False)
    digest: str


def build(folder: Path, name: str = "") -> Package:
    """Pack a Python package folder that has a `__main__.py` with a function `main`. `name` is the package's name inside."""
    name = name or folder.name
    sources = {"__main__.py": STUB.replace("{name}", name).encode()}
    sources |= {f"{name}/{path.relative_to(folder)}": path.read_bytes() for path in sorted(folder.rglob("*.py"))}
    digest = hashlib.sha256()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, source in sources.items():
            digest.update(b"%d %s %d " % (len(path), path.encode(), len(source)) + source)
            _add(archive, path, source)
            _add(archive, path + "c", _compiled(path, source))
    return Package(packed.getvalue(), digest.hexdigest()[:16])


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def _compiled(path: str, source: bytes) -> bytes:
    """The module's `.pyc`, valid whatever the source's time: nobody edits one without the other. Its form is that of PEP 552."""
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    return MAGIC + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)


@functools.lru_cache(maxsize=1)
def agent() -> Package:
    """The agent, packed once in this process."""
    return build(GUEST / "agent", "agent")
