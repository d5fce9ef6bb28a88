"""The session with a vCenter: login, its end, TLS, and what goes wrong on the way. Source: CPI contract, sections 10.3 and 10.4."""

from __future__ import annotations

import http.server
import ipaddress
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cpis.conformance.clouds.vsphere import VsphereStandIn
from cpis.contract import Denied, NotFound, Unavailable
from cpis.vsphere import VsphereCpi
from cpis.vsphere.inventory import read

pytestmark = pytest.mark.walk


def end_sessions(vcenter: VsphereStandIn) -> None:
    """As an administrator, end all sessions but the own."""
    other = VsphereCpi(vcenter.config)
    other.session.log_in()
    manager = other.session.content.sessionManager
    facts = read(other.session, manager, "sessionList", "currentSession")
    keys = [session.key for session in facts["sessionList"] if session.key != facts["currentSession"].key]
    manager.TerminateSession(keys)
    other.close()


def test_a_session_that_ended_is_begun_anew_silently(vcenter: VsphereStandIn, cpi: VsphereCpi) -> None:
    """Rows 24 and 37."""
    assert not cpi.has_vm("vm-none")
    end_sessions(vcenter)
    before = cpi.session.counts["Login"]
    assert not cpi.has_vm("vm-none")
    assert cpi.session.counts["Login"] == before + 1


def test_a_session_that_ended_is_begun_anew_once_for_all_threads(vcenter: VsphereStandIn, cpi: VsphereCpi) -> None:
    assert not cpi.has_vm("vm-none")
    end_sessions(vcenter)
    before = cpi.session.counts["Login"]
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(cpi.has_vm, [f"vm-{number}" for number in range(32)]))
    assert cpi.session.counts["Login"] == before + 1


def test_properties_are_not_taken_for_absent_when_the_session_ended(vcenter: VsphereStandIn, cpi: VsphereCpi) -> None:
    """A collection is answered then, with nothing in it: free space would be none, and a machine off."""
    folder = cpi._inventory.now().vm_folder
    end_sessions(vcenter)
    assert read(cpi.session, folder, "name") == {"name": "vm"}


def test_files_by_http_survive_the_end_of_a_session(vcenter: VsphereStandIn, cpi: VsphereCpi) -> None:
    cpi.session.put_file("DC0", "LocalDS_0", "note.txt", b"one")
    end_sessions(vcenter)
    assert cpi.session.get_file("DC0", "LocalDS_0", "note.txt") == b"one"
    with pytest.raises(NotFound):
        cpi.session.get_file("DC0", "LocalDS_0", "no such file")


def test_one_session_for_all_threads_and_none_after_closing(vcenter: VsphereStandIn) -> None:
    cpi = VsphereCpi(vcenter.config)
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(cpi.has_vm, [f"vm-{number}" for number in range(8)]))
    assert cpi.session.counts["Login"] == 1
    vcenter.forget_requests()
    cpi.close()
    assert ("POST", "Logout") in vcenter.requests()
    assert not cpi.has_vm("vm-none"), "a closed CPI logs in again when it is used again"
    cpi.close()


def test_reading_an_attribute_is_refused(cpi: VsphereCpi) -> None:
    """It would be a request of its own: properties are collected."""
    folder = cpi.session.content.rootFolder
    with pytest.raises(AssertionError, match="property collector"):
        _ = folder.name


def test_a_wrong_password_is_told_in_the_clouds_words_and_not_shown(vcenter: VsphereStandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = VsphereCpi({**vcenter.config, "password": "hush-hush-hush", "http_logging": True})
    with closing(wrong), pytest.raises(Denied) as caught:
        wrong.has_vm("vm-1")
    assert caught.value.code == "InvalidLogin"
    assert "Login failure" in str(caught.value)
    assert "hush-hush" not in f"{caught.value!r} {caught.value.suggestion} {caplog.text}"
    assert "vCenter: Login" in caplog.text
    assert wrong.session.counts["Login"] == 1, "a wrong password is not tried again"


def test_nobody_there() -> None:
    cpi = VsphereCpi({**_config("https://127.0.0.1:1"), "connection_options": {"timeout": 1}}, clock=_Time(), sleep=lambda seconds: None)
    with closing(cpi), pytest.raises(Unavailable, match="refuses the connection"):
        cpi.has_vm("vm-1")


def test_a_name_that_does_not_resolve() -> None:
    cpi = VsphereCpi(_config("vcenter.invalid"), clock=_Time(), sleep=lambda seconds: None)
    with closing(cpi), pytest.raises(Unavailable, match="does not resolve"):
        cpi.has_vm("vm-1")


# TLS. On 127.0.0.1 pyVmomi by itself verifies nothing (reference, section 8, row 10): ours does everywhere.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(tmp_path_factory.mktemp("tls"))
    ca, ca_key = _certificate("our CA")
    own, own_key = _certificate("localhost", ca, ca_key)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(own_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder


@pytest.fixture(scope="module")
def secure(certificates: Path, vcenter: VsphereStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VsphereStandIn]:
    flags = ["-cert", str(certificates / "cert.pem"), "-key", str(certificates / "key.pem")]
    with VsphereStandIn(Path(tmp_path_factory.mktemp("secure")), flags=flags, ca_cert=(certificates / "ca.pem").read_text()) as stand_in:
        yield stand_in


def test_the_ca_of_the_config_is_trusted_for_soap_and_for_files(secure: VsphereStandIn, certificates: Path) -> None:
    for ca_cert in (secure.config["connection_options"]["ca_cert"], str(certificates / "ca.pem")):
        cpi = VsphereCpi({**secure.config, "connection_options": {"ca_cert": ca_cert}})
        assert not cpi.has_vm("vm-none")
        cpi.session.put_file("DC0", "LocalDS_0", "note.txt", b"one")
        assert cpi.session.get_file("DC0", "LocalDS_0", "note.txt") == b"one"
        cpi.close()


def test_a_stemcell_is_uploaded_over_tls(secure: VsphereStandIn) -> None:
    cpi = VsphereCpi(secure.config)
    cid = cpi.create_stemcell(secure.site().image_path, {}, "stemcell-tls")
    cpi.delete_stemcell(cid)
    cpi.close()


def test_an_unknown_ca_is_refused_and_nothing_is_sent(secure: VsphereStandIn) -> None:
    secure.forget_requests()
    cpi = VsphereCpi({**secure.config, "connection_options": {}})
    with closing(cpi), pytest.raises(Denied) as caught:
        cpi.has_vm("vm-1")
    assert caught.value.code == "tls"
    assert "ca_cert" in caught.value.suggestion
    assert not secure.requests()


def test_a_certificate_for_another_name_is_refused(secure: VsphereStandIn) -> None:
    port = secure.endpoint.rpartition(":")[2]
    cpi = VsphereCpi({**secure.config, "host": f"https://127.0.0.2:{port}"}, clock=_Time(), sleep=lambda seconds: None)
    with closing(cpi), pytest.raises((Denied, Unavailable)) as caught:
        cpi.has_vm("vm-1")
    assert isinstance(caught.value, Denied) or caught.value.code == "not-sent", "the simulator listens on 127.0.0.1 only"


# What is no vCenter


@pytest.mark.parametrize(("status", "kind", "body", "said"), [
    (200, "text/html", b"<html><title>Log in first</title></html>", "this is no vCenter"),
    (200, "text/html", b"<html><title>unclosed", "this is no vCenter"),
    (404, "text/plain", b"nothing here", "nothing here"),
    (503, "text/html", b"<html><body><h1>503 Service Unavailable</h1></body></html>", "503 Service Unavailable"),
    (200, "text/xml", b"<namespaces><namespace><name>urn:vim25</name><version>0.1</version></namespace></namespaces>", "no API version"),
])
def test_something_else_answers(status: int, kind: str, body: bytes, said: str) -> None:
    """Row 36."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        cpi = VsphereCpi(_config(f"http://127.0.0.1:{server.server_address[1]}"), clock=_Time(), sleep=lambda seconds: None)
        with closing(cpi), pytest.raises((Unavailable, NotFound)) as caught:
            cpi.has_vm("vm-1")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert said in str(caught.value)


class _Time:
    """A clock that each look moves on."""

    def __init__(self) -> None:
        self._now = time.time()

    def __call__(self) -> float:
        self._now += 1
        return self._now


def _config(host: str) -> dict[str, object]:
    datacenter = {"name": "dc", "vm_folder": "v", "template_folder": "t", "disk_path": "d", "clusters": ["c"]}
    return {"host": host, "user": "u", "password": "p", "datacenters": [datacenter]}


def _certificate(
    name: str, issuer: x509.Certificate | None = None, issuer_key: ec.EllipticCurvePrivateKey | None = None,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=2)))
    if issuer is None:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key
