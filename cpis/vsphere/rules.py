"""DRS: rules that keep machines apart, groups that bind them to hosts. Source: CPI contract, sections 10.1 and 10.2 ("anti-affinity").

vCenter replaces a rule as a whole: each change reads it first, under a lock for the cluster. A machine carries what it joined as a mark, so
that its deletion takes away what it was the last of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pyVmomi import vim

from cpis.cloud.keyed import OnePerToken
from cpis.contract import CpiError, Invalid, NotFound
from cpis.vsphere.config import Place
from cpis.vsphere.inventory import Cluster, Inventory, read
from cpis.vsphere.session import Session
from cpis.vsphere.tasks import run

_Cluster = vim.cluster


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a machine is to join in its cluster. `group` is a group of machines, `host_group` one of hosts that it is bound to."""

    apart: tuple[str, ...] = ()
    group: str = ""
    host_group: str = ""
    must: bool = False
    without_drs: bool = False

    def marks(self, cluster: Cluster) -> dict[str, list[str]]:
        """As a mark: `cluster id -> names`."""
        names = [*(f"rule:{name}" for name in self.apart), *([f"group:{self.bound_group}"] if self.bound_group else [])]
        return {cluster.ref._moId: names} if names else {}

    @property
    def bound_group(self) -> str:
        """The machines' group: the one asked for, or one for the hosts' group."""
        return self.group or (f"{self.host_group}_vms" if self.host_group else "")


def wanted(place: Place, values: Mapping[str, Any], apart: str) -> Wanted:
    """What the place and the machine's cloud properties ask for; `apart` names an automatic rule, or is empty."""
    names = dict.fromkeys([*(rule.name for rule in place.rules), *([apart] if apart else [])])
    return Wanted(tuple(names), values.get("vm_group") or "", place.host_group, place.must, bool(values.get("disable_drs")))


class Rules:
    """Safe to use from many threads of one process."""

    def __init__(self, session: Session, inventory: Inventory) -> None:
        self._session = session
        self._inventory = inventory
        self._once = OnePerToken()

    def join(self, cid: str, ref: Any, cluster: Cluster, wish: Wanted) -> None:
        """Put the machine into its rules and groups; in them already is fine. Raises Invalid for a group of hosts that is not there."""
        if wish == Wanted():
            return
        with self._once(cluster.ref._moId):
            rules, groups = self._now(cluster)
            spec = self._joining(ref, cluster, wish, rules, groups)
            if spec.rulesSpec or spec.groupSpec or spec.drsVmConfigSpec:
                run(self._session, f"DRS rules of {cid}", lambda: cluster.ref.ReconfigureComputeResource_Task(spec, True))

    def _joining(self, ref: Any, cluster: Cluster, wish: Wanted, rules: list[Any], groups: list[Any]) -> Any:
        spec = _Cluster.ConfigSpecEx()
        spec.rulesSpec = [change for name in wish.apart for change in _apart(name, ref, rules)]
        spec.groupSpec = _grouped(wish.bound_group, ref, groups) if wish.bound_group else []
        if wish.host_group:
            hosts = [group.name for group in groups if isinstance(group, _Cluster.HostGroup)]
            if wish.host_group not in hosts:
                raise Invalid(
                    f"the cluster '{cluster.name}' has no host group '{wish.host_group}'",
                    suggestion=f"there are: {', '.join(sorted(hosts)) or 'none'}")
            name = f"{wish.bound_group}_on_{wish.host_group}"
            if all(rule.name != name for rule in rules):
                info = _Cluster.VmHostRuleInfo(
                    name=name, enabled=True, mandatory=wish.must, vmGroupName=wish.bound_group, affineHostGroupName=wish.host_group)
                spec.rulesSpec = [*spec.rulesSpec, _Cluster.RuleSpec(operation="add", info=info)]
        if wish.without_drs:
            spec.drsVmConfigSpec = [_Cluster.DrsVmConfigSpec(operation="add", info=_Cluster.DrsVmConfigInfo(key=ref, enabled=False))]
        return spec

    def leave(self, marks: Mapping[str, Sequence[str]]) -> None:
        """After a machine's deletion: take rules and groups away that nobody is in any more. vCenter has taken the machine out itself."""
        for cluster in self._inventory.now().clusters:
            names = marks.get(cluster.ref._moId)
            if names:
                with self._once(cluster.ref._moId):
                    self._clear(cluster, set(names))

    def _clear(self, cluster: Cluster, names: set[str]) -> None:
        rules, groups = self._now(cluster)
        empty = {group.name for group in groups if isinstance(group, _Cluster.VmGroup)
                 and f"group:{group.name}" in names and not self._alive(group.vm)}
        bound = [rule for rule in rules if isinstance(rule, _Cluster.VmHostRuleInfo) and rule.vmGroupName in empty]
        apart = [rule for rule in rules if isinstance(rule, _Cluster.AntiAffinityRuleSpec)
                 and f"rule:{rule.name}" in names and not self._alive(rule.vm)]
        if not empty and not apart:
            return
        spec = _Cluster.ConfigSpecEx(
            rulesSpec=[_Cluster.RuleSpec(operation="remove", removeKey=rule.key) for rule in [*apart, *bound]],
            groupSpec=[_Cluster.GroupSpec(operation="remove", removeKey=name) for name in sorted(empty)])
        run(self._session, f"DRS rules of {cluster.name}", lambda: cluster.ref.ReconfigureComputeResource_Task(spec, True))

    def _now(self, cluster: Cluster) -> tuple[list[Any], list[Any]]:
        """The rules and groups that the cluster has."""
        facts = read(self._session, cluster.ref, "configurationEx.rule", "configurationEx.group")
        return list(facts.get("configurationEx.rule") or []), list(facts.get("configurationEx.group") or [])

    def _alive(self, refs: Sequence[Any] | None) -> bool:
        """Whether any of these machines is there still."""
        for ref in refs or []:
            try:
                read(self._session, ref, "name")
            except NotFound:
                continue
            except CpiError:
                return True  # nobody knows: the rule stays
            return True
        return False


def _apart(name: str, ref: Any, rules: Sequence[Any]) -> list[Any]:
    found = next((rule for rule in rules if isinstance(rule, _Cluster.AntiAffinityRuleSpec) and rule.name == name), None)
    if found is None:
        info = _Cluster.AntiAffinityRuleSpec(name=name, enabled=True, mandatory=False, vm=[ref])
        return [_Cluster.RuleSpec(operation="add", info=info)]
    if ref in found.vm:
        return []
    info = _Cluster.AntiAffinityRuleSpec(
        key=found.key, name=name, enabled=True, mandatory=found.mandatory, vm=[*found.vm, ref], ruleUuid=found.ruleUuid)
    return [_Cluster.RuleSpec(operation="edit", info=info)]


def _grouped(name: str, ref: Any, groups: Sequence[Any]) -> list[Any]:
    found = next((group for group in groups if isinstance(group, _Cluster.VmGroup) and group.name == name), None)
    if found is None:
        return [_Cluster.GroupSpec(operation="add", info=_Cluster.VmGroup(name=name, vm=[ref]))]
    if ref in (found.vm or []):
        return []
    return [_Cluster.GroupSpec(operation="edit", info=_Cluster.VmGroup(name=name, vm=[*(found.vm or []), ref]))]
