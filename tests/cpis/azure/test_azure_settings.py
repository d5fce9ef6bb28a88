"""The CPI config of Azure, the ways to a token, names and tags."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from cpis.azure import AzureCpi, bodies, names
from cpis.azure.errors import LoginFailed
from cpis.azure.login import Tokens
from cpis.azure.settings import Settings
from cpis.cloud.schema import Schema
from cpis.contract import Denied, Invalid, Login

BASE = {"subscription_id": "s-1", "tenant_id": "t-1", "client_id": "c-1", "resource_group_name": "g"}


def settings(environ: Mapping[str, str] | None = None, **more: Any) -> Settings:
    return Settings.read({**BASE, **more}, environ or {})


@pytest.mark.parametrize(("more", "arm", "login"), [
    ({}, "https://management.azure.com", "https://login.microsoftonline.com"),
    ({"environment": "AzureChinaCloud"}, "https://management.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    ({"environment": "AzureUSGovernment"}, "https://management.usgovcloudapi.net", "https://login.microsoftonline.us"),
    ({"environment": "AzureStack", "azure_stack": {"domain": "local.azurestack.external"}},
     "https://management.local.azurestack.external", "https://login.microsoftonline.com"),
    ({"environment": "AzureStack", "azure_stack": {"domain": "d.example", "authentication": "ADFS", "endpoint_prefix": "adminmanagement"}},
     "https://adminmanagement.d.example", "https://adfs.d.example/adfs"),
    ({"environment": {"resourceManagerEndpointUrl": "http://127.0.0.1:8080/arm/", "activeDirectoryEndpointUrl": "http://127.0.0.1:8081",
                      "activeDirectoryResourceId": "r"}}, "http://127.0.0.1:8080/arm", "http://127.0.0.1:8081"),
])
def test_environment_gives_endpoints(more: dict[str, Any], arm: str, login: str) -> None:
    place = settings(**more).place
    assert (place.arm, place.login) == (arm, login)


@pytest.mark.parametrize(("more", "word"), [
    ({"environment": "AzureMoon"}, "AzureMoon"), ({"environment": "AzureStack"}, "azure_stack.domain"), ({"client_ids": "x"}, "client_id"),
    ({"pip_idle_timeout_in_minutes": 1}, "pip_idle_timeout_in_minutes"), ({"use_managed_disks": False}, "use_managed_disks"),
    ({"parallel_upload_thread_num": "many"}, "parallel_upload_thread_num"),
    ({"environment": {"resourceManagerEndpointUrl": "x"}}, "activeDirectory"),
    ({"environment": {"resourceManagerEndpointUrl": "host:1", "activeDirectoryEndpointUrl": "http://x",
                      "activeDirectoryResourceId": "r"}}, "no URL"),
])
def test_wrong_config_is_named(more: dict[str, Any], word: str) -> None:
    with pytest.raises(Invalid) as caught:
        AzureCpi({**BASE, **more})
    assert word in f"{caught.value} {caught.value.suggestion}"


def test_info_needs_nothing() -> None:
    """Row 38."""
    cpi = AzureCpi({}, environ={})
    assert cpi.info().stemcell_formats
    with pytest.raises(Invalid, match=r"needs .*_"):
        cpi.has_vm("vm-1")


def test_all_keys_of_the_reference_are_known() -> None:
    """CPI contract, section 7.1."""
    wanted = {
        "az": "availability_zone",
        "network": "virtual_network_name subnet_name resource_group_name security_group application_security_groups ip_forwarding "
                   "accelerated_networking",
        "vm_type": "instance_type instance_types root_disk caching ephemeral_disk load_balancer application_gateway security_group "
                   "application_security_groups ip_forwarding accelerated_networking assign_dynamic_public_ip availability_zone "
                   "availability_set platform_update_domain_count platform_fault_domain_count storage_account_name storage_account_type "
                   "storage_account_max_disk_number storage_account_location resource_group_name managed_identity tags "
                   "capacity_reservation_group capacity_reservation_group_id",
        "disk_type": "caching storage_account_type iops mbps disk_encryption_set_name",
        "cpi": "environment location subscription_id credentials_source tenant_id client_id client_secret certificate "
               "managed_identity_resource_id default_managed_identity resource_group_name storage_account_name ssh_user ssh_public_key "
               "default_security_group use_managed_disks pip_idle_timeout_in_minutes parallel_upload_thread_num keep_failed_vms "
               "enable_vm_boot_diagnostics use_default_account_for_cleaning compute_gallery_name compute_gallery_replicas azure_stack",
    }
    inner = {"root_disk": "size type placement disk_encryption_set_name",
             "ephemeral_disk": "use_root_disk size caching type iops mbps disk_encryption_set_name",
             "load_balancer": "name resource_group_name backend_pool_name", "managed_identity": "type user_assigned_identity_name"}
    schema = Schema.of("azure")
    for section, keys in wanted.items():
        assert set(keys.split()) <= {key.name for key in schema.sections[section]}, section
    for name, keys in inner.items():
        key = next(key for key in schema.sections["vm_type"] if key.name == name)
        assert set(keys.split()) <= {item.name for item in key.keys}, name
    assert all(key.description for keys in schema.sections.values() for key in keys)


@pytest.mark.parametrize(("path", "version"), [
    ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v", "2024-07-01"),
    ("/subscriptions/s/resourceGroups/g/providers/microsoft.compute/VIRTUALMACHINES/v/attachDetachDataDisks", "2024-07-01"),
    ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/g/images/i/versions/1.0.0", "2023-07-03"),
    ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/n", "2024-05-01"),
    ("/subscriptions/s/resources", "2021-04-01"),
    ("/subscriptions/s/resourceGroups/g", "2021-04-01"),
    ("/subscriptions/s", "2022-12-01"),
])
def test_each_path_has_its_version(path: str, version: str) -> None:
    assert settings().version(path) == version
    stack = settings(environment="AzureStack", azure_stack={"domain": "d"})
    assert stack.version(path) < version


# Tokens

class Server:
    """Answers as Entra does."""

    def __init__(self, status: int = 200, text: str = "") -> None:
        self.status = status
        self.text = text or json.dumps({"access_token": "a", "expires_on": "5000", "token_type": "Bearer"})
        self.seen: list[tuple[str, str, dict[str, str], Mapping[str, str]]] = []

    def __call__(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> tuple[int, str]:
        query = body if body is not None else urlsplit(url).query
        self.seen.append((method, url, {key: value[0] for key, value in parse_qs(query).items()}, headers))
        return self.status, self.text


def pem() -> tuple[str, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "caisson")])
    now = datetime.datetime(2026, 1, 1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7).not_valid_before(
        now).not_valid_after(now + datetime.timedelta(days=9)).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return made.public_bytes(serialization.Encoding.PEM).decode() + private, key


def test_secret_is_sent_to_the_tenants_own_address() -> None:
    server = Server()
    assert Tokens(settings(client_secret="shh!"), server, lambda: 0.0).get() == "a"
    method, url, form, _ = server.seen[0]
    assert (method, url) == ("POST", "https://login.microsoftonline.com/t-1/oauth2/token")
    assert form == {"grant_type": "client_credentials", "client_id": "c-1", "client_secret": "shh!",
                    "resource": "https://management.core.windows.net/"}


def test_token_is_shared_and_renewed_in_time() -> None:
    """Row 24."""
    server, now = Server(), [0.0]
    tokens = Tokens(settings(client_secret="shh!"), server, lambda: now[0])
    assert [tokens.get() for _ in range(3)] == ["a"] * 3
    assert len(server.seen) == 1
    now[0] = 4701.0  # less than five minutes before its end
    tokens.get()
    assert len(server.seen) == 2
    tokens.forget("another")
    tokens.forget("a")
    tokens.get()
    assert len(server.seen) == 3


def test_certificate_signs_an_assertion() -> None:
    text, key = pem()
    server = Server()
    Tokens(settings(certificate=text), server, lambda: 1000.0).get()
    form = server.seen[0][2]
    head, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in form["client_assertion"].split("."))
    key.public_key().verify(signature, form["client_assertion"].rpartition(".")[0].encode(), padding.PKCS1v15(), hashes.SHA256())
    thumbprint = x509.load_pem_x509_certificate(text.encode()).fingerprint(hashes.SHA1())
    x5t = json.loads(head)["x5t"]
    assert base64.urlsafe_b64decode(x5t + "=" * (-len(x5t) % 4)) == thumbprint
    content = json.loads(claims)
    assert content["aud"] == "https://login.microsoftonline.com/t-1/oauth2/token"
    assert content["iss"] == content["sub"] == "c-1"
    assert content["nbf"] <= 1000 < content["exp"] <= 1600
    assert "client_secret" not in form


@pytest.mark.parametrize(("more", "environ", "expected"), [
    ({}, {}, {"resource": "https://management.core.windows.net/", "client_id": "c-1"}),
    ({"managed_identity_resource_id": "/subscriptions/x"}, {}, {"msi_res_id": "/subscriptions/x"}),
    ({"credentials_source": "managed_identity", "client_secret": "unused"}, {}, {"client_id": "c-1"}),
])
def test_managed_identity_asks_the_machines_own_service(more: dict[str, Any], environ: dict[str, str], expected: dict[str, str]) -> None:
    server = Server()
    Tokens(settings(environ, **more), server, lambda: 0.0).get()
    method, url, query, headers = server.seen[0]
    assert method == "GET"
    assert url.startswith("http://169.254.169.254/metadata/identity/oauth2/token?")
    assert headers == {"Metadata": "true"}
    assert expected.items() <= query.items()


def test_environment_gives_credentials(tmp_path: Path) -> None:
    text, _ = pem()
    (tmp_path / "cert.pem").write_text(text)
    (tmp_path / "federated").write_text("a.b.c\n")
    rows: list[tuple[dict[str, str], str, str]] = [
        ({"AZURE_CLIENT_SECRET": "from-env"}, "client_secret", "from-env"),
        ({"AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "federated")}, "client_assertion", "a.b.c"),
        ({"AZURE_CLIENT_CERTIFICATE_PATH": str(tmp_path / "cert.pem")}, "client_assertion_type",
         "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ]
    for environ, key, value in rows:
        server = Server()
        names_of = {"AZURE_TENANT_ID": "env-tenant", "AZURE_CLIENT_ID": "env-client", "AZURE_SUBSCRIPTION_ID": "env-sub", **environ}
        given = Settings.read({"resource_group_name": "g"}, names_of)
        assert given.subscription == "env-sub"
        Tokens(given, server, lambda: 0.0).get()
        _, url, form, _ = server.seen[0]
        assert url == "https://login.microsoftonline.com/env-tenant/oauth2/token"
        assert form["client_id"] == "env-client"
        assert form[key] == value


@pytest.mark.parametrize(("more", "environ", "word"), [
    ({"credentials_source": "static"}, {}, "CPI config"), ({"credentials_source": "environment"}, {}, "environment"),
    ({"certificate": "nonsense"}, {}, "PEM"), ({"tenant_id": "", "client_secret": "x"}, {}, "tenant_id"),
    ({}, {"AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere/at/all"}, "cannot be read"),
])
def test_missing_or_wrong_credentials_are_denied(more: dict[str, Any], environ: dict[str, str], word: str) -> None:
    with pytest.raises(Denied) as caught:
        Tokens(settings(environ, **more), Server(), lambda: 0.0).get()
    assert word in f"{caught.value} {caught.value.suggestion}"


@pytest.mark.parametrize(("status", "text"), [(401, '{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid"}'),
                                              (200, "{}"), (200, "<html>portal</html>"), (502, "")])
def test_answer_without_a_token_is_a_failed_login(status: int, text: str) -> None:
    with pytest.raises(LoginFailed) as caught:
        Tokens(settings(client_secret="shh!"), Server(status, text or " "), lambda: 0.0).get()
    assert caught.value.status == status


@pytest.mark.parametrize(("more", "kind"), [({}, Denied), ({"credentials_source": "managed_identity"}, requests.ConnectionError)])
def test_no_credentials_at_all_is_no_faulty_cloud(more: dict[str, Any], kind: type[Exception]) -> None:
    """Somewhere else than on Azure nobody answers for the managed identity; when that was asked for, it is tried again."""
    def nobody(*_: Any) -> tuple[int, str]:
        raise requests.ConnectionError("no route to host")
    with pytest.raises(kind):
        Tokens(settings(**more), nobody, lambda: 0.0).get()


def test_secrets_are_in_no_repr() -> None:
    assert "shh-very" not in repr(settings(client_secret="shh-very"))


# Names and tags

def test_cids_say_where_things_are_and_have_no_case() -> None:
    made = settings()
    assert names.vm_cid("VM-1", "Group") == "agent_id:vm-1;resource_group_name:group"
    assert names.ref_of(made, "agent_id:vm-1;resource_group_name:other", "agent_id") == names.Ref("vm-1", "other")
    assert names.ref_of(made, "vm-1", "agent_id") == names.Ref("vm-1", "g")
    ref = names.ref_of(made, names.disk_cid("d", "g", "ReadOnly"), "disk_name")
    assert (ref.name, ref.caching) == ("d", "ReadOnly")


@pytest.mark.parametrize("cid", ["", "a/b", "agent_id:x?y;resource_group_name:g", "agent_id:../x;resource_group_name:g", "disk_name:x"])
def test_what_is_no_cid_never_becomes_a_path(cid: str) -> None:
    with pytest.raises(Invalid):
        names.ref_of(settings(), cid, "agent_id")


@pytest.mark.parametrize("token", ["", "UPPER", "with space", "x" * 61, "a/b"])
def test_token_that_is_no_name_is_refused(token: str) -> None:
    with pytest.raises(Invalid):
        names.checked(token)


def test_tags_keep_what_makes_a_thing_findable() -> None:
    """Rows 15 and 16; names of tags have no case, and some words are reserved."""
    metadata = {"Director": "theirs", "name": "web/0", "NAME": "other", "long": "x" * 300, "empty": "", "azure-x": "y", "a<b>/c": "z",
                **{f"k{number}": "v" for number in range(100)}}
    tags = names.tags_of(metadata, settings(director="mine"), "vm-1", "shape", lasting={"cost": "4711"})
    assert len(tags) == 50
    assert tags["director"] == "mine"
    assert tags["caisson-token"] == "vm-1"
    assert len({key.lower() for key in tags}) == len(tags)
    assert "name" in tags
    assert all(len(value) <= 256 for value in tags.values())
    assert not any(key.lower().startswith(("azure", "microsoft", "windows")) for key in tags)
    anew = names.tags_anew({"deployment": "two"}, tags)
    assert anew["deployment"] == "two"
    assert {key: anew[key] for key in ("director", "caisson-token", "caisson-shape")} == {
        "director": "mine", "caisson-token": "vm-1", "caisson-shape": "shape"}
    assert "k1" not in anew


def test_older_cloud_gets_no_news() -> None:
    """An Azure Stack Hub speaks an interface without deleteOption, and has plain disks and addresses only."""
    stack = settings(environment="AzureStack", azure_stack={"domain": "d"})
    properties = bodies.checked({"instance_type": "Standard_D2_v2", "ephemeral_disk": {"size": 1024}})
    login = Login("caisson", "ssh-rsa AAAA", "ssh-rsa AAAA", "secret")

    def body_for(place: Settings) -> dict[str, Any]:
        return bodies.machine(
            place, "vm-1", "Standard_D2_v2", properties, {"reference": {"id": "i"}}, ["n"], login, location="local", zone="", tags={},
            set_id="", own=bodies.data_disk(place, "vm-1", properties, ""))
    body = body_for(stack)
    assert "deleteOption" not in json.dumps(body)
    assert body["properties"]["storageProfile"]["osDisk"]["managedDisk"] == {"storageAccountType": "Standard_LRS"}
    assert json.dumps(body_for(settings())).count('"deleteOption": "Delete"') == 3


def test_token_of_a_clock_that_differs_is_used(tmp_path: Path) -> None:
    """The end of a token is by Azure's clock; how long it lives is the same on all clocks."""
    server = Server(text=json.dumps({"access_token": "a", "expires_on": "5000", "expires_in": "3599"}))
    tokens = Tokens(settings(client_secret="shh!"), server, lambda: 1_000_000.0)
    assert [tokens.get(), tokens.get()] == ["a", "a"]
    assert len(server.seen) == 1
