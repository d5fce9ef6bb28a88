"""The shape of each type's values, and what is wrong with definitions."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import shutil
import string
import subprocess
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder
from cryptography.x509.verification import Store as TrustStore
from hypothesis import given, settings, strategies

from director import errors
from director.variables import certificates, generate, keys
from director.variables.passwords import SPECIAL
from director.variables.sha512crypt import sha512_crypt

NOW = 1_700_000_000.0
SAME = keys.SameKeys()


def make(type: str, options: dict[str, Any] | None = None, *, cas: dict[str, dict[str, str]] | None = None,
         manner: generate.Manner = generate.DIRECTOR) -> Any:
    sources = generate.Sources(SAME, lambda name: certificates.Signer.of((cas or {})[name]), lambda: NOW, manner)
    return generate.generate("/c/d/x", type, options or {}, sources)


def wrong(type: str, options: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(errors.ManifestError) as caught:
        make(type, options, **more)
    assert {item.code for item in caught.value.diagnostics} == {540005}
    prefix = f"Failed to generate variable '/c/d/x' with type '{type}': "
    return [item.summary.removeprefix(prefix) for item in caught.value.diagnostics]


CA = make("certificate", {"is_ca": True, "common_name": "root"})


def loaded(value: dict[str, str]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(value["certificate"].encode())


@given(strategies.integers(1, 200))
def test_password_length(length: int) -> None:
    password = make("password", {"length": length})
    assert len(password) == length
    assert set(password) <= set(string.ascii_letters + string.digits)


def test_passwords_differ() -> None:
    assert len({make("password") for _ in range(50)}) == 50
    assert len(make("password")) == 30
    assert re.fullmatch("[a-z0-9]{20}", make("password", manner=generate.COMMAND_LINE))


def test_password_characters() -> None:
    password = make("password", {"exclude_upper": True, "exclude_lower": True, "exclude_number": True, "include_special": True})
    assert set(password) <= set(SPECIAL)
    assert wrong("password", {"exclude_upper": True, "exclude_lower": True, "exclude_number": True}) == [
        "no characters are left to choose from"]


@pytest.mark.parametrize(("options", "message"), [
    ({"length": -1}, "'length' must be between 1 and 4096, but was -1"),
    ({"length": "30"}, "'length' must be an Integer, but was a String"),
    ({"length": True}, "'length' must be an Integer, but was a Boolean"),
    ({"lenght": 3}, "Unsupported parameter 'lenght'"),
])
def test_wrong_password_options(options: dict[str, Any], message: str) -> None:
    assert wrong("password", options) == [message]


def test_user() -> None:
    value = make("user", {"username": "admin", "length": 12})
    assert (value["username"], len(value["password"])) == ("admin", 12)
    assert value["password_hash"] == sha512_crypt(value["password"], value["password_hash"].split("$")[2])
    assert len(make("user")["username"]) == 20


@pytest.mark.parametrize(("password", "salt", "hashed"), [
    ("Hello world!", "saltstring", "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
])
def test_known_password_hash(password: str, salt: str, hashed: str) -> None:
    assert sha512_crypt(password, salt) == f"$6${salt}${hashed}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="compares with openssl")
@settings(max_examples=15, deadline=None)
@given(strategies.text(string.printable.strip(), min_size=1, max_size=130), strategies.text(string.ascii_letters, min_size=1, max_size=16))
def test_password_hash_is_that_of_others(password: str, salt: str) -> None:
    command = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    other = subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()
    assert sha512_crypt(password, salt) == other


def test_rsa_and_ssh() -> None:
    value = make("rsa")
    private = serialization.load_pem_private_key(value["private_key"].encode(), None)
    public = serialization.load_pem_public_key(value["public_key"].encode())
    assert private.public_key() == public
    assert value["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert value["public_key"].startswith("-----BEGIN PUBLIC KEY-----\n")
    value = make("ssh", {"ssh_comment": "me"})
    kind, body, comment = value["public_key"].split(" ")
    assert (kind, comment) == ("ssh-rsa", "me")
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(body)).digest()).decode()
    assert value["public_key_fingerprint"] == digest.rstrip("=")
    assert len(value["public_key_fingerprint"]) == 43
    assert wrong("rsa", {"key_length": 1024}) == ["Invalid key_length: 1024.  Must be one of: [2048 3072 4096]"]


def test_root() -> None:
    certificate = loaded(CA)
    assert CA["ca"] == CA["certificate"]
    assert certificate.issuer == certificate.subject
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    certificate.verify_directly_issued_by(certificate)


def test_leaf() -> None:
    options = {
        "ca": "root", "common_name": "web", "organization": "o", "alternative_names": ["web.bosh", "*.web.bosh", "10.0.0.5", "fe80::1"],
        "extended_key_usage": ["client_auth", "server_auth"], "duration": 10,
    }
    value = make("certificate", options, cas={"root": CA})
    certificate = loaded(value)
    assert value["ca"] == CA["certificate"]
    assert certificate.subject.rfc4514_string() == "CN=web,O=o"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web.bosh", "*.web.bosh"]
    assert [str(item) for item in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5", "fe80::1"]
    assert certificate.not_valid_after_utc.timestamp() == NOW + 10 * 86400 == certificates.expiry(value)
    assert certificate.not_valid_before_utc.timestamp() < NOW, "a clock that is behind accepts it too"
    certificate.verify_directly_issued_by(loaded(CA))
    builder = PolicyBuilder().store(TrustStore([loaded(CA)])).time(datetime.datetime.fromtimestamp(NOW, datetime.UTC))
    builder.build_server_verifier(x509.DNSName("a.web.bosh")).verify(certificate, [])


def test_chain_of_authorities() -> None:
    """Who trusts the leaf's `ca` can build the whole chain."""
    middle = make("certificate", {"is_ca": True, "common_name": "middle", "ca": "root"}, cas={"root": CA})
    leaf = make("certificate", {"ca": "middle", "alternative_names": ["web.bosh"], "extended_key_usage": ["server_auth"]},
                cas={"middle": middle})
    chain = x509.load_pem_x509_certificates(leaf["ca"].encode())
    assert [item.subject.rfc4514_string() for item in chain] == ["CN=middle", "CN=root"]
    builder = PolicyBuilder().store(TrustStore([chain[1]])).time(datetime.datetime.fromtimestamp(NOW, datetime.UTC))
    assert len(builder.build_server_verifier(x509.DNSName("web.bosh")).verify(loaded(leaf), [chain[0]])) == 3


def test_command_line_tells_the_signer_only() -> None:
    middle = make("certificate", {"is_ca": True, "common_name": "middle", "ca": "root"}, cas={"root": CA})
    leaf = make("certificate", {"ca": "middle", "common_name": "x"}, cas={"middle": middle}, manner=generate.COMMAND_LINE)
    assert leaf["ca"] == middle["certificate"]


def test_self_signed_leaf() -> None:
    value = make("certificate", {"self_sign": True, "common_name": "x"})
    assert value["ca"] == value["certificate"]
    assert not loaded(value).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_all_that_is_wrong_is_told() -> None:
    options = {
        "key_usage": ["nonsense"], "extended_key_usage": ["sever_auth"], "key_length": 7, "alternative_names": ["b\u00e4d.bosh"],
        "common_name": "c" * 65, "is_ca": "yes", "duration": 0, "colour": "red",
    }
    problems = wrong("certificate", options)
    assert len(problems) == 9, problems
    assert "Missing required CA name" in problems
    assert "Unsupported extended key usage value: sever_auth" in problems
    assert "Invalid key_length: 7.  Must be one of: [2048 3072 4096]" in problems


def test_signer_is_missing_or_none() -> None:
    assert wrong("certificate", {"ca": "nope"}) == ["Expected to find variable 'nope' with a certificate"]
    leaf = make("certificate", {"self_sign": True, "common_name": "x"})
    assert wrong("certificate", {"ca": "leaf"}, cas={"leaf": leaf}) == ["'leaf' cannot sign: it is no certificate authority"]


def test_unknown_types() -> None:
    assert wrong("passwrd", {}) == ["Unsupported value type: passwrd"]
    assert wrong("user", {}, manner=generate.COMMAND_LINE) == ["Unsupported value type: user"]


def test_command_line_manner() -> None:
    """Manifest contract, section 22, row 35; defaults of section 20.3."""
    assert "Unsupported parameter 'key_usage'" in wrong(
        "certificate", {"is_ca": True, "key_usage": ["crl_sign"]}, manner=generate.COMMAND_LINE)
    value = make("certificate", {"ca": "root", "common_name": "x"}, cas={"root": CA}, manner=generate.COMMAND_LINE)
    certificate = loaded(value)
    assert certificate.subject.rfc4514_string() == "CN=x,O=Cloud Foundry,C=US"
    public = certificate.public_key()
    assert getattr(public, "key_size", None) == 3072
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]


@settings(max_examples=60, deadline=None)
@given(
    strategies.sampled_from(["password", "certificate", "rsa", "ssh", "user"]),
    strategies.dictionaries(
        strategies.sampled_from([*certificates.OPTIONS, "length", "username", "ssh_comment", "x"]),
        strategies.none() | strategies.booleans() | strategies.integers(-5, 3000) | strategies.text(max_size=5)
        | strategies.lists(strategies.text(max_size=5) | strategies.integers(), max_size=2), max_size=4))
def test_any_options_give_a_value_or_a_diagnostic(type: str, options: dict[str, Any]) -> None:
    try:
        make(type, options)
    except errors.ManifestError:
        return  # told; anything else is a defect
