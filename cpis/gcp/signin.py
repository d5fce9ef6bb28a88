"""From the content of a file with credentials to a token, by google-auth: one token a call. Imported at first need.

The generic loaders of google-auth (`default`, `load_credentials_from_file`) are not used: they run `gcloud` to learn of a project, warn
against themselves, and ask a fixed endpoint for persons' tokens whatever the file says. Each type has a loader of its own.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import requests
from google.auth import aws, exceptions, external_account_authorized_user, identity_pool, impersonated_credentials, pluggable
from google.oauth2 import credentials as people
from google.oauth2 import service_account

from cpis.cloud.faults import MALFORMED
from cpis.cloud.text import first_line
from cpis.contract import CpiError, Denied, Invalid, Unavailable
from cpis.gcp.credentials import KINDS, Token
from cpis.gcp.endpoint import Endpoint

SCOPES = (
    "https://www.googleapis.com/auth/compute", "https://www.googleapis.com/auth/devstorage.full_control",
    "https://www.googleapis.com/auth/cloud-platform",
)
_TOKEN_URI = "https://oauth2.googleapis.com/token"


def sign_in(info: Mapping[str, Any], where: str, ca_file: str | None, session: Callable[[], requests.Session]) -> Token:
    """A new token. `where` names the file in errors. Raises Invalid for content that is wrong, Denied, Unavailable."""
    try:
        found = _made(info)
    except (exceptions.GoogleAuthError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid(f"{where}: {_words(error)}", suggestion=f"It should be {KINDS}.") from None
    try:
        found.refresh(Endpoint(ca_file, session))
    except CpiError:
        raise
    except exceptions.GoogleAuthError as error:
        raise Denied(
            f"{where}: {_words(error)}", code="no-token",
            suggestion="docs/clouds/gcp.md tells what each way of signing in needs.") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unavailable(
            f"{where}: this is no answer of a token endpoint ({type(error).__name__})", code=MALFORMED,
            suggestion="Does a proxy answer in its place?") from None
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)  # google-auth's times have no zone
    return Token(str(found.token or ""), (found.expiry - now).total_seconds() if found.expiry else None)


def _words(error: Exception) -> str:
    """What google-auth says, without the answers that it adds: these may have tokens in them."""
    text = str(error.args[0]) if error.args else ""
    if isinstance(error, KeyError):
        return f"'{text}' is missing"
    return first_line(text) or type(error).__name__


def _made(info: Mapping[str, Any]) -> Any:
    kind = info.get("type") or "service_account"
    scopes = list(SCOPES)
    if kind == "service_account":
        try:
            return service_account.Credentials.from_service_account_info({"token_uri": _TOKEN_URI, **info}, scopes=scopes)
        except exceptions.MalformedError:
            raise
        except ValueError:
            raise ValueError("its private_key is no PEM key") from None
    if kind == "authorized_user":
        return people.Credentials(
            None, refresh_token=info["refresh_token"], token_uri=info.get("token_uri") or _TOKEN_URI, client_id=info["client_id"],
            client_secret=info["client_secret"])
    if kind == "external_account_authorized_user":
        return external_account_authorized_user.Credentials.from_info(info, scopes=scopes)
    if kind == "external_account":
        return _external(info).from_info(info, scopes=scopes)
    url = str(info["service_account_impersonation_url"])
    target, found, _ = url.rpartition("/")[2].partition(":generateAccessToken")
    if not found:
        raise ValueError("service_account_impersonation_url is no address of generateAccessToken")
    return impersonated_credentials.Credentials(
        _made(info["source_credentials"]), target, scopes, delegates=info.get("delegates"), iam_endpoint_override=url)


def _external(info: Mapping[str, Any]) -> Any:
    """By where the other party's token comes from."""
    source = info["credential_source"]
    if str(source.get("environment_id") or "").startswith("aws"):
        return aws.Credentials
    return pluggable.Credentials if "executable" in source else identity_pool.Credentials
