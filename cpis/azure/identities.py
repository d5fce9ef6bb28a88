"""Tokens of azure-identity: of the Azure CLI, and of hosts that are no machines (App Service, Container Apps, Cloud Shell, Arc ...).

What azure-identity could do besides stays ours in `login.py`; docs/decisions/2026-11-27-credentials.md says why. Imported at first need.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from typing import NoReturn

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError, DecodeError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import AzureCliCredential, CredentialUnavailableError, ManagedIdentityCredential

from cpis.cloud import faults
from cpis.cloud.text import HIDDEN, first_line
from cpis.contract import Denied, Invalid, Unavailable

# All that goes wrong is told by errors.
for _name in ("azure", "msal"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_CLI_SECONDS = 30
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_LOGIN = "Run `az login` as the director's user."


def of_cli(resource: str, tenant: str, subscription: str) -> AccessToken:
    """The token of who did `az login`. Raises Denied with what to do, Unavailable when it takes too long, Invalid."""
    try:
        # The CLI takes one of both; a subscription tells its tenant.
        credential = AzureCliCredential(
            tenant_id=tenant, subscription=None if tenant else subscription, process_timeout=_CLI_SECONDS)
        found: AccessToken = credential.get_token(f"{resource}/.default")
        return found
    except CredentialUnavailableError as error:
        if isinstance(error.__cause__, subprocess.TimeoutExpired):
            raise Unavailable(f"`az account get-access-token` did not answer in {_CLI_SECONDS} s", code=faults.NOT_SENT) from None
        if shutil.which("az") is None:
            raise Denied("the command `az` of the Azure CLI is not on the director's PATH", code="azure-cli", suggestion=(
                "Install the Azure CLI and run `az login` as the director's user, or take another way (docs/clouds/azure.md).")) from None
        raise Denied(f"Azure CLI: {_shown(error)}", code="azure-cli", suggestion=_LOGIN) from None
    except ClientAuthenticationError as error:
        raise Denied(f"Azure CLI: {_shown(error)}", code="azure-cli", suggestion=_LOGIN) from None
    except ValueError as error:
        raise Invalid(f"Azure CLI: {first_line(str(error))}") from None


def _shown(error: AzureError) -> str:
    """What the CLI said. Not its output when that is in another form: a token may stand in it."""
    text = str(error.message)
    if text.startswith("Unexpected output"):
        return "`az account get-access-token` answered in another form"
    lines = [line for line in text.splitlines() if "ERROR" in line or "AADSTS" in line]
    return re.sub(r"eyJ[\w.-]+", HIDDEN, first_line("\n".join(lines) or text))


def of_host(resource: str, client_id: str, resource_id: str) -> AccessToken:
    """The token of the host's managed identity, asked where the host's own variables say (IDENTITY_ENDPOINT, MSI_ENDPOINT ...), by no proxy
    and once. Raises Denied, Unavailable.
    """
    transport = RequestsTransport(connection_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, use_env_settings=False)
    which = {"identity_config": {"resource_id": resource_id}} if resource_id else {"client_id": client_id or None}
    try:
        with ManagedIdentityCredential(transport=transport, retry_total=0, **which) as credential:
            found: AccessToken = credential.get_token(f"{resource}/.default")
            return found
    except (AzureError, ValueError, TypeError, KeyError) as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        raise Unavailable(f"managed identity: {first_line(str(error))}", code=faults.NOT_SENT) from None
    if isinstance(error, AzureError) and not isinstance(error, DecodeError):
        raise Denied(
            f"managed identity: {first_line(str(error.message))}", code="managed-identity",
            suggestion="Has the host an identity, and is client_id (or AZURE_CLIENT_ID) that of one of its own?") from None
    raise Unavailable(
        f"managed identity: the host answered in another form ({type(error).__name__})", code=faults.MALFORMED) from None
