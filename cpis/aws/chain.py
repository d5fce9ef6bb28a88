"""Credentials as the AWS command line finds them, by botocore's chain. Nothing else of botocore is used, and it is imported at first need.

What the chain is given here, which it would do otherwise by itself:

| botocore by itself | here |
|---|---|
| loads plugins, service models of the home folder and files of the first boto, and reports its calls to a local port when told so | not |
| asks the instance through the environment's proxies, and by version 1 of the service when 2 does not answer | directly, version 2 |
| waits for `credential_process` for ever, and keeps what it writes to stderr for its errors and its log | 60 s; what it says is not kept |
| asks the terminal for the code of an MFA device | an error |
| requests of two minutes and more, for STS and SSO, tried as often as the environment says | 25 s at most, tried twice |
| writes answers, keys among them, to its log at level debug | has no log |

Source: "AWS SDKs and Tools reference guide", credential providers.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from botocore import credentials as ways
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    InvalidIMDSEndpointError,
    InvalidIMDSEndpointModeError,
    InvalidRegionError,
    LoginError,
    MetadataRetrievalError,
    MissingDependencyException,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.plugin import PluginContext, reset_plugin_context, set_plugin_context
from botocore.session import Session
from botocore.utils import InstanceMetadataFetcher, resolve_imds_endpoint_mode

from cpis.aws.errors import ServiceError, explain
from cpis.cloud import faults
from cpis.cloud.text import first_line
from cpis.contract import CpiError, Denied, Invalid, NotFound, Unavailable

logging.getLogger("botocore").setLevel(logging.CRITICAL)

_CONNECT_SECONDS, _READ_SECONDS, _TRIES = 5.0, 20.0, 2
_PROCESS_SECONDS = 60.0
_METADATA_TRIES = 3
_WAYS = (
    "Give access_key_id and secret_access_key in the CPI config, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the director's "
    "environment, a profile, or the director's instance an instance profile."
)
_NOTHING = "there are no credentials: none in the CPI config, the environment or a profile, and this is no instance with a profile"
_NAMES: Mapping[str, str] = {
    "env": "the environment", "assume-role": "a role of the profile", "assume-role-with-web-identity": "web identity", "sso": "AWS SSO",
    "shared-credentials-file": "the credentials file", "config-file": "the config file", "custom-process": "credential_process",
    "login": "aws login", "container-role": "the container", "iam-role": "the instance profile",
}
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Reach:
    """How STS and SSO are reached: the CPI's region; another URL of STS, a proxy, a file of CA certificates ('' without one)."""

    region: str
    sts_url: str = ""
    proxy: str = ""
    ca_file: str = ""


class Chain:
    """`load` finds credentials anew, by the profile or in all places: files that changed are read again."""

    def __init__(self, profile: str, reach: Reach) -> None:
        self._profile = profile
        self._reach = reach

    def load(self) -> Found:
        """Raises Invalid for files that are wrong, Denied when there are none, Unavailable."""
        profile = self._profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"
        try:
            found = _resolver(self._profile, self._reach).load_credentials()
        except MetadataRetrievalError:
            found = None  # the instance is asked last
        except Exception as error:
            _refuse(error, profile)
        if found is None:
            raise Denied(_NOTHING, code="NoCredentials", suggestion=_WAYS)
        return Found(found, profile)


class Found:
    """What was found. Temporary credentials are renewed before they end, once for all threads."""

    def __init__(self, held: Any, profile: str) -> None:
        self._held = held
        self._profile = profile
        self.origin = _NAMES.get(held.method, str(held.method))

    def keys(self) -> tuple[str, str, str]:
        """Access key, secret, and token or ''. Raises as `Chain.load`."""
        try:
            frozen = self._held.get_frozen_credentials()
        except Exception as error:
            _refuse(error, self._profile)
        return frozen.access_key, frozen.secret_key, frozen.token or ""


class _Session(Session):  # type: ignore[misc]
    """Makes the clients by which the chain asks STS and SSO."""

    def __init__(self, profile: str, reach: Reach) -> None:
        super().__init__(profile=profile or None)
        self._reach = reach
        self.set_config_variable("csm_enabled", False)
        self.register_component("data_loader", Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False))
        proxies = {"proxies": {"http": reach.proxy, "https": reach.proxy}} if reach.proxy else {}
        self.set_default_client_config(Config(
            connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries={"mode": "standard", "total_max_attempts": _TRIES},
            **proxies))

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        if service_name == "sts" and self._reach.sts_url:
            kwargs["endpoint_url"] = self._reach.sts_url
        if self._reach.ca_file:
            kwargs["verify"] = self._reach.ca_file
        token = set_plugin_context(PluginContext(plugins="DISABLED"))
        try:
            return super().create_client(service_name, *args, **kwargs)
        finally:
            reset_plugin_context(token)


class _Profiles(ways.ProfileProviderBuilder):  # type: ignore[misc]
    """The ways of a profile, with an end to the wait for a process."""

    def __init__(self, session: Session, cache: dict[str, Any], region: str) -> None:
        super().__init__(session, cache=cache, region_name=region)
        self._whole = session

    def providers(self, profile_name: str, disable_env_vars: bool = False) -> list[Any]:
        process = ways.ProcessProvider(profile_name, lambda: self._whole.full_config, popen=_Process)
        found = super().providers(profile_name, disable_env_vars)
        return [process if provider.METHOD == process.METHOD else provider for provider in found]


class _Instance(InstanceMetadataFetcher):  # type: ignore[misc]
    """The metadata service is on the instance's own link: a proxy would answer with its own identity, or not at all."""

    def __init__(self, timeout: float, **kwargs: Any) -> None:
        super().__init__(timeout=timeout, **kwargs)
        self._session = URLLib3Session(timeout=timeout)


class _Process:
    """What botocore wants of `subprocess.Popen`, within a time. Raises Denied."""

    def __init__(self, command: list[str], **_: Any) -> None:
        self._command = command
        self.returncode = 0

    def communicate(self) -> tuple[bytes, bytes]:
        advice = "Run the command of credential_process, in the AWS profile, by hand."
        try:
            done = subprocess.run(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_PROCESS_SECONDS,
                check=False)
        except subprocess.TimeoutExpired:
            raise Denied(f"credential_process did not answer in {_PROCESS_SECONDS:g} s", code="process", suggestion=advice) from None
        except OSError as error:
            raise Denied(f"credential_process cannot be run: {error.strerror}", code="process", suggestion=advice) from None
        if done.returncode:
            raise Denied(f"credential_process ended with exit code {done.returncode}", code="process", suggestion=advice)
        return done.stdout, b""


def _resolver(profile: str, reach: Reach) -> Any:
    """botocore's own chain (`create_credential_resolver`) of the same parts, without those of the first boto."""
    session = _Session(profile, reach)
    name = profile or session.get_config_variable("profile") or "default"
    cache: dict[str, Any] = {}
    environment, container = ways.EnvProvider(), ways.ContainerProvider()
    instance = ways.InstanceMetadataProvider(_Instance(
        float(session.get_config_variable("metadata_service_timeout")),
        num_attempts=max(_METADATA_TRIES, session.get_config_variable("metadata_service_num_attempts")),
        config={
            "ec2_metadata_service_endpoint": session.get_config_variable("ec2_metadata_service_endpoint"),
            "ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(session), "ec2_metadata_v1_disabled": True,
        }))
    profiles = _Profiles(session, cache, reach.region)

    def client(service: str, **kwargs: Any) -> Any:
        return session.create_client(service, **{"region_name": reach.region, **kwargs})

    role = ways.AssumeRoleProvider(
        lambda: session.full_config, client, cache, name, prompter=_no_code, profile_provider_builder=profiles,
        credential_sourcer=ways.CanonicalNameCredentialSourcer([environment, container, instance]))
    first = [] if profile else [environment]
    return ways.CredentialResolver(
        [*first, role, *profiles.providers(name, disable_env_vars=bool(profile)), container, instance])


def _no_code(question: str) -> NoReturn:
    raise Denied(
        "the AWS profile wants the code of an MFA device, and the director can ask nobody", code="mfa",
        suggestion="Take a session with `aws sts get-session-token`, AWS SSO, or a role without mfa_serial.")


_WRONG_CONFIG = (
    ConfigNotFound, InvalidConfigError, InvalidIMDSEndpointError, InvalidIMDSEndpointModeError, InvalidRegionError, PartialCredentialsError,
    UnknownCredentialError,
)
_ANSWERS: tuple[tuple[tuple[type[Exception], ...], Callable[[Any, str], CpiError]], ...] = (
    ((ProfileNotFound,), lambda error, profile: Invalid(
        f"there is no AWS profile '{profile}'", suggestion=(
            f"`aws configure list-profiles` tells those of this computer. In the config file its section is [profile {profile}]."))),
    # Not the text of the error: it quotes lines, and secrets stand in them.
    ((ConfigParseError,), lambda error, profile: Invalid(f"the file {error.kwargs['path']} cannot be read: it is no AWS configuration")),
    (_WRONG_CONFIG, lambda error, profile: Invalid(f"the AWS profile '{profile}': {first_line(str(error))}")),
    ((SSOError, TokenRetrievalError), lambda error, profile: Denied(
        f"the session of AWS SSO for the profile '{profile}' has ended or never began", code="sso",
        suggestion=f"Run `aws sso login --profile {profile}` as the director's user.")),
    ((LoginError, MissingDependencyException), lambda error, profile: Denied(
        f"the AWS profile '{profile}': {first_line(str(error))}", code="login",
        suggestion=f"Run `aws login --profile {profile}`, or take another way (docs/clouds/aws.md).")),
    ((ResponseParserError,), lambda error, profile: _odd("what was asked for credentials")),
    ((MetadataRetrievalError,), lambda error, profile: Unavailable("the metadata service does not answer", code=faults.NOT_SENT)),
    ((SSLError,), lambda error, profile: Denied(
        f"credentials: the certificate does not verify: {first_line(str(error))}", code="tls",
        suggestion="Give the CA that signed it as connection_options.ca_cert, and look at this computer's clock.")),
    ((ConnectionError,), lambda error, profile: Unavailable(
        f"credentials: {first_line(str(error))}", code=faults.NOT_SENT,
        suggestion="Is the endpoint right, and does a proxy or firewall stand between?")),
    ((HTTPClientError,), lambda error, profile: Unavailable(f"credentials: {first_line(str(error))}", code=faults.NOT_SENT)),
    ((CredentialRetrievalError,), lambda error, profile: Unavailable(first_line(str(error)), code=faults.NOT_SENT)),
    ((BotoCoreError,), lambda error, profile: faults.unexplained("credentials", error)),
    ((OSError,), lambda error, profile: Denied(
        f"credentials: {error.filename or 'a file'} cannot be read: {error.strerror}", code="NoCredentials")),
    ((RuntimeError,), lambda error, profile: Denied("credentials: those that were given have ended already", code="ExpiredToken")),
    ((KeyError, TypeError, AttributeError, ValueError), lambda error, profile: (
        Invalid(f"the AWS profile '{profile}': {first_line(str(error))}") if type(error) is ValueError
        else _odd("what was asked for credentials"))),
)


def _odd(what: str) -> Unavailable:
    return Unavailable(
        f"{what} answered in another form", code=faults.MALFORMED, suggestion="Does a proxy answer in its place? Is the endpoint right?")


def _refuse(error: Exception, profile: str) -> NoReturn:
    """Raises our error for what the chain raised."""
    if isinstance(error, CpiError):
        raise error
    if isinstance(error, ClientError):
        raise _of_service(error) from None
    made = next((make for kinds, make in _ANSWERS if isinstance(error, kinds)), lambda error, _: faults.unexplained("credentials", error))
    raise made(error, profile) from None


def _of_service(error: ClientError) -> CpiError:
    """STS and SSO refuse with words for requests: here they are about who we are."""
    told, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    found = explain(error.operation_name, ServiceError(
        int(meta.get("HTTPStatusCode") or 0), str(told.get("Code") or ""), str(told.get("Message") or ""), str(meta.get("RequestId") or ""),
        meta.get("HTTPHeaders") or {}))
    if not isinstance(found, Invalid | NotFound):
        return found
    return Denied(
        found.message, code=found.code, request_id=found.request_id,
        suggestion=found.suggestion or "Do the role and its trust policy allow this identity?")
