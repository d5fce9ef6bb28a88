"""Machines on Microsoft Azure."""

from __future__ import annotations

from cpis.azure.cpi import AzureCpi

__all__ = ["AzureCpi"]
