"""Sizes of machines: the smallest that gives what is asked for."""

from __future__ import annotations

import dataclasses
from functools import partial

from cpis.conformance.bench import Bench, raises
from cpis.contract import Invalid, VmResources

_ASKED = VmResources(1, 256, 512)


def calculates_a_machine(bench: Bench) -> None:
    """Properties for what is asked can make a machine, in the place where the site's own properties put it."""
    properties = bench.cpi.calculate_vm_cloud_properties(_ASKED)
    assert properties
    bench.cpi.create_vm(bench.request(0, cloud_properties={**bench.site.place, **properties}))


def calculates_the_same_for_the_same(bench: Bench) -> None:
    """The same resources give the same properties, so that no machine is made anew for nothing."""
    calculate = bench.cpi.calculate_vm_cloud_properties
    assert calculate(_ASKED) == calculate(VmResources(1, 256, 512))


def too_large_a_machine_is_refused(bench: Bench) -> None:
    """Row 32: a machine of 1024 or more CPUs than any has is Invalid."""
    for cpus in (1024, 100_000):
        error = raises(Invalid, partial(bench.cpi.calculate_vm_cloud_properties, VmResources(cpus, 256, 512)))
        assert str(error)


def nothing_asked_is_refused(bench: Bench) -> None:
    """Row 32: resources without a CPU or memory are Invalid, and the error names the key."""
    for key, value in (("cpu", 0), ("ram_mib", 0), ("cpu", -1)):
        asked = dataclasses.replace(_ASKED, **{key: value})
        error = raises(Invalid, partial(bench.cpi.calculate_vm_cloud_properties, asked))
        assert key.removesuffix("_mib") in str(error), f"'{error}' does not name {key}"


CASES = (calculates_a_machine, calculates_the_same_for_the_same, too_large_a_machine_is_refused, nothing_asked_is_refused)
