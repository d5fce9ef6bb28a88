"""What a machine is joined to after its start: floating addresses, load balancers, routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libcloud.loadbalancer.base import Member
from libcloud.loadbalancer.drivers.alb import ROOT as ALB_ROOT
from libcloud.loadbalancer.drivers.alb import ALBTargetGroup
from libcloud.loadbalancer.drivers.elb import ROOT as ELB_ROOT

from cpis.aws import metadata
from cpis.aws.api import Api
from cpis.aws.driver import Alb, Elb, Tree, filters, items, numbered, tree
from cpis.aws.instances import GONE, Instances, state
from cpis.aws.launch import Plan
from cpis.cloud.drivers import PerThread
from cpis.contract import Conflict, CpiError, NotFound


class Surroundings:
    """Safe to use from many threads. Everything may be done again: what is there already stays."""

    def __init__(self, api: Api, instances: Instances) -> None:
        self._api = api
        self._instances = instances
        self._elb = PerThread(lambda: Elb(api.source, api.place), _end)
        self._alb = PerThread(lambda: Alb(api.source, api.place), _end)

    def join(self, instance: Tree, plan: Plan) -> None:
        """All that the properties ask for; no request when they ask for nothing. Raises NotFound, Conflict and others."""
        cid = str(instance["instanceId"])
        if plan.properties.get("source_dest_check") is False:
            for interface in items(instance, "networkInterfaceSet"):
                # Of each interface: the attribute of the instance is refused when it has several.
                params = {"NetworkInterfaceId": interface["networkInterfaceId"], "SourceDestCheck.Value": "false"}
                self._api.ask("ModifyNetworkInterfaceAttribute", params)
        for vip in plan.vips:
            self._associate(vip.ip, cid, _primary(instance))
        for name in plan.properties.get("elbs") or []:
            self._join_balancer(name, cid)
        groups = plan.properties.get("lb_target_groups") or []
        for arn in self._arns(groups):
            self._join_group(arn, cid)
        for route in plan.properties.get("advertised_routes") or []:
            self._advertise(route["table_id"], route["destination"], cid)

    def leave(self, cid: str, tags: Mapping[str, str]) -> None:
        """After its end. Addresses and load balancers let a terminated machine go by themselves; routes stay, as black holes."""
        for pair in tags.get(metadata.ROUTES, "").split():
            table, _, destination = pair.partition("=")
            if self._route(table, destination).get("instanceId") == cid:
                try:
                    self._api.ask("DeleteRoute", {"RouteTableId": table, "DestinationCidrBlock": destination})
                except NotFound:
                    continue

    # Floating addresses

    def _associate(self, ip: str, cid: str, interface: str) -> None:
        found = items(self._api.ask("DescribeAddresses", filters(**{"public-ip": ip})), "addressesSet")
        if not found:
            raise NotFound(
                f"the account has no elastic IP {ip} in {self._api.place.region}", resource=ip, kind="network",
                suggestion="Allocate it (`aws ec2 allocate-address`) and name it in the vip network's static_ips.")
        holder = found[0].get("instanceId") or ""
        if holder == cid:
            return
        if holder:
            other = self._instances.get(holder)
            if other is not None and state(other) not in GONE:
                raise Conflict(f"the elastic IP {ip} is with the machine {holder}", resource=ip, kind="network")
        params = {"AllocationId": found[0]["allocationId"], "NetworkInterfaceId": interface, "AllowReassociation": "true"}
        self._api.ask("AssociateAddress", params, also=_still_starting, patience=60.0)

    # Load balancers

    def _join_balancer(self, name: str, cid: str) -> None:
        def register() -> None:
            # Libcloud's balancer_attach_compute_node fails after the request, at a list of members that it never made.
            params = {"Action": "RegisterInstancesWithLoadBalancer", "LoadBalancerName": name, "Instances.member.1.InstanceId": cid}
            self._elb.get().connection.request(ELB_ROOT, params=params)

        self._api.call("RegisterInstancesWithLoadBalancer", register, family="balancer")

    def _arns(self, groups: Sequence[str]) -> list[str]:
        """ARNs of target groups by name, all in one request."""
        names = [group for group in groups if not group.startswith("arn:")]
        known: dict[str, str] = {}
        if names:
            params = {"Action": "DescribeTargetGroups", **numbered("Names.member", names)}

            # Libcloud asks for target groups by ARN only.
            def describe() -> Tree:
                return tree(self._alb.get().connection.request(ALB_ROOT, params=params).object, "DescribeTargetGroups")

            answer = self._api.call("DescribeTargetGroups", describe, family="balancer")
            found = items(answer["DescribeTargetGroupsResult"], "TargetGroups")
            known = {group["TargetGroupName"]: group["TargetGroupArn"] for group in found}
        missing = [name for name in names if name not in known]
        if missing:
            raise NotFound(f"there is no target group '{missing[0]}'", resource=missing[0], kind="network", code="TargetGroupNotFound")
        return [known.get(group, group) for group in groups]

    def _join_group(self, arn: str, cid: str) -> None:
        def register() -> None:
            driver = self._alb.get()
            group = ALBTargetGroup(arn, "", "", 0, driver, "")
            driver.ex_register_targets(group, [Member(cid, "", 0)])

        self._api.call("RegisterTargets", register, family="balancer")

    # Routes

    def _advertise(self, table: str, destination: str, cid: str) -> None:
        params = {"RouteTableId": table, "DestinationCidrBlock": destination, "InstanceId": cid}
        there = self._route(table, destination)
        if there.get("instanceId") != cid:
            self._api.ask("ReplaceRoute" if there else "CreateRoute", params)

    def _route(self, table: str, destination: str) -> Mapping[str, Any]:
        """The route as it is; empty when there is none. Raises NotFound for an unknown table."""
        try:
            tables = items(self._api.ask("DescribeRouteTables", numbered("RouteTableId", [table])), "routeTableSet")
        except NotFound as error:
            error.suggestion = "Is the table_id of advertised_routes right?"
            raise
        routes = items(tables[0], "routeSet") if tables else []
        return next((route for route in routes if route.get("destinationCidrBlock") == destination), {})

    def close(self) -> None:
        """End the connections of all threads."""
        self._elb.close()
        self._alb.close()


def _primary(instance: Tree) -> str:
    """The interface of the default gateway's network: an address for an instance with several must name it."""
    return str(next(
        item["networkInterfaceId"] for item in items(instance, "networkInterfaceSet") if item["attachment"]["deviceIndex"] == "0"))


def _still_starting(error: CpiError) -> bool:
    return error.code in ("IncorrectInstanceState", "IncorrectState")


def _end(driver: Any) -> None:
    driver.connection.connection.session.close()
