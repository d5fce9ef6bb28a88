"""Any BOSH CPI executable as a CPI of ours: `type: process` in the CPI config."""

from cpis.process.cpi import ProcessCpi

__all__ = ["ProcessCpi"]
