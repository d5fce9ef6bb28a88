from __future__ import annotations

import ssl

import httpx
import pytest
from api_world import NOW, World

from director.api import credentials
from director.cli import client as cli_client
from director.errors import UsageError
from director.state import Store


def test_info_needs_no_credentials(world: World) -> None:
    response = world.anonymous.get("/info")
    assert response.status_code == 200
    assert response.json()["user"] is None
    assert response.json()["user_authentication"] == {"type": "basic", "options": {}}


def test_info_with_wrong_credentials_knows_nobody(world: World) -> None:
    response = world.anonymous.get("/info", auth=("admin", "wrong"))
    assert (response.status_code, response.json()["user"]) == (200, None)


def test_info_names_the_user(world: World) -> None:
    assert world.get("/info").json()["user"] == "admin"


@pytest.mark.parametrize("header", [None, "Basic", "Basic !!!", "Bearer abc", "Basic YWRtaW46d3Jvbmc="])
def test_protected_routes_refuse(world: World, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    response = world.anonymous.get("/tasks", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Basic realm="BOSH Director"'
    assert response.text == "Not authorized: '/tasks'\n"


def test_a_changed_password_ends_the_memory_of_the_old_one_after_a_minute(world: World) -> None:
    from director.api.app import TRUSTED_SECONDS, Authenticator
    from director.api.services import Services

    now = [NOW]
    services = Services(**{**world.services.__dict__, "clock": lambda: now[0]})
    authenticate = Authenticator(services)
    header = httpx.BasicAuth("admin", "secret")._auth_header
    assert authenticate(header) == "admin"
    world.store.users.set("admin", "other")
    now[0] += TRUSTED_SECONDS + 1
    assert authenticate(header) is None


def test_unknown_routes_and_wrong_media_are_the_same_404(world: World) -> None:
    assert world.get("/nope").text == "Endpoint '/nope' not found."
    response = world.post("/deployments", content=b"name: x", headers={"Content-Type": "application/json"})
    assert (response.status_code, response.text) == (404, "Endpoint '/deployments' not found.")
    assert world.post("/info").status_code == 404


def test_media_type_may_have_parameters(world: World) -> None:
    response = world.post("/deployments", content=b"name: x", headers={"Content-Type": "text/yaml; charset=utf-8"})
    assert response.status_code == 302


def test_long_context_ids_are_refused(world: World) -> None:
    response = world.post("/deployments", content=b"name: x", headers={"Content-Type": "text/yaml", "X-Bosh-Context-Id": "x" * 65})
    assert (response.status_code, response.json()["code"]) == (400, 70010)


def test_context_id_reaches_the_task(world: World) -> None:
    world.post("/deployments", content=b"name: x", headers={"Content-Type": "text/yaml", "X-Bosh-Context-Id": "abc"})
    assert world.last_task().context_id == "abc"


def test_certificate_expiry(world: World) -> None:
    (row,) = world.get("/director/certificate_expiry").json()
    assert row["days_left"] == credentials.DAYS
    assert row["expiry"].endswith("Z")


def test_tls_12_with_the_two_suites_of_the_bosh_command(world: World) -> None:
    endpoint = world.listening.endpoint()
    trust = ssl.create_default_context(cadata=endpoint.ca_cert)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    trust.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256")
    assert httpx.get(endpoint.url + "/info", verify=trust).status_code == 200


def test_an_unknown_ca_is_refused_with_the_next_step(world: World) -> None:
    endpoint = world.listening.endpoint()
    with cli_client.connect(cli_client.Endpoint(endpoint.host, endpoint.port)) as http, pytest.raises(cli_client.DirectorError) as caught:
        cli_client.Client(http).info()
    assert "not trusted" in str(caught.value)
    assert "--ca-cert" in str(caught.value)


def test_credentials_are_made_once_and_kept_private(tmp_path: object) -> None:
    import pathlib

    place = pathlib.Path(str(tmp_path))
    with Store(place / "db") as store:
        first = credentials.prepare(place, store, ["127.0.0.1"], NOW)
        again = credentials.prepare(place, store, ["127.0.0.1"], NOW)
        assert first == again == credentials.read(place)
        assert store.users.authenticate("admin", first.password) is not None
        before = first.certificate.read_bytes()
        credentials.prepare(place, store, ["127.0.0.1", "10.1.2.3"], NOW)
        assert first.certificate.read_bytes() != before
    for name in ("server.key", "admin-password"):
        assert (place / "api" / name).stat().st_mode & 0o077 == 0
    assert first.password not in repr(first)


def test_a_taken_port_is_told(world: World) -> None:
    from director.api.server import HttpsServer

    host, port = world.listening.server.address
    with pytest.raises(UsageError, match="is taken"):
        HttpsServer(world.listening.switch, world.listening.credentials, host, port)


def test_unexpected_errors_tell_nothing_of_the_inside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(world.store.locks, "all", fail)
    response = world.get("/locks")
    assert response.status_code == 500
    assert response.json()["code"] == 100
    assert "hunter2" not in response.text


def test_resources(world: World) -> None:
    blob = world.blobs.put(b"bytes")
    response = world.get(f"/resources/{blob.id}")
    assert (response.status_code, response.content, response.headers["content-type"]) == (200, b"bytes", "application/x-gzip")
    assert world.get("/resources/00000000-0000-0000-0000-000000000000").json()["code"] == 100002
    assert world.get("/resources/..%2f..%2fetc").status_code == 404
