"""Where credentials come from, and that they are never shown."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from cpis.aws.credentials import Credentials, Source, of_config
from cpis.contract import CpiError, Denied, Invalid, NotSupported, Unavailable

STATIC = {"region": "eu-central-1", "access_key_id": "AKIA1", "secret_access_key": "topsecret"}


def assume(base: Source, role: str) -> Credentials:
    """A role whose keys tell who asked for it."""
    return Credentials(f"{role} by {base.get().key}", "s", "t", 2e9)


class Metadata:
    """The metadata service of an instance, version 2."""

    def __init__(self, role: str = "director", expires: str = "2033-05-18T03:33:20Z", status: int = 200, body: str = "") -> None:
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self._role, self._expires, self._status, self._body = role, expires, status, body

    def __call__(self, method: str, url: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> requests.Response:
        self.asked.append((method, url, headers))
        answer = requests.Response()
        answer.status_code = self._status
        text = "TOKEN"
        if url.endswith("/security-credentials/"):
            text = self._role
        elif url.endswith(f"/{self._role}"):
            text = self._body or json.dumps({
                "AccessKeyId": "ASIA1", "SecretAccessKey": "inst", "Token": "tok", "Expiration": self._expires, "Code": "Success"})
        answer._content = text.encode()
        return answer


def nobody(method: str, url: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> requests.Response:
    raise requests.ConnectTimeout("no route to host")


def source(config: Mapping[str, Any], home: Path, environment: Mapping[str, str] | None = None, get: Any = nobody) -> Source:
    return of_config(config, assume, environment={"HOME": str(home), **(environment or {})}, get=get, clock=lambda: 1.9e9)


def write(home: Path, credentials: str = "", config: str = "") -> None:
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(credentials)
    (home / ".aws/config").write_text(config)


def test_keys_of_the_configuration(tmp_path: Path) -> None:
    assert source({**STATIC, "session_token": "t"}, tmp_path).get() == Credentials("AKIA1", "topsecret", "t")


def test_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "[default]\naws_access_key_id = file\naws_secret_access_key = f\n")
    environment = {"AWS_ACCESS_KEY_ID": "env", "AWS_SECRET_ACCESS_KEY": "e", "AWS_SESSION_TOKEN": "t"}
    assert source({}, tmp_path, environment).get() == Credentials("env", "e", "t")


@pytest.mark.parametrize(
    ("config", "environment", "key"),
    [({}, {}, "one"), ({}, {"AWS_PROFILE": "other"}, "two"), ({"profile": "other"}, {"AWS_PROFILE": "x"}, "two"),
     ({"profile": "rolled"}, {}, "arn:role by one"), ({"profile": "in-config"}, {}, "four"), ({"role_arn": "arn:r"}, {}, "arn:r by one")],
)
def test_profiles(tmp_path: Path, config: dict[str, str], environment: dict[str, str], key: str) -> None:
    write(
        tmp_path,
        "[default]\naws_access_key_id = one\naws_secret_access_key = 1\n[other]\naws_access_key_id=two\naws_secret_access_key=2%x\n",
        "[profile rolled]\nrole_arn = arn:role\nsource_profile = default\n"
        "[profile in-config]\naws_access_key_id=four\naws_secret_access_key=4\n",
    )
    assert source(config, tmp_path, environment).get().key == key


def test_files_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("[default]\naws_access_key_id = mine\naws_secret_access_key = 1\n")
    assert source({}, tmp_path, {"AWS_SHARED_CREDENTIALS_FILE": str(file)}).get().key == "mine"


def test_the_identity_of_the_instance(tmp_path: Path) -> None:
    metadata = Metadata()
    assert source({}, tmp_path, get=metadata).get() == Credentials("ASIA1", "inst", "tok", 2e9)
    assert [method for method, _, _ in metadata.asked] == ["PUT", "GET", "GET"]
    assert metadata.asked[0][1] == "http://169.254.169.254/latest/api/token"
    assert all(headers == {"X-aws-ec2-metadata-token": "TOKEN"} for _, _, headers in metadata.asked[1:])


@pytest.mark.parametrize(
    ("get", "error"),
    [(nobody, Denied), (Metadata(status=404), Denied), (Metadata(status=500), Unavailable), (Metadata(body="{}"), Unavailable)])
def test_instances_without_one(tmp_path: Path, get: Any, error: type[CpiError]) -> None:
    with pytest.raises(error) as caught:
        source({}, tmp_path, get=get).get()
    assert caught.value.suggestion or error is Unavailable


@pytest.mark.parametrize(
    ("credentials", "config", "error", "word"),
    [("", {"profile": "nobody"}, Invalid, "nobody"), ("[default]\nregion = x\n", {}, Invalid, "default"),
     ("[default]\nsso_session = s\n", {}, NotSupported, "sso_session"),
     ("[default]\ncredential_process = /bin/x\n", {}, NotSupported, "process"),
     ("[a]\nrole_arn = r\nsource_profile = b\n[b]\nrole_arn = r\nsource_profile = a\n", {"profile": "a"}, Invalid, "source_profile"),
     ("no section\naws_secret_access_key = hush\n", {}, Invalid, "cannot be read")],
)
def test_profiles_that_are_none(tmp_path: Path, credentials: str, config: dict[str, str], error: type[CpiError], word: str) -> None:
    write(tmp_path, credentials)
    with pytest.raises(error, match=word) as caught:
        source(config, tmp_path).get()
    assert "hush" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("missing", ["access_key_id", "secret_access_key"])
def test_half_a_key_is_refused(tmp_path: Path, missing: str) -> None:
    with pytest.raises(Invalid, match=missing):
        source({key: value for key, value in STATIC.items() if key != missing}, tmp_path)


def test_they_are_fetched_anew_before_they_end() -> None:
    now = [0.0]
    made: list[Credentials] = []

    def fetch() -> Credentials:
        made.append(Credentials(f"k{len(made)}", "s", "t", now[0] + 3600))
        return made[-1]

    source = Source(fetch, clock=lambda: now[0])
    assert source.get() is source.get()
    now[0] = 3200
    assert source.get().key == "k0"
    now[0] = 3400
    assert source.get().key == "k1"
    assert source.renew(made[1])
    assert source.get().key == "k2"
    assert source.renew(made[0]), "another thread has renewed them already"
    assert source.get().key == "k2"


def test_keys_that_were_given_are_not_renewed(tmp_path: Path) -> None:
    found = source(STATIC, tmp_path)
    assert not found.renew(found.get())


def test_they_do_not_show() -> None:
    shown = repr(Credentials("AKIA1", "topsecret", "token", datetime.datetime.now().timestamp()))
    assert "topsecret" not in shown
    assert "'token'" not in shown
