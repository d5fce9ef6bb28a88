"""Identities of Azure that are no service principal: who did `az login`, and hosts' own. The stand-in of `az` answers as the CLI does."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from cpis.azure import AzureCpi
from cpis.azure.login import Tokens
from cpis.azure.settings import Settings
from cpis.conformance.clouds.azure import AzureStandIn
from cpis.contract import CpiError, Denied, Invalid, Unavailable, Uses

BASE = {"subscription_id": "5ab1e000-0000-4000-8000-000000000000", "resource_group_name": "g"}


def jwt(**claims: str) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "RS256"}, claims, {}))


TOKEN = jwt(upn="me@example.com", appid="04b07795-8ddb-461a-bbee-02f9e1bf7b46")


def nobody(*_: Any) -> tuple[int, str]:
    raise requests.ConnectionError("no route to host")


def tokens(config: Mapping[str, Any] | None = None, send: Any = nobody, environ: Mapping[str, str] | None = None) -> Tokens:
    return Tokens(Settings.read({**BASE, **(config or {})}, environ or {}), send)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder of the PATH, for an `az`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "bin"


def cli(path: Path, text: str) -> None:
    (path / "az").write_text(f"#!/bin/sh\necho \"$@\" >> {path}/asked\n{text}\n")
    (path / "az").chmod(stat.S_IRWXU)


def logged_in(seconds: float = 3600) -> str:
    """What `az account get-access-token --output json` writes."""
    ends = int(time.time() + seconds)
    return "cat <<'E'\n" + json.dumps({
        "accessToken": TOKEN, "expiresOn": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(ends)), "expires_on": ends,
        "subscription": BASE["subscription_id"], "tenant": "t", "tokenType": "Bearer"}, indent=2) + "\nE"


@pytest.mark.parametrize("config", [{}, {"credentials_source": "azure_cli"}])
def test_who_did_az_login(path: Path, config: dict[str, str]) -> None:
    """Chosen, or where nobody else is: no managed identity."""
    cli(path, logged_in())
    found = tokens(config)
    assert [found.get(), found.get()] == [TOKEN] * 2
    asked = (path / "asked").read_text().splitlines()
    assert len(asked) == 1
    assert asked[0].split() == [
        "account", "get-access-token", "--output", "json", "--resource", "https://management.core.windows.net/", "--subscription",
        BASE["subscription_id"]]
    assert found.who() == "me@example.com by Azure CLI"


def test_of_a_tenant_and_of_another_azure(path: Path) -> None:
    cli(path, logged_in())
    config = {"credentials_source": "azure_cli", "tenant_id": "t-1", "environment": "AzureStack", "azure_stack": {"domain": "d.example"}}
    assert tokens(config).get() == TOKEN
    assert (path / "asked").read_text().endswith("--resource https://management.d.example/ --tenant t-1\n")


def test_it_is_asked_again_before_the_end_and_after_a_refusal(path: Path) -> None:
    now = [0.0]
    cli(path, logged_in())
    found = Tokens(Settings.read({**BASE, "credentials_source": "azure_cli"}, {}), nobody, lambda: now[0])
    threads = [threading.Thread(target=found.get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (path / "asked").read_text().count("\n") == 1
    now[0] = 3500.0
    found.forget(found.get())
    found.get()
    assert (path / "asked").read_text().count("\n") == 3


@pytest.mark.parametrize(("text", "kind", "words", "advice"), [
    ("echo 'Please run \"az login\" to setup account.' >&2; exit 1", Denied, "az login", "az login"),
    ("echo 'ERROR: AADSTS700082: The refresh token has expired due to inactivity. eyJhbGci.hush' >&2; exit 1", Denied, "AADSTS700082",
     "az login"),
    ("echo '{\"accessToken\":\"hush\", '", Denied, "another form", "az login"),
    ("echo '<html>hush</html>'", Denied, "another form", "az login"), ("echo '{}'", Denied, "another form", "az login"),
    ("exit 127", Denied, "Azure CLI", "az login"), ("sleep 30", Unavailable, "did not answer", ""),
])
def test_az_that_gives_no_token(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str, kind: type[CpiError], words: str, advice: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("cpis.azure.identities._CLI_SECONDS", 1)
    cli(path, text)
    started = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        tokens({"credentials_source": "azure_cli"}).get()
    assert time.monotonic() - started < 10
    assert advice in caught.value.suggestion
    assert "hush" not in f"{caught.value} {caplog.text}"


def test_no_az(path: Path) -> None:
    with pytest.raises(Denied, match="not on the director's PATH") as caught:
        tokens({"credentials_source": "azure_cli"}).get()
    assert "az login" in caught.value.suggestion
    with pytest.raises(Denied, match="there are no credentials for Azure") as caught:
        tokens().get()
    assert "az" in caught.value.message


def test_a_tenant_that_is_none(path: Path) -> None:
    cli(path, logged_in())
    with pytest.raises(Invalid, match="tenant"):
        tokens({"credentials_source": "azure_cli", "tenant_id": "t; rm"}).get()
    assert not (path / "asked").exists()


def test_a_machine_without_an_identity(path: Path) -> None:
    """Of Azure: its metadata service says 400. Then it is who did `az login`; a fault of the service is no such answer."""
    cli(path, logged_in())
    assert tokens(send=lambda *_: (400, '{"error": "invalid_request", "error_description": "Identity not found"}')).get() == TOKEN
    with pytest.raises(Exception, match="busy"):
        tokens(send=lambda *_: (503, "busy")).get()


@contextlib.contextmanager
def host(status: int, body: str, hang: threading.Event | None = None) -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    """What gives out tokens on App Service and in the Cloud Shell."""
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            form = {key: value[0] for key, value in parse_qs(sent or urlsplit(self.path).query).items()}
            seen.append((self.command, form, self.headers))
            if hang:
                hang.wait(60)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body.encode())

        do_GET = do_POST = _any

        def log_message(self, format: str, *args: Any) -> None:
            pass

    seen: list[tuple[str, dict[str, str], Any]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/msi/token", seen
        finally:
            if hang:
                hang.set()
            server.shutdown()
            thread.join()


def _given() -> str:
    return json.dumps({"access_token": TOKEN, "expires_on": str(int(time.time()) + 3600), "expires_in": "3600", "resource": "r",
                       "token_type": "Bearer"})


def test_the_identity_of_a_host(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """App Service, Container Apps; by no proxy."""
    with host(200, _given()) as (url, seen):
        environ = {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": "of-the-host", "HTTP_PROXY": "http://127.0.0.1:1"}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        found = tokens({"client_id": "c-1"}, environ=os.environ)
        assert found.get() == TOKEN
        method, query, headers = seen[0]
        assert (method, query["resource"], query["client_id"]) == ("GET", "https://management.core.windows.net/", "c-1")
        assert headers["X-IDENTITY-HEADER"] == "of-the-host"
        assert found.who() == "me@example.com by managed identity"
        found.forget(TOKEN)
        found.get()
        assert len(seen) == 2, "a token that was refused is not taken from a cache"


def test_the_identity_of_the_cloud_shell(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with host(200, _given()) as (url, seen):
        monkeypatch.setenv("MSI_ENDPOINT", url)
        assert tokens(environ=os.environ).get() == TOKEN
        assert seen[0][1]["resource"] == "https://management.core.windows.net/"


@pytest.mark.parametrize(("status", "body", "kind"), [
    (400, '{"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found"}', Denied),
    (200, "<html>hush</html>", Unavailable), (200, "{}", Denied), (500, "oops", Unavailable)])
def test_hosts_that_refuse(path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: str, kind: type[CpiError]) -> None:
    with host(status, body) as (url, seen):
        monkeypatch.setenv("IDENTITY_ENDPOINT", url)
        monkeypatch.setenv("IDENTITY_HEADER", "of-the-host")
        with pytest.raises(kind, match="managed identity") as caught:
            tokens(environ=os.environ).get()
        assert len(seen) == 1
        assert not [secret for secret in ("of-the-host", "hush") if secret in str(caught.value)]


def test_a_host_that_hangs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpis.azure.identities._READ_SECONDS", 0.5)
    with host(200, _given(), threading.Event()) as (url, _):
        monkeypatch.setenv("IDENTITY_ENDPOINT", url)
        monkeypatch.setenv("IDENTITY_HEADER", "of-the-host")
        started = time.monotonic()
        with pytest.raises(Unavailable):
            tokens(environ=os.environ).get()
        assert time.monotonic() - started < 10


def test_a_check_says_who_one_is(azure: AzureStandIn) -> None:
    cpi = AzureCpi(azure.config, environ={})
    detail = next(check.detail for check in cpi.checks(Uses()) if check.name == "credentials")
    assert f"service principal {azure.config['client_id']}" in detail
    cpi.close()


def test_the_library_is_loaded_when_it_is_needed(path: Path) -> None:
    cli(path, logged_in())
    code = (
        "import sys\nfrom cpis.azure import AzureCpi\nfrom cpis.azure.login import Tokens\nfrom cpis.azure.settings import Settings\n"
        f"config = {({**BASE, 'credentials_source': 'azure_cli'})!r}\nAzureCpi(config, environ={{}}).info()\n"
        "found = Tokens(Settings.read(config, {}), None)\nprint('azure.identity' in sys.modules)\n"
        "found.get()\nprint('azure.identity' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["False", "True"]
