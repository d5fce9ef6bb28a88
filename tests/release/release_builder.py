"""Small release directories and archives for the tests of this folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml


def release_directory(root: Path, *, name: str = "demo") -> Path:
    """One job `web`, two packages `app` (needs `lib`) and `lib`, a license."""
    files = {
        "config/final.yml": f"name: {name}\n",
        "LICENSE": "MIT\n",
        "jobs/web/spec": "---\nname: web\ntemplates:\n  ctl.erb: bin/ctl\npackages: [app]\nproperties:\n  port: {default: 80}\n",
        "jobs/web/monit": "check process web\n",
        "jobs/web/templates/ctl.erb": "#!/bin/bash\n",
        "packages/app/spec": "name: app\ndependencies: [lib]\nfiles: [app/**/*]\n",
        "packages/app/packaging": "set -e\n",
        "packages/lib/spec": "name: lib\nfiles: ['lib.txt']\n",
        "packages/lib/packaging": "set -e\n",
        "src/app/main.txt": "hello\n",
        "src/app/deep/er/x.rb": "x\n",
        "src/lib.txt": "lib\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A tar entry with any field of TarInfo set."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar_bytes(entries: Iterable[tuple[tarfile.TarInfo, bytes]], *, packed: bool = True) -> bytes:
    raw = io.BytesIO()
    with tarfile.TarFile(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 1, mtime=0) if packed else raw.getvalue()


JOB = {"job.MF": b"name: web\ntemplates: {ctl.erb: bin/ctl}\n", "monit": b"", "templates/ctl.erb": b"#!/bin/bash\n"}


def job_archive(files: dict[str, bytes] | None = None) -> bytes:
    return tar_bytes([entry(name, content) for name, content in (JOB if files is None else files).items()])


def release_archive(
    *, job: bytes | None = None, package: bytes | None = None, changes: dict[str, Any] | None = None, leave_out: Iterable[str] = (),
    algorithm: str = "sha256", dot: bool = False, packed: bool = True,
) -> bytes:
    """A release `demo/1` with job `web` and package `app`; `changes` go into release.MF."""
    job = job_archive() if job is None else job
    package = tar_bytes([entry("packaging", b"true\n"), entry("a.txt", b"a")]) if package is None else package

    def digest(data: bytes) -> str:
        return hashlib.sha1(data).hexdigest() if algorithm == "sha1" else f"sha256:{hashlib.sha256(data).hexdigest()}"

    manifest: dict[str, Any] = {
        "name": "demo", "version": "1", "commit_hash": "abc", "uncommitted_changes": False,
        "jobs": [{"name": "web", "version": "f1", "fingerprint": "f1", "sha1": digest(job), "packages": ["app"]}],
        "packages": [{"name": "app", "version": "f2", "fingerprint": "f2", "sha1": digest(package), "dependencies": []}],
    }
    manifest.update(changes or {})
    parts = {"release.MF": yaml.safe_dump(manifest).encode(), "jobs/web.tgz": job, "packages/app.tgz": package}
    prefix = "./" if dot else ""
    return tar_bytes([entry(prefix + name, data) for name, data in parts.items() if name not in set(leave_out)], packed=packed)
