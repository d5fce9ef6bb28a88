"""Caisson: a BOSH director. Read the packages in the order of `docs/architecture.md`."""

__version__ = "0.1.0"
