"""Google Cloud: machines, disks and images of one project, through Libcloud's driver for Compute Engine.

In reading order:

    cpi.py          the contract's methods, and what carries our labels        schema.yml    all keys of cloud properties
    vms.py          the life of machines                                       machines.py   what a machine is asked for with (pure)
    disks.py        disks, snapshots                                           balancing.py  target pools, instance groups
    stemcells.py    images, uploads                                            checks.py     `caisson cloud check`
    api.py          requests, operations, where things are                     names.py      names, labels, network tags (pure)
    driver.py       Libcloud's driver, where it has to be otherwise            errors.py     refusals as errors of the contract
    credentials.py  tokens                                                     settings.py   the CPI config
"""

from __future__ import annotations

from cpis.gcp.cpi import GcpCpi

__all__ = ["GcpCpi"]
