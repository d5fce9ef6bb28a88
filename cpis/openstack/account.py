"""How the director logs in: each value is from the CPI config, else from `clouds.yaml`, else from OS_* in the environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cpis.contract import Invalid, Properties

_INTERFACES = {"publicURL": "public", "internalURL": "internal", "adminURL": "admin"}

# Names of one value in the CPI config, in clouds.yaml (`auth.` for its inner hash), and in the environment.
# Source: openstacksdk's configuration, which all of OpenStack's own tools share.
_NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "auth_url": (("auth_url",), ("auth.auth_url",), ("OS_AUTH_URL",)),
    "user": (("username",), ("auth.username",), ("OS_USERNAME",)),
    "user_id": ((), ("auth.user_id",), ("OS_USER_ID",)),
    "password": (("api_key", "password"), ("auth.password",), ("OS_PASSWORD",)),
    "credential_id": (
        ("application_credential_id",), ("auth.application_credential_id",), ("OS_APPLICATION_CREDENTIAL_ID",)),
    "credential_secret": (
        ("application_credential_secret",), ("auth.application_credential_secret",), ("OS_APPLICATION_CREDENTIAL_SECRET",)),
    "credential_name": ((), ("auth.application_credential_name",), ("OS_APPLICATION_CREDENTIAL_NAME",)),
    "token": ((), ("auth.token",), ("OS_TOKEN",)),
    "project": (("project", "tenant"), ("auth.project_name", "auth.tenant_name"), ("OS_PROJECT_NAME", "OS_TENANT_NAME")),
    "project_id": (("project_id",), ("auth.project_id", "auth.tenant_id"), ("OS_PROJECT_ID", "OS_TENANT_ID")),
    "user_domain": (("user_domain_name", "domain"), ("auth.user_domain_name", "auth.domain_name"), ("OS_USER_DOMAIN_NAME",)),
    "user_domain_id": ((), ("auth.user_domain_id", "auth.domain_id"), ("OS_USER_DOMAIN_ID",)),
    "project_domain": (
        ("project_domain_name", "domain"), ("auth.project_domain_name", "auth.domain_name"), ("OS_PROJECT_DOMAIN_NAME",)),
    "project_domain_id": ((), ("auth.project_domain_id", "auth.domain_id"), ("OS_PROJECT_DOMAIN_ID",)),
    "region": (("region",), ("region_name",), ("OS_REGION_NAME",)),
    "ca_cert": (("connection_options.ca_cert",), ("cacert",), ("OS_CACERT",)),
}
_PASSWORD, _TOKEN, _CREDENTIAL = ("password", "v3password"), ("token", "v3token"), ("v3applicationcredential",)
_WAYS = (*_PASSWORD, *_TOKEN, *_CREDENTIAL)
"""The values of `auth_type` (OS_AUTH_TYPE) that are known here."""


@dataclasses.dataclass(frozen=True)
class Account:
    """Who logs in where. Either an application credential (by id, or by name and its user), or a user (by id, or by name and domain) with a
    project, or a token that somebody has got, with a project. Domains are names, those that end in `_id` ids. `auth_url` is Keystone's
    without `/v3`.
    """

    auth_url: str
    user: str = ""
    user_id: str = ""
    password: str = dataclasses.field(default="", repr=False)
    credential_id: str = ""
    credential_name: str = ""
    credential_secret: str = dataclasses.field(default="", repr=False)
    token: str = dataclasses.field(default="", repr=False)
    project: str = ""
    project_id: str = ""
    user_domain: str = ""
    user_domain_id: str = ""
    project_domain: str = ""
    project_domain_id: str = ""
    region: str = ""
    interface: str = "public"
    ca_cert: str = ""
    verify: bool = True
    timeout_seconds: float = 60.0
    proxy: str = ""
    microversion: str = "2.67"
    endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(secret for secret in (self.password, self.credential_secret, self.token) if secret)

    @property
    def key(self) -> str:
        """What tells this account and region from others: their limits are their own."""
        who = self.user or self.user_id or self.credential_id
        return "|".join((self.auth_url, who, self.project or self.project_id, self.region))

    def login(self) -> dict[str, Any]:
        """The body of Keystone's `POST /v3/auth/tokens`."""
        user: dict[str, Any] = {"id": self.user_id} if self.user_id else {
            "name": self.user, "domain": _domain(self.user_domain, self.user_domain_id)}
        if self.credential_id or self.credential_name:
            name = {"id": self.credential_id} if self.credential_id else {"name": self.credential_name, "user": user}
            identity = {**name, "secret": self.credential_secret}
            return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": identity}}}
        project: dict[str, Any] = {"id": self.project_id}
        if not self.project_id:
            project = {"name": self.project, "domain": _domain(self.project_domain, self.project_domain_id)}
        who: dict[str, Any] = {"methods": ["password"], "password": {"user": {**user, "password": self.password}}}
        if self.token:
            who = {"methods": ["token"], "token": {"id": self.token}}
        return {"auth": {"identity": who, "scope": {"project": project}}}


def _domain(name: str, identity: str) -> dict[str, str]:
    return {"id": identity} if identity else {"name": name or "Default"}


def read(config: Properties, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Account:
    """The account of a checked CPI config. Raises Invalid when something is missing, naming all the places where it may stand.

    `environment` and `folder` (where a relative clouds.yaml is looked for) are those of the process unless given.
    """
    environment = os.environ if environment is None else environment
    cloud = _cloud(config, environment, folder or Path.cwd())
    values = {}
    for name, (ours, theirs, variables) in _NAMES.items():
        found = [_inner(config, key) for key in ours] + [_inner(cloud, key) for key in theirs] + [environment.get(key) for key in variables]
        values[name] = str(next((value for value in found if value not in (None, "")), ""))
    _prefer_config(values, config)
    _one_way(values, _way(config, cloud, environment))
    options = config.get("connection_options") or {}
    verify = options.get("ssl_verify_peer")
    account = Account(
        **{**values, "auth_url": _auth_url(values["auth_url"])}, interface=_interface(config, cloud, environment),
        verify=bool(cloud.get("verify", True) if verify is None else verify),
        timeout_seconds=float(options.get("read_timeout") or 60.0), proxy=str(options.get("proxy") or ""),
        microversion=str(config.get("compute_microversion") or "2.67"), endpoints=_endpoints(config, cloud))
    _complete(account)
    return account


def _prefer_config(values: dict[str, str], config: Properties) -> None:
    """What the CPI config says in one form wins over what the surroundings say in another."""
    if config.get("username"):
        values["user_id"] = ""
        values["token"] = ""
        if not config.get("application_credential_id"):
            values["credential_id"] = values["credential_name"] = values["credential_secret"] = ""
    if config.get("domain") or config.get("user_domain_name"):
        values["user_domain_id"] = ""
    if config.get("domain") or config.get("project_domain_name"):
        values["project_domain_id"] = ""
    if (config.get("project") or config.get("tenant")) and not config.get("project_id"):
        values["project_id"] = ""


def _way(config: Properties, cloud: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """`auth_type`, as far as it is the surroundings that say who logs in. Raises Invalid for one that is not known here."""
    if config.get("username") or config.get("application_credential_id"):
        return ""
    way = str(cloud.get("auth_type") or environment.get("OS_AUTH_TYPE") or "")
    if way and way not in _WAYS:
        raise Invalid(
            f"the way to log in '{way}' (auth_type, OS_AUTH_TYPE) is not supported: a director has nobody who could be asked, or whose "
            "browser it could open", suggestion=f"known: {', '.join(_WAYS)}. Best is `openstack application credential create`.")
    return way


def _one_way(values: dict[str, str], way: str) -> None:
    """Keep what belongs to the way that is asked for; without one what can be renewed goes before a token."""
    credential = values["credential_id"] or values["credential_name"]
    if way in _PASSWORD or (way in _TOKEN and values["token"]):
        values["credential_id"] = values["credential_name"] = values["credential_secret"] = ""
    if way not in _TOKEN and (way or credential or values["password"]):
        values["token"] = ""


def _interface(config: Properties, cloud: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    text = str(config.get("endpoint_type") or cloud.get("interface") or environment.get("OS_INTERFACE") or "public")
    return _INTERFACES.get(text, text)


def _endpoints(config: Properties, cloud: Mapping[str, Any]) -> dict[str, str]:
    """Ours, and clouds.yaml's `<service>_endpoint_override`."""
    names = {"compute": "compute", "image": "image", "network": "network", "volume": "volume", "load_balancer": "load_balancer"}
    theirs = {name: cloud.get(f"{key}_endpoint_override") or cloud.get(f"{key}_endpoint") for name, key in names.items()}
    both = {**theirs, **(config.get("endpoints") or {})}
    return {name: str(url).rstrip("/") for name, url in both.items() if url}


def _cloud(config: Properties, environment: Mapping[str, str], folder: Path) -> Mapping[str, Any]:
    """The entry of clouds.yaml, with that of secure.yaml beside it laid over; empty when none is asked for."""
    name = config.get("cloud") or environment.get("OS_CLOUD")
    if not name:
        return {}
    home = Path(environment.get("HOME") or "/root")
    given = config.get("clouds_file") or environment.get("OS_CLIENT_CONFIG_FILE")
    places = [Path(given)] if given else [
        place / "clouds.yaml" for place in (folder, home / ".config/openstack", Path("/etc/openstack"))]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise Invalid(
            f"the cloud '{name}' is asked for, and there is no clouds.yaml in {', '.join(map(str, places))}",
            suggestion="Name it with clouds_file or OS_CLIENT_CONFIG_FILE.")
    clouds = _yaml(path).get("clouds") or {}
    if not isinstance(clouds, Mapping) or not isinstance(clouds.get(name), Mapping):
        known = ", ".join(sorted(map(str, clouds))) if isinstance(clouds, Mapping) else ""
        raise Invalid(f"{path} has no cloud '{name}'", suggestion=f"known: {known}")
    beside = Path(environment.get("OS_CLIENT_SECURE_FILE") or path.with_name("secure.yaml"))
    secure = (_yaml(beside).get("clouds") or {}).get(name) or {}
    found = _over(clouds[name], secure)
    return _over(_vendor(str(found["profile"]), found, path), found) if found.get("profile") else found


def _over(base: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**base, **more, "auth": {**(base.get("auth") or {}), **(more.get("auth") or {})}}


def _vendor(profile: str, cloud: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The vendor's profile of a cloud, from `clouds-public.yaml` beside clouds.yaml."""
    known = _yaml(path.with_name("clouds-public.yaml")).get("public-clouds") or {}
    found = known.get(profile) if isinstance(known, Mapping) else None
    if isinstance(found, Mapping):
        return found
    if not (cloud.get("auth") or {}).get("auth_url"):
        raise Invalid(
            f"{path} takes the profile '{profile}', which is not in clouds-public.yaml beside it; those that OpenStack's SDK brings along "
            "are not known here", suggestion="Write auth.auth_url and region_name of that cloud into clouds.yaml.")
    return {}


def _yaml(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, OSError) as error:
        # The error's text would quote the line, and with it perhaps a password.
        raise Invalid(f"{path} cannot be read: {type(error).__name__}") from None
    if not isinstance(document, Mapping):
        raise Invalid(f"{path} must be a mapping")
    return document


def _inner(tree: Mapping[str, Any], path: str) -> Any:
    value: Any = tree
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _auth_url(text: str) -> str:
    """Without the version: Libcloud adds `/v3` itself and asks for `/v3/v3` otherwise."""
    if not text:
        raise Invalid(
            "auth_url, the address of Keystone, is missing",
            suggestion="Give it as auth_url in the CPI config, in clouds.yaml, or as OS_AUTH_URL.")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"auth_url must be an address such as https://keystone.example.com:5000/v3, not '{text}'")
    if parts.username or parts.password:
        raise Invalid("auth_url must not have a user or password in it", suggestion="Give them as username and api_key.")
    url = text.rstrip("/")
    if url.endswith("/v2.0"):
        raise Invalid(f"auth_url names Keystone v2, which is gone since OpenStack Queens: {url}", suggestion=f"Try {url[:-5]}/v3.")
    return url.removesuffix("/v3").rstrip("/")


def _complete(account: Account) -> None:
    missing = []
    if account.credential_id or account.credential_name or account.credential_secret:
        missing += [] if account.credential_id or account.credential_name else ["application_credential_id"]
        missing += [] if account.credential_id or not account.credential_name or account.user or account.user_id else ["username"]
        missing += [] if account.credential_secret else ["application_credential_secret"]
    else:
        missing += [] if account.token or account.user or account.user_id else ["username"]
        missing += [] if account.token or account.password else ["api_key"]
        missing += [] if account.project or account.project_id else ["project (or project_id)"]
    if missing:
        raise Invalid(
            f"the CPI config of OpenStack lacks {', '.join(missing)}",
            suggestion="Give a user, its password and a project, or an application credential: in the CPI config, by `cloud:` from "
            "clouds.yaml, or by OS_* in the environment.")
    certificate = account.ca_cert
    if certificate and "BEGIN CERTIFICATE" not in certificate and not Path(certificate).is_file():
        raise Invalid(f"connection_options.ca_cert is neither a certificate nor a file: {certificate[:60]}")
