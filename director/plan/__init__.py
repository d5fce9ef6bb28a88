"""(Manifest, CloudConfig, what is observed) -> Plan. Pure: no clock, no network, no database, no randomness, no files.

The rules are those of the planning contract. Reading order:

    model.py          the values: Request -> Blueprint -> Plan
    design.py         wanted instances: calls, in this order
      existing.py       which recorded instances belong to which group, migrations included
      place.py          instances over AZs; static_place.py the same when addresses are static
      identity.py       uuids, indexes, bootstrap
      addresses.py      pools of addresses; reserve.py keeps, moves and makes reservations
      settings.py       networks, cloud properties, env and tags of one instance
      bind.py           job properties
      providers.py, links.py   who provides and who consumes which link
    decide.py         what happens to each instance: changes.py finds reasons, waves.py the order
    packages.py       what must be compiled
    explain.py        a plan for people, as JSON, and as a digest
    names.py          canonical and numbered DNS names; dns_records.py the records document
    watch.py          how long to wait for health
"""

from __future__ import annotations

from director.plan.decide import decide
from director.plan.design import design, ids_wanted, number

__all__ = ["decide", "design", "ids_wanted", "number"]
