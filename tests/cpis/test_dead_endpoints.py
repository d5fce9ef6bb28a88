"""`caisson cloud check` against a cloud that is not there, that never answers, or that anyone could be: it ends at once, or in its time."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cpis import registry
from cpis.conformance.certificate import self_signed
from cpis.contract import Check, Cpi, Login, Network, NotSupported, VmRequest
from director.execute.cloud_checks import checks
from director.manifest.load import load_yaml

CLOUD = load_yaml("""
azs: [{name: z1, cloud_properties: {x: 1}}]
networks: [{name: default, type: dynamic, subnets: [{az: z1, cloud_properties: {x: 1}}]}]
vm_types: [{name: small, cloud_properties: {x: 1}}]
disk_types: [{name: big, disk_size: 1024, cloud_properties: {x: 1}}]
""", "cloud.yml")
REST = {"what the account may do, and how much is left", "az z1", "vm_type small", "disk_type big", "stemcell stemcell-1"}


@functools.cache
def key() -> str:
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def config(cloud: str, url: str) -> dict[str, Any]:
    """Of a CPI whose cloud is at `url`."""
    given: dict[str, Callable[[], dict[str, Any]]] = {
        "aws": lambda: {
            "access_key_id": "A", "secret_access_key": "s", "region": "us-east-1", "ec2_endpoint": url, "sts_endpoint": url},
        "azure": lambda: {
            "environment": {
                "resourceManagerEndpointUrl": url, "activeDirectoryEndpointUrl": url, "activeDirectoryResourceId": f"{url}/"},
            "subscription_id": "s", "tenant_id": "t", "client_id": "c", "client_secret": "x", "resource_group_name": "g"},
        "gcp": lambda: {"project": "p-12345", "endpoint": url, "json_key": {
            "type": "service_account", "project_id": "p-12345", "private_key_id": "1", "private_key": key(),
            "client_email": "x@p-12345.iam.gserviceaccount.com", "token_uri": f"{url}/token"}},
        "openstack": lambda: {"auth_url": f"{url}/v3", "username": "u", "api_key": "p", "project": "p", "domain": "Default"},
        "vsphere": lambda: {
            "host": url, "user": "u", "password": "p",
            "datacenters": [{"name": "d", "clusters": ["c"], "vm_folder": "v", "template_folder": "t", "disk_path": "k",
                             "datastore_pattern": ".*", "persistent_datastore_pattern": ".*"}]},
    }
    return {"director": "test", **given[cloud]()}


@contextlib.contextmanager
def asked(cloud: str, url: str) -> Iterator[Cpi]:
    cpi = registry.load(cloud, config(cloud, url))
    try:
        yield cpi
    finally:
        threading.Thread(target=cpi.close, daemon=True).start()  # one that waits for an answer still holds its locks


def rows(cloud: str, url: str, seconds: float) -> list[Check]:
    with asked(cloud, url) as cpi:
        return list(checks(cpi, "", {"": cloud}, [CLOUD], ["stemcell-1"], seconds=seconds))


def only_failure(found: list[Check]) -> Check:
    """The one failed check; all after it are not asked, with the reason, and all before it are well."""
    relevant = [check for check in found if "cloud.yml" not in check.name]  # what schemas say needs no cloud
    place = next(number for number, check in enumerate(relevant) if check.ok is False)
    assert all(check.ok for check in relevant[:place])
    rest = relevant[place + 1:]
    assert {check.name for check in rest} >= REST
    assert all(check.ok is None and not check.asked and check.detail.startswith("not asked: ") for check in rest)
    return relevant[place]


def refused() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def unresolved() -> Iterator[str]:
    yield "https://nowhere.invalid"


def silent() -> Iterator[str]:
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def swallowing() -> Iterator[str]:
    """Its queue is full, so that the kernel answers no more connections."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def unverified(folder: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(folder))
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = server.accept()
                    with plain, contextlib.suppress(OSError):
                        context.wrap_socket(plain, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://localhost:{server.getsockname()[1]}"


CLOUDS = ("aws", "azure", "gcp", "openstack", "vsphere")


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(("way", "words"), [
    (refused, ("cannot be reached", "refuses the connection")), (unresolved, ("does not resolve",))])
def test_a_cloud_that_is_not_there_is_told_at_once(cloud: str, way: Callable[[], Iterator[str]], words: tuple[str, ...]) -> None:
    for url in way():
        failed = only_failure(rows(cloud, url, 120.0))
        assert (failed.kind, failed.suggestion != "") == ("reach", True), failed
        assert any(word in failed.detail for word in words), "an answer, and not the end of the time"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_certificate_that_does_not_verify_is_told_at_once(cloud: str, tmp_path: Path) -> None:
    for url in unverified(tmp_path):
        failed = only_failure(rows(cloud, url, 120.0))
        assert failed.kind == "reach", failed
        assert "certificate" in failed.detail
        assert "ca_cert" in failed.suggestion


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("way", [silent, swallowing])
def test_a_cloud_that_never_answers_costs_the_time_and_no_more(cloud: str, way: Callable[[], Iterator[str]]) -> None:
    for url in way():
        failed = only_failure(rows(cloud, url, 1.0))
        assert failed.kind == "reach"
        assert "no answer within 1 s, to: " in failed.detail
        assert "--timeout" in failed.suggestion


@pytest.mark.parametrize("cloud", ["azure", "gcp", "openstack", "vsphere"])
def test_networks_that_share_an_interface_are_refused_before_anything_is_asked(cloud: str) -> None:
    """Nobody answers there: an error of the network would be another one."""
    networks = (Network("four", ip="10.0.0.9", nic_group=1), Network("six", ip="2001:db8::9", nic_group=1))
    login = Login("caisson", "ssh-ed25519 AAAA", "ssh-ed25519 BBBB", "secret")
    for url in refused():
        with asked(cloud, url) as cpi, pytest.raises(NotSupported, match="'four' and 'six' are to share one") as caught:
            cpi.create_vm(VmRequest("vm-00000000-0000-4000-8000-000000000001", "agent", "stemcell-1", {}, networks, login))
    assert "Leave nic_group out" in caught.value.suggestion
