"""Placeholder until the next commit."""

from __future__ import annotations

from pathlib import Path


def vendor_debian(directory: Path) -> None:
    """Fetch the Debian packages that `config/debian.yml` names."""
    raise NotImplementedError
