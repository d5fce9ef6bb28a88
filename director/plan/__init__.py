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
    causes.py         why templates differ although no property does
    lines.py          the line of manifest or config that each reason comes from; shown.py which values reasons may show
    outline.py        the plan as what is told of it: plain values, as JSON and back; explain.py for people; digest.py
    expect.py         how long it may take, from how long such steps took; moved.py what a kept plan rests on, planfile.py keeps it
    names.py          canonical and numbered DNS names; dns_records.py the records document
    watch.py          how long to wait for health
"""

from __future__ import annotations

from director.plan.decide import decide
from director.plan.design import design, ids_wanted, number

__all__ = ["decide", "design", "ids_wanted", "number"]
