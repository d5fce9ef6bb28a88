"""Tokens: asked for once, shared by all threads, asked for anew before they end."""

from __future__ import annotations

import base64
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cpis.azure.errors import LoginFailed
from cpis.azure.settings import Settings
from cpis.contract import Denied

_EARLY_SECONDS = 300
_LIFE_SECONDS = 3600
_IMDS = "http://169.254.169.254"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Send = Callable[[str, str, str | None, Mapping[str, str]], tuple[int, str]]
"""(method, URL, body, headers) -> (status, text): one request to where tokens come from."""


class Tokens:
    """The token of one CPI config. Nothing is asked before the first use, so credentials may be missing until then."""

    def __init__(self, settings: Settings, send: Send, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = 0.0
        self.origin = ""
        """By which way the last token came."""

    def get(self) -> str:
        """A token that lives five minutes more at least. Raises LoginFailed, Denied without credentials."""
        with self._lock:
            if not self._token or self._clock() + _EARLY_SECONDS >= self._expires_at:
                self._token, self._expires_at = self._ask()
            return self._token

    def who(self) -> str:
        """Whose the token is, as far as it says so, and by which way it came. Raises as `get`."""
        token = self.get()
        try:
            told = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
            name = next((str(told[key]) for key in ("upn", "unique_name", "app_displayname", "appid", "oid") if told.get(key)), "")
        except (IndexError, ValueError, AttributeError, TypeError):
            name = ""  # it is the API's to read, and not ours: it may be in any form
        return f"{name} by {self.origin}" if name and name not in self.origin else self.origin

    @property
    def expires_at(self) -> float:
        return self._expires_at

    def forget(self, token: str) -> None:
        """This token was refused. What another thread has got since then stays."""
        with self._lock:
            if token == self._token:
                self._token = ""

    def _ask(self) -> tuple[str, float]:
        form = self._form()
        if form is not None:
            self.origin = f"service principal {form['client_id']}"
            return self._answered(*self._principal(form))
        config, environ = self._settings.config, self._settings.environ
        source = config.get("credentials_source")
        if source == "azure_cli":
            return self._of_cli()
        self.origin = "managed identity"
        if environ.get("IDENTITY_ENDPOINT") or environ.get("MSI_ENDPOINT"):
            from cpis.azure.identities import of_host  # it loads azure-identity

            found = of_host(self._settings.place.resource, self._client(), str(config.get("managed_identity_resource_id") or ""))
            return found.token, self._until(found.expires_on - time.time())
        try:
            return self._answered(*self._identity())
        except (requests.ConnectionError, requests.Timeout, LoginFailed) as error:
            if source or (isinstance(error, LoginFailed) and error.status != 400):  # 400: a machine of Azure's without an identity
                raise
        return self._of_cli(last=True)

    def _of_cli(self, *, last: bool = False) -> tuple[str, float]:
        """The token of who did `az login`; `last`: when all else was in vain."""
        if last and shutil.which("az") is None:
            raise Denied(
                "there are no credentials for Azure: none in the CPI config, none in the environment (AZURE_...), this machine has no "
                "managed identity, and there is no `az` that somebody may be logged in by",
                suggestion="docs/clouds/azure.md shows how to make some.")
        from cpis.azure.identities import of_cli  # it loads azure-identity

        self.origin = "Azure CLI"
        found = of_cli(self._settings.place.resource, self._tenant(), self._settings.subscription)
        return found.token, self._until(found.expires_on - time.time())

    def _until(self, lives: float) -> float:
        return self._clock() + max(lives, 2 * _EARLY_SECONDS)

    def _answered(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> tuple[str, float]:
        status, text = self._send(method, url, body, headers)
        try:
            answer = json.loads(text)
        except ValueError:
            raise LoginFailed(status, "", text) from None
        if status != 200 or "access_token" not in answer:
            description = str(answer.get("error_description") or answer.get("error") or text)
            code = next((word.rstrip(":") for word in description.split() if word.startswith("AADSTS")), "")
            raise LoginFailed(status, code, description)
        # The seconds that it lives count before the time of its end, which is by a clock that may differ from ours.
        lives = answer.get("expires_in") or (float(answer["expires_on"]) - self._clock() if answer.get("expires_on") else _LIFE_SECONDS)
        return str(answer["access_token"]), self._until(float(lives))

    def _principal(self, form: Mapping[str, str]) -> tuple[str, str, str | None, Mapping[str, str]]:
        """What is sent for a service principal's token."""
        body = urlencode({"grant_type": "client_credentials", **form, "resource": self._settings.place.resource})
        return "POST", self._address(), body, {"Content-Type": "application/x-www-form-urlencoded"}

    def _address(self) -> str:
        place = self._settings.place
        tenant = "" if place.adfs else f"/{quote(self._tenant(), safe='')}"
        return f"{place.login}{tenant}/oauth2/token"

    def _tenant(self) -> str:
        return str(self._settings.config.get("tenant_id") or self._settings.environ.get("AZURE_TENANT_ID") or "")

    def _client(self) -> str:
        return str(self._settings.config.get("client_id") or self._settings.environ.get("AZURE_CLIENT_ID") or "")

    def _form(self) -> dict[str, str] | None:
        """The credentials of a service principal; None for a managed identity. The order is that of Azure's own libraries."""
        config, environ, source = self._settings.config, self._settings.environ, self._settings.config.get("credentials_source")
        if source in ("managed_identity", "azure_cli"):
            return None
        given = source != "environment" and any(config.get(key) for key in ("client_secret", "certificate"))
        client = str((config.get("client_id") if source != "environment" else "") or environ.get("AZURE_CLIENT_ID") or "")
        secret = config.get("client_secret") if given else environ.get("AZURE_CLIENT_SECRET")
        certificate = config.get("certificate") if given else _text(environ.get("AZURE_CLIENT_CERTIFICATE_PATH"))
        federated = "" if given else _text(environ.get("AZURE_FEDERATED_TOKEN_FILE"))
        if secret or certificate or federated:
            if not client or not (self._tenant() or self._settings.place.adfs):
                raise Denied("there are credentials for Azure, but no client_id or no tenant_id", suggestion="Add them to the CPI config.")
            if secret:
                return {"client_id": client, "client_secret": str(secret)}
            proof = federated.strip() if federated else self._assertion(client, str(certificate))
            return {"client_id": client, "client_assertion_type": _ASSERTION, "client_assertion": proof}
        if source in ("static", "environment"):
            where = "the CPI config" if source == "static" else "the environment (AZURE_CLIENT_SECRET and so on)"
            raise Denied(f"there are no credentials for Azure in {where}", suggestion="docs/clouds/azure.md shows how to make some.")
        return None

    def _assertion(self, client: str, pem: str) -> str:
        """A signed statement that we are the application. Source: RFC 7523 and Entra's certificate credentials."""
        key, certificate = _pair(pem)
        now = int(self._clock())
        thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA1())).decode().rstrip("=")
        head = {"alg": "RS256", "typ": "JWT", "x5t": thumbprint}
        claims = {"aud": self._address(), "iss": client, "sub": client, "jti": str(uuid.uuid4()), "nbf": now - 60, "exp": now + 600}
        text = f"{_encoded(head)}.{_encoded(claims)}"
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    def _identity(self) -> tuple[str, str, str | None, Mapping[str, str]]:
        """The identity of the machine that we run on: asked from its metadata service."""
        config, environ = self._settings.config, self._settings.environ
        query = {"api-version": "2018-02-01", "resource": self._settings.place.resource}
        if config.get("managed_identity_resource_id"):
            query["msi_res_id"] = str(config["managed_identity_resource_id"])
        elif self._client():
            query["client_id"] = self._client()
        base = str(environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or _IMDS).rstrip("/")
        if not urlsplit(base).hostname:
            raise Denied(f"AZURE_POD_IDENTITY_AUTHORITY_HOST is no URL: '{base}'")
        return "GET", f"{base}/metadata/identity/oauth2/token?{urlencode(query)}", None, {"Metadata": "true"}


def _encoded(tree: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(tree).encode()).decode().rstrip("=")


def _text(path: str | None) -> str:
    """The text of a file that the environment names. Raises Denied."""
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise Denied(f"the file with Azure's credentials cannot be read: {error}") from error


def _pair(pem: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """Private key and certificate of one PEM text. Raises Denied."""
    try:
        certificate = x509.load_pem_x509_certificate(pem[pem.index("-----BEGIN CERTIFICATE"):].encode())
        first = pem.index("-----BEGIN", pem.index("PRIVATE KEY") - 30)
        key = serialization.load_pem_private_key(pem[first:].encode(), password=None)
    except (ValueError, TypeError):
        raise Denied(
            "the certificate for Azure must be PEM, a certificate and an unencrypted private key",
            suggestion="`az ad sp create-for-rbac --create-cert` writes such a file.") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Denied("the certificate for Azure must have an RSA key")
    return key, certificate
