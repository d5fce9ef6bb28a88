"""Fingerprints of jobs, packages and licenses: what content they have, in one hex text.

Source: release contract, section 4, with its vectors in the tests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

EXECUTABLE = "100755"
PLAIN = "100644"
SYMLINK = "symlink"


@dataclasses.dataclass(frozen=True)
class Item:
    """One file: its name in the archive, `sha256:HEX` of its content, and the mode text, empty where the contract leaves it out."""

    name: str
    digest: str
    mode: str = ""


@dataclasses.dataclass(frozen=True)
class Archived:
    """A file of an archive; `target` is set for a link, `digest` is `sha256:HEX` of a file's content."""

    name: str
    executable: bool
    digest: str = ""
    target: str = ""


def fingerprint(items: Iterable[Item], additional: Iterable[str] = ()) -> str:
    """64 hex digits. `additional` are a package's dependency names."""
    total = hashlib.sha256(b"v2")
    for item in sorted(items, key=lambda item: item.name.encode("utf-8", "surrogateescape")):
        total.update(f"{item.name}{item.digest}{item.mode}".encode("utf-8", "surrogateescape"))
    total.update(",".join(sorted(additional)).encode())
    return total.hexdigest()


def item_of(path: Path, name: str, *, follow: bool = False, with_mode: bool = True) -> Item:
    """The item of a file on disk. A link that is not followed counts with its target's text; one that is counts as executable."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) and not follow:
        digest = "sha256:" + hashlib.sha256(str(path.readlink()).encode("utf-8", "surrogateescape")).hexdigest()
        return Item(name, digest, SYMLINK if with_mode else "")
    # A link's own permission bits are 0777, so what is read through a link counts as executable.
    return Item(name, digest_of(path), (EXECUTABLE if mode & 0o111 else PLAIN) if with_mode else "")


def job_fingerprint(directory: Path, templates: Iterable[str]) -> str:
    """Of `jobs/NAME`; `templates` are the source names that its spec lists."""
    items = [item_of(directory / "spec", "job.MF", follow=True)]
    items += [item_of(directory / name, name, follow=True) for name in ("monit", "properties_schema.json") if (directory / name).exists()]
    items += [item_of(directory / "templates" / name, f"templates/{name}", follow=True) for name in set(templates)]
    return fingerprint(items)


def package_fingerprint(directory: Path, files: Mapping[str, Path], dependencies: Iterable[str]) -> str:
    """Of `packages/NAME`; `files` maps names in the archive to the selected files of `src/` and `blobs/`."""
    items = [item_of(path, name) for name, path in files.items()]
    items += [
        item_of(directory / name, name, with_mode=False) for name in ("packaging", "pre_packaging") if (directory / name).exists()
    ]
    return fingerprint(items, dependencies)


def license_fingerprint(files: Iterable[Path]) -> str:
    """Of the release's `LICENSE*` and `NOTICE*` files."""
    return fingerprint(item_of(path, path.name, with_mode=False) for path in files)


def archived_fingerprint(members: Iterable[Archived], additional: Iterable[str] = (), *, is_job: bool = False) -> str:
    """What the members of a job's or package's archive come to.

    It may differ from the recorded one although nothing is wrong: `pre_packaging` counts but is not archived, and a job's linked
    templates count as executable.
    """
    items = []
    for member in members:
        if member.target:
            digest = "sha256:" + hashlib.sha256(member.target.encode("utf-8", "surrogateescape")).hexdigest()
            items.append(Item(member.name, digest, SYMLINK))
        else:
            mode = EXECUTABLE if member.executable else PLAIN
            items.append(Item(member.name, member.digest, "" if member.name == "packaging" and not is_job else mode))
    return fingerprint(items, additional)


def digest_of(path: Path) -> str:
    """`sha256:HEX` of a file's content."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
