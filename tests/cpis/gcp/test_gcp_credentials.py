"""Who we are for Google, and what happens when we are not: places of credentials in their order, wrong ones, tokens that end."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_bench import Bench

from cpis.conformance.clouds.gcp import GcpStandIn
from cpis.conformance.clouds.gcp.server import key_pair
from cpis.contract import CpiError, Denied, Invalid, Unavailable
from cpis.gcp import GcpCpi
from cpis.gcp.credentials import Token, Tokens, tokens_of


def _key(there: GcpStandIn, **changes: Any) -> dict[str, Any]:
    return {**there.config["json_key"], **changes}


def test_a_key_of_the_config_as_text_or_as_hash(there: GcpStandIn) -> None:
    for key in (_key(there), json.dumps(_key(there))):
        assert tokens_of({"json_key": key}, environ={}).access_token.startswith("ya29.")


def test_the_places_in_their_order(there: GcpStandIn, tmp_path: Path) -> None:
    files = {}
    for name in ("named", "usual"):
        (tmp_path / name).mkdir()
        files[name] = tmp_path / name / "application_default_credentials.json"
        files[name].write_text(json.dumps(_key(there, client_email=f"{name}@x")))
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(files["named"]), "CLOUDSDK_CONFIG": str(tmp_path / "usual"), "HOME": "/nowhere"}
    assert tokens_of({"json_key": _key(there)}, environ=environ).who == _key(there)["client_email"]
    assert tokens_of({}, environ=environ).who == "named@x"
    del environ["GOOGLE_APPLICATION_CREDENTIALS"]
    assert tokens_of({}, environ=environ).who == "usual@x"
    del environ["CLOUDSDK_CONFIG"]
    assert "metadata.google.internal" in tokens_of({}, environ=environ).who
    (tmp_path / ".config").mkdir()
    (tmp_path / "usual").rename(tmp_path / ".config" / "gcloud")
    assert tokens_of({}, environ={"HOME": str(tmp_path)}).who == "usual@x"


@pytest.mark.parametrize(("key", "words"), [
    ("no JSON", "no JSON object"), ("[1]", "no JSON object"), ("{", "no JSON object"),
    ({"type": "gdch_service_account"}, "type 'gdch_service_account'"),
])
def test_what_is_no_key(key: Any, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        tokens_of({"json_key": key}, environ={})
    assert words in caught.value.message
    assert "gcloud" in caught.value.suggestion


@pytest.mark.parametrize(("key", "words"), [
    ({"client_email": "a@b"}, "private_key"), ({"private_key": "x"}, "client_email"),
    ({"client_email": "a@b", "private_key": "no PEM, hush"}, "private_key"), ({"client_email": 5, "private_key": "x"}, "private_key"),
    ({"type": "authorized_user", "client_id": "i"}, "'refresh_token' is missing"),
    ({"type": "external_account"}, "'credential_source' is missing"),
    ({"type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "u", "credential_source": {}},
     "credential_source"),
    ({"type": "impersonated_service_account"}, "'service_account_impersonation_url' is missing"),
    ({"type": "impersonated_service_account", "service_account_impersonation_url": "u"}, "generateAccessToken"),
])
def test_what_is_no_whole_key(key: Any, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        tokens_of({"json_key": key}, environ={}).access_token  # noqa: B018
    assert "hush" not in caught.value.message
    assert words in caught.value.message
    assert "gcloud" in caught.value.suggestion


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(Denied, match=r"/nowhere/key\.json"):
        tokens_of({}, environ={"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"}).access_token  # noqa: B018


def test_info_answers_without_credentials() -> None:
    """38."""
    cpi = GcpCpi({"project": "p"}, environ={"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"})
    assert cpi.info().api_version == 2
    with pytest.raises(Denied, match="cannot be read"):
        cpi.has_vm("vm-1")
    cpi.close()


def test_an_account_that_is_not_known(there: GcpStandIn) -> None:
    with pytest.raises(Denied) as caught:
        tokens_of({"json_key": _key(there, client_email="gone@x.iam.gserviceaccount.com")}, environ={}).access_token  # noqa: B018
    assert "account not found" in caught.value.message
    assert caught.value.code == "invalid_grant"


def test_a_key_that_was_revoked(there: GcpStandIn) -> None:
    key = rsa.generate_private_key(65537, 1024)
    other = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    with pytest.raises(Denied, match="Invalid JWT Signature"):
        tokens_of({"json_key": _key(there, private_key=other)}, environ={}).access_token  # noqa: B018


def test_a_clock_that_is_wrong(there: GcpStandIn) -> None:
    there.cloud.skew_limit = -1.0  # no clock is near enough
    with pytest.raises(Denied) as caught:
        tokens_of({"json_key": _key(there)}, environ={}).access_token  # noqa: B018
    assert "clock" in caught.value.suggestion


def test_a_token_is_got_once_and_again_before_its_end() -> None:
    now, given = [0.0], []

    def source() -> Token:
        given.append(now[0])
        return Token(f"token-{len(given)}", 3600.0)

    tokens = Tokens(source, "me", lambda: now[0])
    assert [tokens.access_token, tokens.access_token] == ["token-1", "token-1"]
    now[0] = 3490.0
    assert tokens.access_token == "token-2"
    assert tokens.renew(Denied("no", code="forbidden")) is False
    assert tokens.access_token == "token-2"
    assert tokens.renew(Denied("no", code="401")) is True
    assert tokens.access_token == "token-3"


def test_an_answer_without_a_token() -> None:
    with pytest.raises(Denied, match="without a token"):
        Tokens(lambda: Token("", 5.0), "me").access_token  # noqa: B018


def test_many_threads_get_one_token(bench: Bench) -> None:
    threads = [threading.Thread(target=bench.cpi.has_vm, args=("vm-1",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.there.cloud.given == 1


def test_a_token_that_ends_in_the_middle_is_renewed_silently(bench: Bench) -> None:
    """Row 24."""
    assert not bench.cpi.has_vm("vm-1")
    bench.there.cloud.expire_tokens()
    assert not bench.cpi.has_vm("vm-1")
    assert bench.there.cloud.given == 2


def test_nothing_secret_is_written_or_said(bench: Bench, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Also not by Libcloud, which would keep the token in a file of the home folder."""
    caplog.set_level(logging.DEBUG)
    bench.vm()
    secrets = [key_pair()[1].splitlines()[1], "ya29.", "PRIVATE KEY"]
    assert not [secret for secret in secrets if secret in caplog.text]
    assert not list(Path.home().glob(".google_libcloud_auth*"))
    with pytest.raises(Invalid) as caught:
        GcpCpi({**bench.there.config, "json_key": 5})
    assert "5" not in caught.value.message


@contextlib.contextmanager
def _metadata_server(status: int, body: dict[str, Any]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers.get("Metadata-Flavor") == "Google"
            self.send_response(status if right else 403)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_identity_of_the_machine() -> None:
    with _metadata_server(200, {"access_token": "ya29.machine", "expires_in": 100}) as host:
        assert tokens_of({}, environ={"GCE_METADATA_HOST": host}).access_token == "ya29.machine"


def test_a_machine_without_identity() -> None:
    with _metadata_server(404, {}) as host, pytest.raises(Denied, match="no service account"):
        tokens_of({}, environ={"GCE_METADATA_HOST": host}).access_token  # noqa: B018


def test_no_credentials_anywhere() -> None:
    with pytest.raises(Denied) as caught:
        tokens_of({}, environ={"GCE_METADATA_HOST": "127.0.0.1:1", "HOME": "/nowhere"}).access_token  # noqa: B018
    assert "json_key" in caught.value.suggestion


def test_a_person_signs_in_by_a_refresh_token() -> None:
    """What `gcloud auth application-default login` writes; the endpoint is not there, and the error hides the secret."""
    key = {
        "type": "authorized_user", "client_id": "i", "client_secret": "s3cret-s3cret", "refresh_token": "r3fresh",
        "token_uri": "http://127.0.0.1:1/"}
    with pytest.raises(Unavailable) as caught:
        tokens_of({"json_key": key}, environ={}).access_token  # noqa: B018
    assert "s3cret" not in caught.value.message


def test_wrong_credentials_end_a_call_as_denied(bench: Bench) -> None:
    with pytest.raises(CpiError) as caught:
        bench.again(json_key=_key(bench.there, client_email="gone@x.iam.gserviceaccount.com")).has_vm("vm-1")
    assert isinstance(caught.value, Denied)
