"""Signing in without a key of Google's: federation, impersonation, persons, each with files in their real form and servers that answer."""

from __future__ import annotations

import datetime
import json
import logging
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from gcp_bench import Bench
from requests.adapters import HTTPAdapter

from cpis.conformance.certificate import self_signed
from cpis.conformance.clouds.gcp import GcpStandIn
from cpis.contract import CpiError, Denied, Invalid, Unavailable, Uses
from cpis.gcp.credentials import tokens_of
from tests.cpis.answering import answering

POOL = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/github"
Answer = tuple[int, Any]


class Google:
    """Security Token Service, IAM Credentials, the OAuth endpoint, and what gives out the other party's token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []
        self.answers: dict[str, Answer | Callable[[], Answer]] = {
            "/sts": (200, {"access_token": "ya29.federated", "expires_in": 3600, "token_type": "Bearer", "issued_token_type": "x"}),
            "/oauth": (200, {"access_token": "ya29.person", "expires_in": 3599, "token_type": "Bearer"}),
            "/subject": (200, "subject-of-url"), "/subject.json": (200, {"value": "subject-of-json"}),
        }
        self.hang = threading.Event()

    def answer(self, method: str, path: str, form: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        self.asked.append((path, form, headers))
        if path.endswith(":generateAccessToken") and path not in self.answers:
            ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
            who = headers["authorization"].rpartition(".")[2]
            return 200, {"accessToken": f"ya29.{who}-as-sa", "expireTime": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
        found = self.answers.get(path, (404, "nothing here"))
        return found() if callable(found) else found


def playing(pem: Path | None = None) -> AbstractContextManager[Google]:
    return answering(Google, pem)


@pytest.fixture
def google() -> Iterator[Google]:
    with playing() as found:
        yield found


def federated(google: Google, source: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What `gcloud iam workload-identity-pools create-cred-config` writes."""
    return {
        "type": "external_account", "audience": POOL, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.url}/sts", "credential_source": dict(source), **more}


def person(google: Google) -> dict[str, Any]:
    """What `gcloud auth application-default login` writes, with an endpoint of ours."""
    return {
        "type": "authorized_user", "client_id": "i", "client_secret": "s3cret-s3cret", "refresh_token": "r3fresh-r3fresh",
        "token_uri": f"{google.url}/oauth"}


def token(info: Mapping[str, Any], **more: Any) -> str:
    return tokens_of({"json_key": dict(info)}, environ={}, **more).access_token


def test_federation_by_a_file(google: Google, tmp_path: Path) -> None:
    """As on GitLab and Kubernetes."""
    (tmp_path / "jwt").write_text("subject-of-file")
    (tmp_path / "adc.json").write_text(json.dumps(federated(google, {"file": str(tmp_path / "jwt")})))
    tokens = tokens_of({}, environ={"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "adc.json")})
    assert tokens.access_token == "ya29.federated"
    _, form, _ = google.asked[0]
    assert (form["subject_token"], form["audience"]) == ("subject-of-file", POOL)
    assert "cloud-platform" in form["scope"]
    assert tokens.who.endswith("workloadIdentityPools/pool/providers/github")


def test_federation_by_an_address(google: Google) -> None:
    """As on GitHub."""
    source = {
        "url": f"{google.url}/subject.json", "headers": {"Authorization": "Bearer of-the-job"},
        "format": {"type": "json", "subject_token_field_name": "value"}}
    assert token(federated(google, source)) == "ya29.federated"
    assert [path for path, _, _ in google.asked] == ["/subject.json", "/sts"]
    assert google.asked[0][2]["authorization"] == "Bearer of-the-job"
    assert google.asked[1][1]["subject_token"] == "subject-of-json"


def test_federation_by_a_program(google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho '" + json.dumps({
        "version": 1, "success": True, "token_type": "urn:ietf:params:oauth:token-type:jwt", "id_token": "subject-of-tool",
        "expiration_time": int(time.time()) + 600}) + "'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    info = federated(google, {"executable": {"command": str(tool), "timeout_millis": 5000}})
    with pytest.raises((Invalid, Denied), match="explicitly allowed"):
        token(info)
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    assert token(info) == "ya29.federated"
    assert google.asked[0][1]["subject_token"] == "subject-of-tool"


def test_federation_with_an_account_of_google(google: Google, tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("subject")
    url = f"{google.url}/v1/projects/-/serviceAccounts/sa@p.iam.gserviceaccount.com:generateAccessToken"
    tokens = tokens_of({"json_key": federated(google, {"file": str(tmp_path / "jwt")}, service_account_impersonation_url=url)}, environ={})
    assert tokens.access_token == "ya29.federated-as-sa"
    assert tokens.who.startswith("sa@p.iam.gserviceaccount.com, impersonated by projects/123/")


def test_a_person_who_impersonates(google: Google, tmp_path: Path) -> None:
    """What `gcloud auth application-default login --impersonate-service-account` writes."""
    info = {
        "type": "impersonated_service_account", "delegates": [], "source_credentials": person(google),
        "service_account_impersonation_url": f"{google.url}/v1/projects/-/serviceAccounts/sa@p.iam.gserviceaccount.com:generateAccessToken"}
    (tmp_path / "application_default_credentials.json").write_text(json.dumps(info))
    tokens = tokens_of({}, environ={"CLOUDSDK_CONFIG": str(tmp_path)})
    assert tokens.access_token == "ya29.person-as-sa"
    assert tokens.who.startswith("sa@p.iam.gserviceaccount.com, impersonated by the person of ")


def test_a_person(google: Google) -> None:
    assert token(person(google)) == "ya29.person"
    assert google.asked[0][1]["refresh_token"] == "r3fresh-r3fresh"


def test_the_usual_addresses_are_googles_own(google: Google) -> None:
    """A file without addresses; what asks is given."""
    class ToUs(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            hosts.append(urlsplit(request.url).hostname)
            request.url = f"{google.url}/oauth"
            return super().send(request, *args, **kwargs)

    def session() -> requests.Session:
        made = requests.Session()
        made.mount("https://", ToUs())
        return made

    hosts: list[str | None] = []
    info = {key: value for key, value in person(google).items() if key != "token_uri"}
    assert token(info, session=session) == "ya29.person"
    assert hosts == ["oauth2.googleapis.com"]


@pytest.mark.parametrize(("path", "answer", "kind", "words"), [
    ("/sts", (400, {"error": "invalid_grant", "error_description": "ID Token issued at 1 is stale"}), Denied, "invalid_grant: ID Token"),
    ("/sts", (403, {"error": "unauthorized_client", "error_description": "The given credential is rejected by the attribute condition."}),
     Denied, "attribute condition"),
    ("/sts", (200, "<html><title>sign in to the wireless network</title></html>"), Unavailable, "no answer of a token endpoint"),
    ("/sts", (403, "<html><title>Blocked by policy</title></html>"), Denied, "Blocked by policy"),
    ("/sts", (503, "busy"), Unavailable, "busy"), ("/sts", (200, {}), Unavailable, "no answer of a token endpoint"),
    ("/subject", (404, ""), Denied, "404|nothing|token from"),
])
def test_endpoints_that_refuse(google: Google, path: str, answer: Answer, kind: type[CpiError], words: str) -> None:
    google.answers[path] = answer
    with pytest.raises(kind, match=words) as caught:
        token(federated(google, {"url": f"{google.url}/subject"}))
    assert "subject-of-url" not in str(caught.value)
    assert len([asked for asked, _, _ in google.asked if asked == path]) == 1, "whoever calls tries again, with its own patience"


def test_an_account_that_may_not_be_impersonated(google: Google) -> None:
    path = "/v1/projects/-/serviceAccounts/sa@p:generateAccessToken"
    google.answers[path] = 403, {"error": {
        "code": 403, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource"}}
    with pytest.raises(Denied, match="PERMISSION_DENIED: Permission") as caught:
        token({"type": "impersonated_service_account", "source_credentials": person(google),
               "service_account_impersonation_url": google.url + path})
    assert "serviceAccountTokenCreator" in caught.value.suggestion


def test_a_person_whose_login_has_ended(google: Google) -> None:
    google.answers["/oauth"] = 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked. r3fresh-r3fresh"}
    with pytest.raises(Denied, match="expired or revoked") as caught:
        token(person(google))
    assert "gcloud auth application-default login" in caught.value.suggestion
    assert "r3fresh" not in str(caught.value)


def test_an_endpoint_that_hangs(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpis.gcp.endpoint._TIMEOUT_SECONDS", 0.5)
    google.answers["/sts"] = lambda: (google.hang.wait(60), (200, {}))[1]
    started = time.monotonic()
    with pytest.raises(Unavailable):
        token(federated(google, {"url": f"{google.url}/subject"}))
    assert time.monotonic() - started < 10


def test_a_metadata_server_that_hangs(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpis.gcp.credentials._METADATA_TIMEOUT_SECONDS", 0.5)
    google.answers["/computeMetadata/v1/instance/service-accounts/default/token"] = lambda: (google.hang.wait(60), (200, {}))[1]
    started = time.monotonic()
    with pytest.raises(Denied, match="metadata server"):
        tokens_of({}, environ={"GCE_METADATA_HOST": urlsplit(google.url).netloc}).access_token  # noqa: B018
    assert time.monotonic() - started < 10


def test_a_subject_file_that_is_not_there(google: Google) -> None:
    with pytest.raises(Denied, match="/nowhere/jwt"):
        token(federated(google, {"file": "/nowhere/jwt"}))


def test_the_ca_of_the_configuration_is_used(tmp_path: Path) -> None:
    pem = self_signed(tmp_path)
    with playing(pem) as google:
        assert token(person(google), ca_file=str(pem)) == "ya29.person"
        with pytest.raises(Denied, match="certificate"):
            token(person(google))


def test_the_subject_of_a_machine_is_asked_by_no_proxy(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Azure, for one: its metadata service gives the token that Google takes."""
    used: list[tuple[str, bool]] = []

    class Watched(requests.Session):
        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
            used.append((url, self.trust_env))
            return super().request(method, url.replace("http://169.254.169.254", google.url), *args, **kwargs)

    assert token(federated(google, {"url": "http://169.254.169.254/subject"}), session=Watched) == "ya29.federated"
    assert used == [("http://169.254.169.254/subject", False), (f"{google.url}/sts", True)]


def test_nothing_secret_is_written(google: Google, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token(person(google))
    assert not [secret for secret in ("s3cret", "r3fresh", "ya29") if secret in caplog.text]


def test_the_library_is_loaded_when_it_is_needed(there: GcpStandIn) -> None:
    code = (
        "import sys\nfrom cpis.gcp import GcpCpi\n"
        f"cpi = GcpCpi({there.config!r}, environ={{}})\ncpi.info()\nprint('google.auth' in sys.modules)\n"
        "cpi.has_vm('vm-1')\nprint('google.auth' in sys.modules)\ncpi.close()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_check_says_who_one_is(bench: Bench) -> None:
    told = [check.name for check in bench.cpi.checks(Uses()) if check.kind == "authenticate"]
    assert told == [f"{bench.there.config['json_key']['client_email']} in project {bench.there.config['project']}"]
