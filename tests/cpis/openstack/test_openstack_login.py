"""Logging in and finding services, against the REAL Keystone (`make test-openstack`)."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cpis.conformance.clouds.openstack import Lab, seed
from cpis.conformance.clouds.openstack.layout import REGION
from cpis.contract import CpiError, Denied, Invalid, Uses, VmResources
from cpis.openstack import OpenStackCpi

pytestmark = [pytest.mark.openstack, pytest.mark.timeout(900), pytest.mark.usefixtures("nothing_left")]


def test_services_by_catalog(lab: Lab) -> None:
    with contextlib.closing(OpenStackCpi(lab.catalog_config())) as cpi:
        assert cpi.calculate_vm_cloud_properties(VmResources(1, 256, 512)) == {"instance_type": "m1.tiny"}


def test_application_credential(lab: Lab, api: seed.Api) -> None:
    user = api("GET", "keystone", "/v3/auth/tokens", headers={"X-Subject-Token": api.token})["token"]["user"]["id"]
    made = api("POST", "keystone", f"/v3/users/{user}/application_credentials", {"application_credential": {"name": uuid.uuid4().hex}})
    credential = made["application_credential"]
    config = {key: value for key, value in lab.config.items() if key not in ("username", "api_key", "project", "domain")}
    config |= {"application_credential_id": credential["id"], "application_credential_secret": credential["secret"]}
    with contextlib.closing(OpenStackCpi(config)) as cpi:
        assert not cpi.has_vm("nothing")
    api("DELETE", "keystone", f"/v3/users/{user}/application_credentials/{credential['id']}")
    with contextlib.closing(OpenStackCpi(config)) as cpi, pytest.raises(Denied):
        cpi.has_vm("nothing")


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [({"api_key": "wrong-password"}, Denied, "requires authentication"), ({"username": "nobody"}, Denied, "requires authentication"),
     ({"project": "elsewhere"}, Denied, "requires authentication"), ({"domain": "Elsewhere"}, Denied, "requires authentication"),
     ({"region": "RegionTwo"}, Invalid, "no region 'RegionTwo'"), ({"compute_microversion": "2.9999"}, Invalid, "2.9999")],
)
def test_wrong_logins(lab: Lab, changes: dict[str, Any], kind: type[CpiError], words: str) -> None:
    with contextlib.closing(OpenStackCpi({**lab.config, **changes})) as cpi, pytest.raises(kind, match=words) as caught:
        cpi.has_vm("nothing")
    assert "wrong-password" not in repr(caught.value)


def test_a_token_that_is_revoked_in_the_middle(lab: Lab, api: seed.Api) -> None:
    """Row 24."""
    with contextlib.closing(OpenStackCpi(lab.config)) as cpi:
        token = cpi._api.session.current().token
        # Before any service has seen it: they remember for five minutes that a token is good.
        api("DELETE", "keystone", "/v3/auth/tokens", headers={"X-Subject-Token": token})
        assert not cpi.has_vm("nothing")
        assert cpi._api.session.current().token != token


@pytest.mark.parametrize("form", ["", "/", "/v3", "/v3/"])
@pytest.mark.parametrize("region", [REGION, None])
def test_all_forms_of_keystones_address(lab: Lab, form: str, region: str | None) -> None:
    """With the region, and without one: there is only one."""
    config = {key: value for key, value in {**lab.catalog_config(), "region": region}.items() if value}
    with contextlib.closing(OpenStackCpi({**config, "auth_url": lab.layout.url("keystone") + form})) as cpi:
        assert not cpi.has_disk(str(uuid.uuid4()))


@pytest.fixture
def other_domain(admin: seed.Api) -> Iterator[str]:
    """A domain with a project of the name `theirs`, in which the user `demo` of the first domain is a member."""
    name = f"Domain-{uuid.uuid4().hex[:8]}"
    domain = admin("POST", "keystone", "/v3/domains", {"domain": {"name": name}})["domain"]["id"]
    project = admin("POST", "keystone", "/v3/projects", {"project": {"name": "theirs", "domain_id": domain}})["project"]["id"]
    user = admin("GET", "keystone", "/v3/users?name=demo")["users"][0]["id"]
    role = admin("GET", "keystone", "/v3/roles?name=member")["roles"][0]["id"]
    admin("PUT", "keystone", f"/v3/projects/{project}/users/{user}/roles/{role}")
    yield name
    admin("PATCH", "keystone", f"/v3/domains/{domain}", {"domain": {"enabled": False}})
    admin("DELETE", "keystone", f"/v3/domains/{domain}")


def test_a_project_of_another_domain_by_name(lab: Lab, other_domain: str) -> None:
    """Libcloud wants a project's domain by its id."""
    config = {key: value for key, value in lab.catalog_config().items() if key != "domain"}
    config |= {"project": "theirs", "user_domain_name": "Default", "project_domain_name": other_domain}
    with contextlib.closing(OpenStackCpi(config)) as cpi:
        assert cpi.owned() == []
    with contextlib.closing(OpenStackCpi({**config, "project_domain_name": "Default"})) as cpi, pytest.raises(Denied):
        cpi.owned()


# Type and address that the catalog has for Cinder and Nova, and the names of all services.
OTHERS: Mapping[str, tuple[str, str]] = {
    "block-storage": ("/v3", "/v2.1"), "volume": ("", ""), "block-store": ("/v3/%(project_id)s/", "/v2.1/")}


@pytest.fixture(params=OTHERS)
def other_catalog(lab: Lab, admin: seed.Api, request: pytest.FixtureRequest) -> Iterator[None]:
    """The same services under other names, types and addresses."""
    paths = dict(zip(("cinder", "nova"), OTHERS[request.param], strict=True))
    services = {entry["name"]: entry for entry in admin("GET", "keystone", "/v3/services")["services"]}
    points = admin("GET", "keystone", "/v3/endpoints")["endpoints"]

    def change(service: str, name: str, kind: str, url: str | None) -> None:
        cid = services[service]["id"]
        admin("PATCH", "keystone", f"/v3/services/{cid}", {"service": {"name": name, "type": kind}})
        for point in points:
            if point["service_id"] == cid:
                admin("PATCH", "keystone", f"/v3/endpoints/{point['id']}", {"endpoint": {"url": url or point["url"]}})

    change("cinderv3", "cinder", request.param, lab.layout.url("cinder") + paths["cinder"])
    change("nova", "compute-of-ours", "compute", lab.layout.url("nova") + paths["nova"])
    for name in ("neutron", "glance"):
        change(name, f"{name}-of-ours", services[name]["type"], None)
    yield
    for name, entry in services.items():
        change(name, name, entry["type"], None)


@pytest.mark.usefixtures("other_catalog")
def test_services_of_other_names(lab: Lab) -> None:
    """Libcloud looks for `nova`, `neutron`, `glance` and `cinderv3`, at addresses with a version."""
    with contextlib.closing(OpenStackCpi({**lab.catalog_config(), "director": "tests"})) as cpi:
        assert cpi.owned() == []
        assert cpi.calculate_vm_cloud_properties(VmResources(1, 256, 512)) == {"instance_type": "m1.tiny"}
        assert [check.kind for check in cpi.checks(Uses()) if check.ok is False] == []
