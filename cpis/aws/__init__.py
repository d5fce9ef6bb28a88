"""Machines on AWS, over Apache Libcloud's EC2 driver."""

from __future__ import annotations

from cpis.aws.cpi import AwsCpi

__all__ = ["AwsCpi"]
