"""Logging in: where each value may come from, what is missing, and which services a catalog leads to."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from cpis.cloud import faults
from cpis.cloud.schema import Schema
from cpis.contract import CpiError, Denied, Invalid, Unavailable
from cpis.openstack import OpenStackCpi, account
from cpis.openstack.errors import Explain, ServiceError
from cpis.openstack.session import Session, addresses
from tests.cpis.openstack.fake_services import PROJECT, FakeServices

BASE = {"auth_url": "https://keystone:5000/v3", "username": "u", "api_key": "hunter2-long", "project": "p"}


def read(config: dict[str, Any], environment: dict[str, str] | None = None, folder: Path | None = None) -> account.Account:
    return account.read(Schema.of("openstack").check("cpi", config), environment or {}, folder)


@pytest.mark.parametrize(
    ("given", "url"),
    [("https://h:5000", "https://h:5000"), ("https://h:5000/v3", "https://h:5000"), ("https://h/identity/v3/", "https://h/identity"),
     ("http://[::1]:5000/v3", "http://[::1]:5000"), ("https://h:5000/", "https://h:5000"), ("https://h:5000/v3/", "https://h:5000"),
     ("https://h/identity", "https://h/identity"), ("https://h/identity/", "https://h/identity"), ("https://h/v3", "https://h")],
)
def test_address_of_keystone(given: str, url: str) -> None:
    """Libcloud adds `/v3` itself."""
    assert read({**BASE, "auth_url": given}).auth_url == url


def test_login_by_names() -> None:
    body = read({**BASE, "domain": "D", "project_domain_name": "P"}).login()["auth"]
    assert body["identity"]["password"]["user"] == {"name": "u", "domain": {"name": "D"}, "password": "hunter2-long"}
    assert body["scope"] == {"project": {"name": "p", "domain": {"name": "P"}}}


def test_login_without_domains_is_in_the_default_one() -> None:
    assert read(BASE).login()["auth"]["scope"]["project"]["domain"] == {"name": "Default"}


def test_login_by_application_credential_names_no_project() -> None:
    config = {"auth_url": BASE["auth_url"], "application_credential_id": "c", "application_credential_secret": "hunter2-long"}
    body = read(config).login()["auth"]
    assert body["identity"] == {
        "methods": ["application_credential"], "application_credential": {"id": "c", "secret": "hunter2-long"}}
    assert "scope" not in body


def test_tenant_is_the_old_word_for_project() -> None:
    config = {key: value for key, value in BASE.items() if key != "project"}
    assert read({**config, "tenant": "t"}).project == "t"


def test_environment_of_openstack_tools() -> None:
    found = read({}, {
        "OS_AUTH_URL": "https://e:5000/v3", "OS_USERNAME": "eu", "OS_PASSWORD": "hunter2-long", "OS_PROJECT_ID": "pid",
        "OS_USER_DOMAIN_ID": "default", "OS_REGION_NAME": "R", "OS_INTERFACE": "internal"})
    assert (found.auth_url, found.user, found.project_id, found.region, found.interface) == ("https://e:5000", "eu", "pid", "R", "internal")
    assert found.login()["auth"]["identity"]["password"]["user"]["domain"] == {"id": "default"}
    assert found.login()["auth"]["scope"] == {"project": {"id": "pid"}}


def test_config_wins_over_environment() -> None:
    environment = {
        "OS_USERNAME": "other", "OS_PASSWORD": "other", "OS_USER_DOMAIN_ID": "other", "OS_PROJECT_ID": "other",
        "OS_APPLICATION_CREDENTIAL_ID": "c", "OS_APPLICATION_CREDENTIAL_SECRET": "s"}
    body = read({**BASE, "domain": "D"}, environment).login()["auth"]
    assert body["identity"]["password"]["user"] == {"name": "u", "domain": {"name": "D"}, "password": "hunter2-long"}
    assert body["scope"]["project"]["name"] == "p"


def clouds(folder: Path, text: str, name: str = "clouds.yaml") -> None:
    (folder / name).write_text(text)


def test_clouds_yaml_with_secure_yaml_beside(tmp_path: Path) -> None:
    clouds(tmp_path, """
clouds:
  lab:
    auth: {auth_url: https://c:5000/v3, username: cu, project_name: cp, user_domain_name: Default, project_domain_id: default}
    region_name: R
    interface: admin
    verify: false
    network_endpoint_override: https://neutron/
""")
    clouds(tmp_path, "clouds: {lab: {auth: {password: hunter2-long}}}", "secure.yaml")
    for found in (read({"cloud": "lab"}, {}, tmp_path), read({}, {"OS_CLOUD": "lab"}, tmp_path)):
        assert (found.auth_url, found.user, found.password, found.region) == ("https://c:5000", "cu", "hunter2-long", "R")
        assert (found.interface, found.verify, found.endpoints) == ("admin", False, {"network": "https://neutron"})


def test_clouds_yaml_that_is_broken_shows_nothing_of_it(tmp_path: Path) -> None:
    clouds(tmp_path, "clouds:\n  lab: {auth: {password: hunter2-long\n")
    with pytest.raises(Invalid) as caught:
        read({"cloud": "lab"}, {}, tmp_path)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("config", "words"),
    [({}, "auth_url"), ({**BASE, "auth_url": "keystone:5000"}, "must be an address"), ({**BASE, "auth_url": "http://h/v2.0"}, "v2"),
     ({**BASE, "auth_url": "https://u:hunter2-long@h:5000"}, "must not have a user"),
     ({"auth_url": "http://h"}, "username, api_key, project"), ({**BASE, "api_key": ""}, "api_key"),
     ({"auth_url": "http://h", "application_credential_id": "c"}, "application_credential_secret"),
     ({**BASE, "connection_options": {"ca_cert": "/nowhere.pem"}}, "neither a certificate nor a file"),
     ({**BASE, "cloud": "lab"}, "no clouds.yaml")],
)
def test_what_is_missing_is_named(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        read(config, {"HOME": str(tmp_path)}, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_no_representation_shows_a_secret() -> None:
    """Row 27."""
    assert "hunter2" not in repr(read(BASE))
    assert "hunter2" not in repr(OpenStackCpi(BASE).__dict__)


def test_wrong_keys_are_named_with_the_nearest() -> None:
    with pytest.raises(Invalid, match="auth_ur'") as caught:
        OpenStackCpi({**BASE, "auth_ur": "x", "state_timeout": "long"})
    assert "state_timeout" in str(caught.value)
    assert "auth_url" in caught.value.suggestion


def test_nova_network_is_refused() -> None:
    with pytest.raises(Invalid, match="nova-network"):
        OpenStackCpi({**BASE, "use_nova_networking": True})


def test_info_needs_nothing() -> None:
    """Row 38."""
    assert OpenStackCpi(BASE).info().stemcell_formats == ("openstack-raw", "openstack-qcow2", "openstack-light")


# Other ways

def test_application_credential_by_its_name_and_user() -> None:
    found = read({"auth_url": BASE["auth_url"]}, {
        "OS_AUTH_TYPE": "v3applicationcredential", "OS_APPLICATION_CREDENTIAL_NAME": "director", "OS_USERNAME": "eu",
        "OS_APPLICATION_CREDENTIAL_SECRET": "hunter2-long", "OS_PASSWORD": "unused", "OS_TOKEN": "unused"})
    assert found.login()["auth"]["identity"]["application_credential"] == {
        "name": "director", "user": {"name": "eu", "domain": {"name": "Default"}}, "secret": "hunter2-long"}
    with pytest.raises(Invalid, match="username"):
        read({"auth_url": BASE["auth_url"]}, {"OS_APPLICATION_CREDENTIAL_NAME": "d", "OS_APPLICATION_CREDENTIAL_SECRET": "hunter2-long"})


@pytest.mark.parametrize("way", ["v3token", "token", ""])
def test_a_token_that_somebody_got(way: str, tmp_path: Path) -> None:
    lab = {"auth": {"auth_url": "https://c:5000", "token": "hunter2-long", "project_id": "pid"}, **({"auth_type": way} if way else {})}
    clouds(tmp_path, json.dumps({"clouds": {"lab": lab}}))
    found = read({"cloud": "lab"}, {}, tmp_path)
    assert found.login()["auth"] == {
        "identity": {"methods": ["token"], "token": {"id": "hunter2-long"}}, "scope": {"project": {"id": "pid"}}}
    assert found.secrets == ("hunter2-long",)
    assert "hunter2" not in repr(found)

    def ended(body: str) -> tuple[str, Any]:
        raise ServiceError(401, "The request you have made requires authentication.", {})

    with pytest.raises(Denied) as caught:
        Session(found, ended, Explain(found.secrets)).current()
    assert "openstack token issue" in caught.value.suggestion


def test_what_can_be_renewed_goes_before_a_token() -> None:
    environment = {"OS_TOKEN": "t", "OS_USERNAME": "u", "OS_PASSWORD": "hunter2-long", "OS_PROJECT_NAME": "p"}
    assert not read({"auth_url": "http://h"}, environment).token
    assert not read(BASE, {"OS_TOKEN": "t", "OS_AUTH_TYPE": "v3token"}).token


@pytest.mark.parametrize("way", ["v3oidcpassword", "v3totp", "v3kerberos", "v2password", "admin_token"])
def test_ways_that_are_not_supported_are_named(way: str) -> None:
    with pytest.raises(Invalid, match=f"'{way}'") as caught:
        read({"auth_url": "http://h"}, {"OS_AUTH_TYPE": way, "OS_USERNAME": "u", "OS_PASSWORD": "hunter2-long"})
    assert "v3applicationcredential" in caught.value.suggestion
    assert read(BASE, {"OS_AUTH_TYPE": way}).user == "u", "the CPI config says who logs in"


def test_the_profile_of_a_vendor(tmp_path: Path) -> None:
    clouds(tmp_path, "clouds: {lab: {profile: vendor, auth: {username: u, password: hunter2-long, project_name: p}}}")
    with pytest.raises(Invalid, match="'vendor'"):
        read({"cloud": "lab"}, {}, tmp_path)
    clouds(
        tmp_path, "public-clouds: {vendor: {auth: {auth_url: 'https://v:5000/v3', username: x}, region_name: R}}", "clouds-public.yaml")
    found = read({"cloud": "lab"}, {}, tmp_path)
    assert (found.auth_url, found.user, found.region) == ("https://v:5000", "u", "R")


def test_secrets_in_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    clouds(tmp_path, "clouds: {lab: {auth: {auth_url: 'https://c:5000', username: u, project_name: p}}}")
    clouds(tmp_path / "other", "clouds: {lab: {auth: {password: hunter2-long}}}", "mine.yaml")
    assert read({"cloud": "lab"}, {"OS_CLIENT_SECURE_FILE": str(tmp_path / "other/mine.yaml")}, tmp_path).password == "hunter2-long"


# Catalogs

def entry(kind: str, url: str, region: str = "R", interface: str = "public", name: str = "anything") -> dict[str, Any]:
    return {"type": kind, "name": name, "endpoints": [{"interface": interface, "region_id": region, "region": region, "url": url}]}


@pytest.mark.parametrize(
    ("kind", "url", "service", "found"),
    [("compute", "http://n:8774/v2.1", "compute", "http://n:8774/v2.1"), ("compute", "http://n/compute", "compute", "http://n/compute/v2.1"),
     ("compute", "http://n:8774/v2/PROJECT", "compute", "http://n:8774/v2.1"),
     ("volumev3", "http://c/v3/PROJECT", "volume", "http://c/v3/PROJECT"), ("block-storage", "http://c/v3", "volume", "http://c/v3/PROJECT"),
     ("volume", "http://c/volume/v2/PROJECT", "volume", "http://c/volume/v3/PROJECT"),
     ("volumev3", "http://c:8776", "volume", "http://c:8776/v3/PROJECT"), ("block-store", "http://c/", "volume", "http://c/v3/PROJECT"),
     ("compute", "http://n:8774/v2.1/PROJECT/", "compute", "http://n:8774/v2.1"), ("compute", "http://n:8774", "compute", "http://n:8774/v2.1"),
     ("image", "http://g:9292/v2/", "image", "http://g:9292"), ("load-balancer", "http://o:9876/v2.0", "load_balancer", "http://o:9876"),
     ("network", "http://q:9696/", "network", "http://q:9696"), ("network", "http://q:9696/v2.0", "network", "http://q:9696"),
     ("image", "http://g/image/v2", "image", "http://g/image"), ("load-balancer", "http://o/load-balancer", "load_balancer",
                                                                  "http://o/load-balancer")],
)
def test_services_of_any_name_and_version(kind: str, url: str, service: str, found: str) -> None:
    """Libcloud looks for fixed names (`nova`, `cinderv3`) and takes the address as it is."""
    assert addresses([entry(kind, url)], read(BASE), "PROJECT") == {service: found}


def test_region_and_interface_choose() -> None:
    catalog = [entry("compute", "http://a"), entry("compute", "http://b", "S"), entry("compute", "http://c", "S", "internal")]
    assert addresses(catalog, read({**BASE, "region": "S"}), "P") == {"compute": "http://b/v2.1"}
    assert addresses(catalog, read({**BASE, "region": "S", "endpoint_type": "internalURL"}), "P") == {"compute": "http://c/v2.1"}
    with pytest.raises(Invalid, match="no region 'T'") as caught:
        addresses(catalog, read({**BASE, "region": "T"}), "P")
    assert "R, S" in caught.value.suggestion
    with pytest.raises(Invalid, match="several regions"):
        addresses(catalog, read(BASE), "P")


def test_the_only_region_needs_no_name() -> None:
    """Of the services that are used: others may be elsewhere, and an endpoint may be in none."""
    catalog = [
        entry("compute", "http://a"), entry("volumev3", "http://v"), entry("identity", "http://k", "Global"),
        entry("object-store", "http://s", "Far"),
        {"type": "network", "name": "q", "endpoints": [{"interface": "public", "region_id": None, "region": None, "url": "http://q"}]}]
    found = {"compute": "http://a/v2.1", "volume": "http://v/v3/P"}
    assert addresses(catalog, read(BASE), "P") == {**found, "network": "http://q"}
    assert addresses(catalog, read({**BASE, "region": "R"}), "P") == found
    with pytest.raises(Invalid, match="no region 'Global'"):
        addresses(catalog, read({**BASE, "region": "Global"}), "P")


@pytest.mark.parametrize("first", ["volume", "volumev2", "block-storage", "volumev3"])
def test_of_several_services_for_volumes_the_third_version_counts(first: str) -> None:
    """Clouds that were upgraded have entries of all versions, in any order."""
    kinds = [first, *(kind for kind in ("volume", "volumev2", "volumev3", "block-storage") if kind != first)]
    catalog = [entry(kind, f"http://{kind}") for kind in kinds]
    assert addresses(catalog, read(BASE), "P") == {"volume": "http://volumev3/v3/P"}


@pytest.mark.parametrize("auth_url", ["/identity", "/identity/", "/identity/v3", "/identity/v3/"])
@pytest.mark.parametrize("volumes", ["volumev3", "block-storage", "volume"])
@pytest.mark.parametrize("version", [("", ""), ("/v2.1", f"/v3/{PROJECT}"), ("/v2.1/", "/v3/")], ids=["plain", "versioned", "slash"])
def test_services_by_whatever_catalog(services: FakeServices, auth_url: str, volumes: str, version: tuple[str, str]) -> None:
    """Each service is reached where it is, without a word of it in the CPI config."""
    paths = {"compute": f"/compute{version[0]}", volumes: f"/volume{version[1]}", "network": "/network/v2.0", "image": "/image"}
    services.catalog = [entry(kind, services.url + path, name=f"our own {kind}") for kind, path in paths.items()]
    config = {key: value for key, value in services.config().items() if key != "endpoints"}
    with contextlib.closing(OpenStackCpi({**config, "auth_url": services.url + auth_url})) as cpi:
        assert cpi.owned() == []
    asked = [path.partition("?")[0] for method, path in services.log]
    assert asked == [
        "/identity/v3/auth/tokens", f"/volume/v3/{PROJECT}/volumes/detail", "/compute/v2.1/servers/detail", "/network/v2.0/ports",
        f"/volume/v3/{PROJECT}/snapshots/detail", "/image/v2/images"]


class Keystone:
    """Gives tokens `t1`, `t2` ... that live an hour, by a clock that is a day ahead."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self.project: dict[str, Any] | None = {"id": "P"}

    def ask(self, body: str) -> tuple[str, Any]:
        if self.failure:
            raise self.failure
        self.asked += 1
        return f"t{self.asked}", {"token": {
            "issued_at": "2030-01-02T00:00:00.000000Z", "expires_at": "2030-01-02T01:00:00.000000Z", "project": self.project,
            "catalog": [entry("compute", "http://n/v2.1")]}}


@pytest.fixture
def keystone() -> Keystone:
    return Keystone()


def session(keystone: Keystone, now: list[float]) -> Session:
    known = read(BASE)
    return Session(known, keystone.ask, Explain(known.secrets), lambda: now[0])


def test_one_login_until_shortly_before_its_end(keystone: Keystone) -> None:
    """By the token's life, not its end: this computer's clock may be a day off."""
    now = [0.0]
    one = session(keystone, now)
    assert [one.current().token for _ in range(3)] == ["t1"] * 3
    now[0] = 3500.0
    assert one.current().token == "t1"
    now[0] = 3541.0
    assert one.current().token == "t2"


def test_a_refused_token_is_forgotten_once(keystone: Keystone) -> None:
    one = session(keystone, [0.0])
    one.current()
    one.forget("t1")
    assert one.current().token == "t2"
    one.forget("t1")  # another thread's, late
    assert one.current().token == "t2"


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [(ServiceError(401, json.dumps({"error": {"message": "The request you have made requires authentication."}}), {}), Denied,
      "credentials"),
     (ServiceError(404, json.dumps({"error": {"message": "Could not find Application Credential: c."}}), {}), Denied, "credentials"),
     (ServiceError(404, "<html>nginx</html>", {}), Unavailable, faults.NOT_SENT),
     (ServiceError(503, "<html>busy</html>", {}), Unavailable, faults.NOT_SENT), (KeyError("token"), Unavailable, faults.NOT_SENT)],
)
def test_failed_logins(keystone: Keystone, failure: Exception, kind: type[CpiError], code: str) -> None:
    """A fault of Keystone's leaves the request that wanted the token unsent, so that it may be repeated whatever it is."""
    keystone.failure = failure
    with pytest.raises(kind) as caught:
        session(keystone, [0.0]).current()
    assert caught.value.code == code
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_login_without_project_is_refused(keystone: Keystone) -> None:
    keystone.project = None
    with pytest.raises(Invalid, match="no project"):
        session(keystone, [0.0]).current()


def test_a_service_that_is_not_there(keystone: Keystone) -> None:
    one = session(keystone, [0.0])
    assert one.address("compute") == "http://n/v2.1"
    with pytest.raises(Invalid, match="Octavia"):
        one.address("load_balancer")
