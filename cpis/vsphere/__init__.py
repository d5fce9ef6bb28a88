"""vSphere: Libcloud's driver for the session, pyVmomi for the rest."""

from __future__ import annotations

from cpis.vsphere.cpi import VsphereCpi

__all__ = ["VsphereCpi"]
