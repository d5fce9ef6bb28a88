"""Machines on this computer: systemd-nspawn over overlayfs, each in a network namespace on a bridge."""

from __future__ import annotations

from cpis.local.cpi import LocalCpi

__all__ = ["LocalCpi"]
