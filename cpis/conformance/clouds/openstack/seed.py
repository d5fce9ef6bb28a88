"""What the services need before use: catalog and users, then sizes, networks and an image. Plain requests to their APIs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import httpx

from cpis.conformance.clouds.openstack.layout import PASSWORD, REGION, SECOND_HOST, SECOND_ZONE, Layout

SUBNET = "10.10.0.0/24"
SECOND_SUBNET = "10.11.0.0/24"
FOUNDATION_SUBNET = "10.244.16.0/24"
PUBLIC = "203.0.113.0/24"

FLAVORS = (
    # name, vCPUs, MiB of memory, GiB of root disk
    ("m1.tiny", 1, 512, 1),
    ("m1.small", 1, 2048, 20),
    ("m1.medium", 2, 4096, 40),
    ("m1.large", 2, 16384, 40),  # more memory than the hypervisor of the second zone has
    ("m1.ephemeral", 1, 512, 1),  # with an ephemeral disk besides
    ("m1.huge", 2, 1_000_000, 40),  # no hypervisor has so much memory: for "No valid host"
)

# So that twenty machines fit, and that nothing but hypervisors is too small for the largest flavor.
QUOTA_COMPUTE = {"instances": 100, "cores": -1, "ram": -1}
QUOTA_VOLUMES = {"volumes": 100, "snapshots": 100, "gigabytes": 1000}

_NAMES = {"keystone": "identity", "nova": "compute", "neutron": "network", "glance": "image", "placement": "placement",
          "cinder": "volumev3"}
_PATHS = {"keystone": "/v3", "nova": "/v2.1", "cinder": "/v3/%(project_id)s"}


@dataclasses.dataclass(frozen=True)
class Seeded:
    """Ids of what was made."""

    project: str
    network: str
    subnet: str
    second_network: str
    foundation_network: str
    public_network: str
    floating_ip: str
    image: str


class Api:
    """Requests of one user to the services, each at its own port."""

    def __init__(self, layout: Layout, user: str = "admin", project: str = "admin") -> None:
        self._layout = layout
        domain = {"id": "default"}
        body = {"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": PASSWORD}}},
            "scope": {"project": {"name": project, "domain": domain}}}}
        self._client = httpx.Client(timeout=60.0, trust_env=False)
        answer = self._client.post(f"{layout.url('keystone')}/v3/auth/tokens", json=body)
        answer.raise_for_status()
        self.project: str = answer.json()["token"]["project"]["id"]
        self.token: str = answer.headers["x-subject-token"]
        self._client.headers["X-Auth-Token"] = self.token

    def __call__(
        self, method: str, service: str, path: str, body: Any = None, *, content: bytes | None = None, headers: Mapping[str, str] = {},
    ) -> Any:
        """The answer's JSON, or None. Raises httpx.HTTPStatusError with the service's words."""
        base = self._layout.url(service)
        more = dict(headers)
        if service == "nova":
            base += "/v2.1"
            more["OpenStack-API-Version"] = "compute 2.67"
        elif service == "cinder":
            base += f"/v3/{self.project}"
        if content is not None:
            more["Content-Type"] = "application/octet-stream"
            answer = self._client.request(method, base + path, content=content, headers=more)
        else:
            answer = self._client.request(method, base + path, json=body, headers=more)
        if answer.is_error:
            raise httpx.HTTPStatusError(f"{method} {service}{path}: {answer.text}", request=answer.request, response=answer)
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else None

    def close(self) -> None:
        self._client.close()


def catalog(layout: Layout) -> None:
    """Users of the services, their endpoints, and the project `demo` with its user: what must be there before the workers start."""
    api = Api(layout)
    roles = {role["name"]: role["id"] for role in api("GET", "keystone", "/v3/roles")["roles"]}
    if "service" not in roles:
        roles["service"] = api("POST", "keystone", "/v3/roles", {"role": {"name": "service"}})["role"]["id"]
    service = _project(api, "service")
    for name in _NAMES:
        _user(api, name, service, [roles["admin"], roles["service"]])
    demo = _project(api, "demo")
    _user(api, "demo", demo, [roles["member"], roles["reader"]])
    api("POST", "keystone", "/v3/regions", {"region": {"id": REGION}})
    for name, kind in _NAMES.items():
        entry = {"name": "cinderv3" if name == "cinder" else name, "type": kind}
        made = api("POST", "keystone", "/v3/services", {"service": entry})["service"]["id"]
        for interface in ("public", "internal", "admin"):
            url = layout.url(name) + _PATHS.get(name, "")
            api("POST", "keystone", "/v3/endpoints", {
                "endpoint": {"service_id": made, "interface": interface, "url": url, "region_id": REGION}})
    api.close()


def workers_up(layout: Layout) -> bool:
    """True when the daemons of Nova and Cinder all report `up`, and Cinder's scheduler knows where volumes can go: before that it puts each
    new one into state `error`."""
    api = Api(layout)
    try:
        compute = api("GET", "nova", "/os-services")["services"]
        volume = api("GET", "cinder", "/os-services")["services"]
        pools = api("GET", "cinder", "/scheduler-stats/get_pools")["pools"]
    except httpx.HTTPError:
        return False
    finally:
        api.close()
    up = [entry["binary"] for entry in [*compute, *volume] if entry["state"] == "up"]
    wanted = {"nova-compute": 2, "nova-conductor": 1, "nova-scheduler": 1, "cinder-volume": 2, "cinder-scheduler": 1}
    return len(pools) >= wanted["cinder-volume"] and all(up.count(name) >= number for name, number in wanted.items())


def resources(layout: Layout) -> Seeded:
    """Sizes, volume types, networks, a floating address and an image."""
    api = Api(layout)
    for name, cores, memory, disk in FLAVORS:
        api("POST", "nova", "/flavors", {"flavor": {
            "name": name, "vcpus": cores, "ram": memory, "disk": disk, "OS-FLV-EXT-DATA:ephemeral": 2 if "ephemeral" in name else 0}})
    for name in ("lvmfake", "fast"):
        api("POST", "cinder", "/types", {"volume_type": {"name": name, "extra_specs": {"volume_backend_name": "fake"}}})
    aggregate = api("POST", "nova", "/os-aggregates", {"aggregate": {"name": "second", "availability_zone": SECOND_ZONE}})["aggregate"]
    api("POST", "nova", f"/os-aggregates/{aggregate['id']}/action", {"add_host": {"host": SECOND_HOST}})
    demo = next(entry["id"] for entry in api("GET", "keystone", "/v3/projects?name=demo")["projects"])
    api("PUT", "nova", f"/os-quota-sets/{demo}", {"quota_set": QUOTA_COMPUTE})
    api("PUT", "cinder", f"/os-quota-sets/{demo}", {"quota_set": QUOTA_VOLUMES})
    network, subnet = _network(api, demo, "private", SUBNET)
    second, _ = _network(api, demo, "second", SECOND_SUBNET)
    foundation, _ = _network(api, demo, "foundation", FOUNDATION_SUBNET)
    public, _ = _network(api, None, "public", PUBLIC)
    router = api("POST", "neutron", "/v2.0/routers", {
        "router": {"name": "router", "project_id": demo, "external_gateway_info": {"network_id": public}}})["router"]["id"]
    api("PUT", "neutron", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    floating = api("POST", "neutron", "/v2.0/floatingips", {
        "floatingip": {"floating_network_id": public, "project_id": demo}})["floatingip"]["floating_ip_address"]
    image = api("POST", "glance", "/v2/images", {
        "name": "light", "disk_format": "raw", "container_format": "bare", "visibility": "public"})["id"]
    api("PUT", "glance", f"/v2/images/{image}/file", content=bytes(1024 * 1024))
    api.close()
    return Seeded(demo, network, subnet, second, foundation, public, floating, image)


def _project(api: Api, name: str) -> str:
    made: str = api("POST", "keystone", "/v3/projects", {"project": {"name": name, "domain_id": "default"}})["project"]["id"]
    return made


def _user(api: Api, name: str, project: str, roles: list[str]) -> None:
    user = api("POST", "keystone", "/v3/users", {
        "user": {"name": name, "password": PASSWORD, "domain_id": "default", "default_project_id": project}})["user"]["id"]
    for role in roles:
        api("PUT", "keystone", f"/v3/projects/{project}/users/{user}/roles/{role}")


def _network(api: Api, project: str | None, name: str, cidr: str) -> tuple[str, str]:
    shape: dict[str, Any] = {"name": name}
    if project is None:
        shape |= {"router:external": True, "provider:network_type": "flat", "provider:physical_network": "ext"}
    else:
        shape["project_id"] = project
    network: str = api("POST", "neutron", "/v2.0/networks", {"network": shape})["network"]["id"]
    rest: Mapping[str, Any] = {"enable_dhcp": False} if project is None else {"project_id": project}
    subnet: str = api("POST", "neutron", "/v2.0/subnets", {
        "subnet": {"network_id": network, "name": name, "ip_version": 4, "cidr": cidr, **rest}})["subnet"]["id"]
    return network, subnet
