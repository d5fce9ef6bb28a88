"""The real OpenStack services on loopback: Keystone, Placement, Glance, Nova with its fake hypervisor, Neutron, Cinder.

`start` begins with fresh databases on free ports and takes about a minute (two more when the packages are not installed yet); `close` ends
every process by its pid. Not covered, since nothing boots and no volume has data: guests, boot from volume. `octavia.py` has Octavia's API.
"""

from __future__ import annotations

from cpis.conformance.clouds.openstack.lab import Lab, start

__all__ = ["Lab", "start"]
