"""The CPI of OpenStack, on Libcloud's driver."""

from __future__ import annotations

from cpis.openstack.cpi import OpenStackCpi

__all__ = ["OpenStackCpi"]
