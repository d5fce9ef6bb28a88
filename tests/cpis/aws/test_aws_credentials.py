"""Where credentials come from, and that they are never shown: each way by a server or file in its real form."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_identity import Identity, later, playing

from cpis.aws import AwsCpi, chain
from cpis.aws.credentials import Credentials, Fetched, Searched, Source, of_config
from cpis.conformance.certificate import self_signed
from cpis.conformance.clouds.aws import AwsStandIn
from cpis.contract import CpiError, Denied, Invalid, Unavailable, Uses

STATIC = {"region": "eu-central-1", "access_key_id": "AKIA1", "secret_access_key": "topsecret"}

ROLE = (
    "[default]\naws_access_key_id = one\naws_secret_access_key = 1secret\n"
    "[r]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = default\n")


def assume(base: Source, role: str) -> Credentials:
    """A role whose keys tell who asked for it."""
    return Credentials(f"{role} by {base.get().key}", "s", "t", 2e9)


@pytest.fixture
def identity() -> Iterator[Identity]:
    with playing() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity) -> Path:
    """A home folder, and an environment of AWS that has nothing but the server."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{identity.url}/")
    for name in ("STS", "SSO", "SSO_OIDC"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", identity.url)
    folder = str(tmp_path / ".aws/sso/cache")
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", folder)
    monkeypatch.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", folder)
    return tmp_path


def source(config: Mapping[str, Any] | None = None, **more: Any) -> Source:
    return of_config({"region": "eu-central-1", **(config or {})}, assume, clock=lambda: 1.9e9, **more)


def write(home: Path, credentials: str = "", config: str = "") -> None:
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(credentials)
    (home / ".aws/config").write_text(config)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_keys_of_the_configuration() -> None:
    found = source({**STATIC, "session_token": "t"})
    assert found.get() == Credentials("AKIA1", "topsecret", "t")
    assert found.origin == "the CPI config"


def test_keys_of_the_configuration_need_no_library() -> None:
    code = (
        "import sys\nfrom cpis.aws import AwsCpi\nfrom cpis.aws.credentials import of_config\n"
        f"AwsCpi({STATIC!r}).close()\nof_config({STATIC!r}, None).get()\nfound = of_config({{'region': 'eu-central-1'}}, None)\n"
        "print('botocore' in sys.modules)\n"
        "import os; os.environ.update(AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b'); found.get()\nprint('botocore' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "[default]\naws_access_key_id = file\naws_secret_access_key = f\n")
    for name, value in {"ACCESS_KEY_ID": "env", "SECRET_ACCESS_KEY": "e", "SESSION_TOKEN": "t"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    found = source()
    assert found.get() == Credentials("env", "e", "t")
    assert found.origin == "the environment"


@pytest.mark.parametrize(
    ("config", "profile", "key"),
    [({}, "", "one"), ({}, "other", "two"), ({"profile": "other"}, "x", "two"), ({"profile": "rolled"}, "", "ASIASTS"),
     ({"profile": "in-config"}, "", "four"), ({"role_arn": "arn:r"}, "", "arn:r by one"), ({"profile": "by-instance"}, "", "ASIASTS")],
)
def test_profiles(home: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, str], profile: str, key: str) -> None:
    write(
        home,
        "[default]\naws_access_key_id = one\naws_secret_access_key = 1\n[other]\naws_access_key_id=two\naws_secret_access_key=2%x\n",
        "[profile rolled]\nrole_arn = arn:aws:iam::1:role/role\nsource_profile = default\n"
        "[profile by-instance]\nrole_arn = arn:aws:iam::1:role/role\ncredential_source = Ec2InstanceMetadata\n"
        "[profile in-config]\naws_access_key_id=four\naws_secret_access_key=4\n",
    )
    if profile:
        monkeypatch.setenv("AWS_PROFILE", profile)
    assert source(config).get().key == key


def test_files_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mine").write_text("[default]\naws_access_key_id = mine\naws_secret_access_key = 1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "mine"))
    assert source().get().key == "mine"


def test_the_roles_of_profiles_are_asked_at_the_endpoint_of_the_configuration(
    home: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity,
) -> None:
    write(home, ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    found = source({"profile": "r", "sts_endpoint": identity.url})
    assert found.get() == Credentials("ASIASTS", "sts-secret", "sts-token")
    assert "/eu-central-1/sts/" in identity.asked[-1][3]["authorization"]


def test_the_identity_of_the_instance(home: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """By version 2 of the service, and by no proxy: it would answer with an identity of its own."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    found = source()
    assert found.get() == Credentials("ASIAINSTANCE", "inst", "tok")
    assert [(method, path.rpartition("/")[2]) for method, path, _, _ in identity.asked] == [
        ("PUT", "token"), ("GET", ""), ("GET", "director")]
    assert found.origin == "the instance profile"


@pytest.mark.parametrize(("path", "answer"), [
    ("/latest/api/token", (404, "")), ("/latest/api/token", (500, "")), ("/latest/meta-data/iam/security-credentials/", (404, "")),
    ("/latest/meta-data/iam/security-credentials/director", (200, "{}")),
    ("/latest/meta-data/iam/security-credentials/director", (200, "<html>proxy</html>")),
])
def test_instances_without_one(home: Path, identity: Identity, path: str, answer: tuple[int, str]) -> None:
    identity.answers[path] = answer
    with pytest.raises(Denied, match="there are no credentials") as caught:
        source().get()
    assert "AWS_ACCESS_KEY_ID" in caught.value.suggestion
    assert not [asked for asked in identity.asked if asked[0] == "GET" and "x-aws-ec2-metadata-token" not in asked[3]], "version 1"


def test_a_metadata_service_that_hangs(home: Path, identity: Identity) -> None:
    identity.answers["/latest/api/token"] = lambda form: (identity.hang.wait(60), (200, "late"))[1]
    started = time.monotonic()
    with pytest.raises(Denied, match="there are no credentials"):
        source().get()
    assert time.monotonic() - started < 10


def test_web_identity(home: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on EKS, and in a pipeline of GitHub."""
    (home / "token").write_text("jwt.of.pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    found = source()
    assert found.get() == Credentials("ASIASTS", "sts-secret", "sts-token")
    form = identity.asked[0][2]
    assert (form["Action"], form["RoleArn"], form["WebIdentityToken"]) == (
        "AssumeRoleWithWebIdentity", "arn:aws:iam::1:role/pod", "jwt.of.pod")
    assert found.origin == "web identity"


@pytest.mark.parametrize(("answer", "kind", "word"), [
    ((400, "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token expired</Message></Error></ErrorResponse>"),
     Denied, "Token expired"),
    ((400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider</Message></Error></ErrorResponse>"),
     Denied, "No OpenIDConnect"),
    ((403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>"),
     Denied, "Not authorized"),
    ((200, "<html><body>jwt.of.pod</body>"), Unavailable, "another form"),
    ((200, "<AssumeRoleWithWebIdentityResponse/>"), Unavailable, "another form"),
    ((503, "<html>busy</html>"), Unavailable, "503"),
])
def test_web_identity_that_is_refused(
    home: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], kind: type[CpiError], word: str,
) -> None:
    (home / "token").write_text("jwt.of.pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    identity.answers["AssumeRoleWithWebIdentity"] = answer
    with pytest.raises(kind, match=word) as caught:
        source().get()
    assert "jwt" not in str(caught.value)
    assert len(identity.asked) <= 2


def test_a_token_file_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    with pytest.raises(Denied, match="/nowhere/token cannot be read"):
        source().get()


def test_the_container(home: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on ECS, and EKS with Pod Identity."""
    (home / "token").write_text("POD")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{identity.url}/container")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(home / "token"))
    assert source().get().key == "ASIAPOD"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/container")
    with pytest.raises(Invalid, match=r"Unsupported host 'example\.com'"):
        source().get()


SSO = (
    "[sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = eu-west-1\n"
    "[profile prod]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Director\n"
    "[profile old]\nsso_start_url = https://corp.example/start\nsso_region = eu-west-1\nsso_account_id = 1\nsso_role_name = Director\n")


def _logged_in(home: Path, name: str, seconds: float, **more: str) -> Path:
    """The file that `aws sso login` writes."""
    path = home / ".aws/sso/cache" / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({
        "startUrl": "https://corp.example/start", "region": "eu-west-1", "accessToken": "sso-access-token", "expiresAt": later(seconds),
        **more}))
    return path


@pytest.mark.parametrize(("profile", "name"), [("prod", "corp"), ("old", "https://corp.example/start")])
def test_sso(home: Path, identity: Identity, profile: str, name: str) -> None:
    write(home, config=SSO)
    _logged_in(home, name, 7200)
    found = source({"profile": profile})
    assert found.get() == Credentials("ASIASSO", "sso-secret", "sso-session")
    _, path, query, headers = identity.asked[0]
    assert (path, query["role_name"], headers["x-amz-sso_bearer_token"]) == ("/federation/credentials", "Director", "sso-access-token")
    assert found.origin == "AWS SSO"


def test_sso_goes_on_by_its_refresh_token(home: Path, identity: Identity) -> None:
    write(home, config=SSO)
    file = _logged_in(home, "corp", 30, refreshToken="again", clientId="i", clientSecret="s", registrationExpiresAt=later(9e5))
    identity.answers["/token"] = 200, json.dumps({"accessToken": "newer", "expiresIn": 7200, "refreshToken": "and-again"})
    assert source({"profile": "prod"}).get().key == "ASIASSO"
    assert identity.asked[-1][3]["x-amz-sso_bearer_token"] == "newer"
    assert json.loads(file.read_text())["refreshToken"] == "and-again", "kept for the command line, too"


@pytest.mark.parametrize("seconds", [None, -60, 7200])
def test_sso_that_has_ended(home: Path, identity: Identity, seconds: float | None) -> None:
    """No file, one that is too old, one that the portal takes no more."""
    write(home, config=SSO)
    if seconds is not None:
        _logged_in(home, "corp", seconds)
    refusal = {"message": "Session token not found or invalid", "__type": "com.amazonaws.switchboard.portal#UnauthorizedException"}
    identity.answers["/federation/credentials"] = 401, json.dumps(refusal)
    with pytest.raises(Denied, match="AWS SSO") as caught:
        source({"profile": "prod"}).get()
    assert "aws sso login --profile prod" in caught.value.suggestion
    assert "sso-access-token" not in str(caught.value)


def test_sso_behind_a_proxy_that_answers_itself(home: Path, identity: Identity) -> None:
    write(home, config=SSO)
    _logged_in(home, "corp", 7200)
    identity.answers["/federation/credentials"] = 200, "<html>sign in to the wireless network</html>"
    with pytest.raises(Unavailable, match="another form"):
        source({"profile": "prod"}).get()


def test_a_process(home: Path) -> None:
    counted = home / "counted"
    keys = json.dumps({
        "Version": 1, "AccessKeyId": "ASIAPROC", "SecretAccessKey": "p", "SessionToken": "t", "Expiration": later(3600)})
    tool = script(home / "tool", f"echo x >> {counted}; cat <<'E'\n{keys}\nE")
    write(home, config=f"[profile tool]\ncredential_process = {tool} --for 'me'\n")
    found = source({"profile": "tool"})
    assert [found.get(), found.get()] == [Credentials("ASIAPROC", "p", "t")] * 2
    assert counted.read_text().count("x") == 1
    assert found.origin == "credential_process"


def test_keys_are_renewed_before_they_end_once_for_all_threads(home: Path) -> None:
    counted, keys = home / "counted", home / "keys"
    tool = script(home / "tool", f"echo x >> {counted}; cat {keys}")
    write(home, config=f"[default]\ncredential_process = {tool}\n")

    def give(key: str, seconds: float) -> None:
        keys.write_text(json.dumps(
            {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "p", "SessionToken": "t", "Expiration": later(seconds)}))

    give("FIRST", 500)
    found = source()
    keys_of: list[str] = []
    assert isinstance(found, Searched)
    found._found = found._load()  # one that has little time left
    give("SECOND", 3600)
    threads = [threading.Thread(target=lambda: keys_of.append(found.get().key)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys_of == ["SECOND"] * 8
    assert counted.read_text().count("x") == 2


@pytest.mark.parametrize(("text", "kind", "word"), [
    ("echo hush >&2; exit 3", Denied, "exit code 3"), ("echo 'hush no json'", Unavailable, "another form"),
    ("echo '[]'", Unavailable, "another form"), ("echo '{\"Version\": 2}'", Unavailable, "Unsupported version"),
    ("echo '{\"Version\": 1, \"AccessKeyId\": \"a\"}'", Unavailable, "SecretAccessKey"), ("sleep 30", Denied, "did not answer"),
])
def test_a_process_that_fails(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str, kind: type[CpiError], word: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(chain, "_PROCESS_SECONDS", 1.0)
    write(home, config=f"[default]\ncredential_process = {script(home / 'tool', text)}\n")
    started = time.monotonic()
    with pytest.raises(kind, match=word) as caught:
        source().get()
    assert time.monotonic() - started < 10
    assert "hush" not in f"{caught.value} {caught.value.suggestion} {caplog.text}"


def test_a_process_that_is_not_there(home: Path) -> None:
    write(home, config="[default]\ncredential_process = /nowhere/tool\n")
    with pytest.raises(Denied, match="cannot be run: No such file"):
        source().get()


def test_a_second_factor_is_asked_of_nobody(home: Path) -> None:
    write(home, "[default]\naws_access_key_id=a\naws_secret_access_key=b\n"
                "[m]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile=default\nmfa_serial=arn:aws:iam::1:mfa/me\n")
    with pytest.raises(Denied, match="MFA"):
        source({"profile": "m"}).get()


@pytest.mark.parametrize(
    ("credentials", "config", "error", "word"),
    [("", {"profile": "nobody"}, Invalid, "nobody"), ("[default]\nregion = x\n", {}, Denied, "no credentials"),
     ("[default]\naws_access_key_id = hush\n", {}, Invalid, "aws_secret_access_key"),
     ("[default]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n", {}, Invalid, 'does not exist: "s"'),
     ("[default]\nlogin_session = arn:aws:iam::1:user/hush\n", {}, Denied, "default"),
     ("[a]\nrole_arn = r\nsource_profile = b\n[b]\nrole_arn = r\nsource_profile = a\n", {"profile": "a"}, Invalid, "source_profile|loop"),
     ("[a]\nrole_arn = r\nsource_profile = b\n", {"profile": "a"}, Invalid, '"b" referenced'),
     ("no section\naws_secret_access_key = hush\n", {}, Invalid, "cannot be read")],
)
def test_profiles_that_are_none(
    home: Path, identity: Identity, credentials: str, config: dict[str, str], error: type[CpiError], word: str,
) -> None:
    write(home, credentials)
    identity.answers["/latest/api/token"] = 404, ""
    with pytest.raises(error, match=word) as caught:
        source(config).get()
    assert "hush" not in f"{caught.value} {caught.value.suggestion} {caught.value.__cause__}"


def test_half_a_key_of_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    with pytest.raises(Invalid, match="AWS_SECRET_ACCESS_KEY"):
        source().get()


@pytest.mark.parametrize("missing", ["access_key_id", "secret_access_key"])
def test_half_a_key_is_refused(missing: str) -> None:
    with pytest.raises(Invalid, match=missing):
        source({key: value for key, value in STATIC.items() if key != missing})


def test_after_a_refusal_files_are_read_again(home: Path) -> None:
    write(home, "[default]\naws_access_key_id = one\naws_secret_access_key = 1\n")
    found = source()
    first = found.get()
    (home / ".aws/credentials").write_text("[default]\naws_access_key_id = two\naws_secret_access_key = 2\n")
    assert found.get().key == "one"
    assert found.renew(first)
    assert found.get().key == "two"
    assert found.renew(first), "another thread has renewed them already"
    assert found.get().key == "two"


def test_nothing_else_of_the_library_is_used(home: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity) -> None:
    """No plugin, no model of the home folder, no file of the first boto, no reports to a local port."""
    (home / "spy.py").write_text(f"def initialize_client_plugin(client):\n    open({str(home / 'spied')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.setenv("BOTOCORE_EXPERIMENTAL__PLUGINS", "spy=spy")
    monkeypatch.setenv("AWS_CSM_ENABLED", "true")
    models = home / "models/sts/2011-06-15"
    models.mkdir(parents=True)
    (models / "service-2.json").write_text("{}")
    monkeypatch.setenv("AWS_DATA_PATH", str(home / "models"))
    write(home, ROLE)
    assert source({"profile": "r"}).get().key == "ASIASTS"
    assert not (home / "spied").exists()
    (home / ".aws/credentials").write_text("")
    (home / ".boto").write_text("[Credentials]\naws_access_key_id = old\naws_secret_access_key = o\n")
    assert source().get().key == "ASIAINSTANCE"


def test_the_proxy_and_the_certificates_of_the_configuration_are_used(home: Path, identity: Identity) -> None:
    write(home, ROLE)
    config = {"profile": "r", "sts_endpoint": "http://sts.nowhere.example"}
    assert source({**config, "proxy_url": identity.url}).get().key == "ASIASTS"
    with pytest.raises(Unavailable):
        source({**config, "proxy_url": "http://127.0.0.1:1"}).get()
    pem = self_signed(home)
    with playing(pem) as secure:
        config = {"profile": "r", "sts_endpoint": secure.url}
        assert source(config, ca_file=str(pem)).get().key == "ASIASTS"
        with pytest.raises(Denied, match="certificate"):
            source(config).get()


def test_they_are_fetched_anew_before_they_end() -> None:
    now = [0.0]
    made: list[Credentials] = []

    def fetch() -> Credentials:
        made.append(Credentials(f"k{len(made)}", "s", "t", now[0] + 3600))
        return made[-1]

    source = Fetched(fetch, origin=lambda: "here", clock=lambda: now[0])
    assert source.get() is source.get()
    now[0] = 3200
    assert source.get().key == "k0"
    now[0] = 3400
    assert source.get().key == "k1"
    assert source.renew(made[1])
    assert source.get().key == "k2"
    assert source.renew(made[0]), "another thread has renewed them already"
    assert source.get().key == "k2"


def test_keys_that_were_given_are_not_renewed() -> None:
    found = source(STATIC)
    assert not found.renew(found.get())


def test_they_do_not_show(home: Path, identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = repr(Credentials("AKIA1", "topsecret", "token", datetime.datetime.now().timestamp()))
    assert "topsecret" not in shown
    assert "'token'" not in shown
    write(home, ROLE)
    found = source({"profile": "r"})
    found.get()
    assert set(found.secrets()) == {"sts-secret", "sts-token"}
    assert not [secret for secret in ("1secret", "sts-secret", "sts-token") if secret in caplog.text]


@pytest.mark.walk
def test_a_cpi_assumes_the_role_of_a_profile_and_renews_it(home: Path, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 24, with botocore's signature, which the stand-in checks as all others; `caisson cloud check` says who one is and how."""
    given = {key: aws.config[key] for key in ("access_key_id", "secret_access_key")}
    write(home, config=(
        f"[profile base]\naws_access_key_id = {given['access_key_id']}\naws_secret_access_key = {given['secret_access_key']}\n"
        "[profile role]\nsource_profile = base\nrole_arn = arn:aws:iam::123456789012:role/caisson\n"))
    aws.settings(page=1000, pending=0, invisible=0)
    cpi = AwsCpi({key: value for key, value in aws.config.items() if key not in given} | {"profile": "role"})

    def asked() -> list[str]:
        return [action for _, action in aws.requests()]

    aws.forget_requests()
    assert not cpi.has_vm("i-0123456789abcdef0")
    assert asked() == ["AssumeRole", "DescribeInstances"]
    aws.settings(expire=True)
    assert not cpi.has_vm("i-0123456789abcdef0")
    assert asked() == ["AssumeRole", "DescribeInstances", "DescribeInstances", "AssumeRole", "DescribeInstances"]
    who = next(check for check in cpi.checks(Uses()) if check.name == "credentials")
    assert "assumed-role/caisson" in who.detail
    assert who.detail.endswith("by a role of the profile")
    cpi.close()


def test_a_check_without_credentials_says_so_and_asks_nothing_else(home: Path, identity: Identity) -> None:
    write(home, config=SSO)
    cpi = AwsCpi({"region": "eu-central-1", "profile": "prod", "sts_endpoint": identity.url, "ec2_endpoint": identity.url})
    found = [check for check in cpi.checks(Uses()) if check.kind in ("reach", "authenticate")]
    assert [(check.name, check.ok) for check in found] == [("credentials", False)]
    assert "aws sso login --profile prod" in found[0].suggestion
    assert not identity.asked
    cpi.close()
