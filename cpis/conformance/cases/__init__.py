"""The promises of the contract, a function each, a file for each topic.

Numbers in their first lines are rows of the CPI reference's table of mistakes, section 13.
"""

from __future__ import annotations

from cpis.conformance.bench import Case
from cpis.conformance.cases import at_once, disks, machines, metadata, networks, properties, refusals, snapshots

CASES = tuple(
    Case(function)
    for topic in (machines, networks, properties, metadata, disks, snapshots, refusals, at_once) for function in topic.CASES
)
