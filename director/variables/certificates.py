"""Certificates and certificate authorities: `{ca, certificate, private_key}`, PEM.

`ca` holds the signer's certificate, followed by those of its own signers: whoever trusts that text can build the whole chain.
Source: manifest contract, sections 10 and 20.3.
"""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from director.variables import keys
from director.variables.options import Options

DEFAULT_DAYS = 365
# A machine whose clock is a little behind must not refuse a certificate that was just made.
BACKDATED = datetime.timedelta(minutes=5)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_SUBJECT = {
    "country": NameOID.COUNTRY_NAME, "state": NameOID.STATE_OR_PROVINCE_NAME, "locality": NameOID.LOCALITY_NAME,
    "organization": NameOID.ORGANIZATION_NAME, "organization_unit": NameOID.ORGANIZATIONAL_UNIT_NAME, "common_name": NameOID.COMMON_NAME,
}
_EXTENDED = {
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING, "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
}
_USAGES = {
    "digital_signature": "digital_signature", "non_repudiation": "content_commitment", "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment", "key_agreement": "key_agreement", "key_cert_sign": "key_cert_sign", "crl_sign": "crl_sign",
    "encipher_only": "encipher_only", "decipher_only": "decipher_only",
}
OPTIONS = (
    *_SUBJECT, "alternative_names", "is_ca", "ca", "self_sign", "extended_key_usage", "key_usage", "duration", "key_length",
)


@dataclasses.dataclass(frozen=True)
class Signer:
    """A certificate authority. `chain` is what goes into the `ca` of what it signs."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey = dataclasses.field(repr=False)
    chain: str = dataclasses.field(repr=False)

    @classmethod
    def of(cls, value: Mapping[str, str]) -> Signer:
        """Of a stored certificate. Raises ValueError when it is no CA with an RSA key."""
        certificate = x509.load_pem_x509_certificate(value["certificate"].encode())
        pem = value["private_key"].encode()  # one that we made: to check it again would take longer than to sign
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
        try:
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca or not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("it is no certificate authority")
        above = "" if certificate.issuer == certificate.subject else value["ca"]
        return cls(certificate, key, _joined(value["certificate"], above))

    def alone(self) -> Signer:
        """The same, whose chain is its own certificate only."""
        return dataclasses.replace(self, chain=self.certificate.public_bytes(serialization.Encoding.PEM).decode())


@dataclasses.dataclass(frozen=True)
class Request:
    """A certificate to make; what `read` understood of the options."""

    subject: x509.Name
    is_ca: bool
    names: tuple[x509.GeneralName, ...]
    usages: tuple[str, ...]
    extended: tuple[str, ...]
    days: int
    key_length: int


def read(
    options: Options, *, key_length: int, default_extended: tuple[str, ...] = (), organization: str = "", country: str = "",
    plain_authorities: bool = False,
) -> Request:
    """Understand the options. With `plain_authorities` those of a CA that only leaves need are ignored. Raises ManifestError (540005) with
    all that is wrong."""
    is_ca = options.flag("is_ca")
    defaults = {"organization": organization, "country": country}
    subject = [
        attribute for key, oid in _SUBJECT.items() if (text := options.text(key, defaults.get(key, "")))
        and (attribute := _attribute(options, key, oid, text)) is not None]
    length = options.number("key_length", key_length)
    options.choice("key_length", length, keys.KEY_LENGTHS, f"Invalid key_length: {length}.  Must be one of: [2048 3072 4096]")
    extended = options.texts("extended_key_usage") or (() if is_ca else default_extended)
    usages = options.texts("key_usage") or (() if is_ca else ("digital_signature", "key_encipherment"))
    for item in extended:
        options.choice("extended_key_usage", item, _EXTENDED, f"Unsupported extended key usage value: {item}")
    for item in usages:
        options.choice("key_usage", item, _USAGES, f"Unsupported key usage value: {item}")
    names = [name for text in options.texts("alternative_names") if (name := _general_name(options, text)) is not None]
    if is_ca and plain_authorities:
        names, extended = [], ()
    request = Request(
        subject=x509.Name(subject), is_ca=is_ca, names=tuple(names), extended=extended,
        usages=(*(("key_cert_sign", "crl_sign") if is_ca else ()), *usages), days=options.number("duration", DEFAULT_DAYS, most=36500),
        key_length=length)
    options.finish()
    return request


def make(request: Request, key: rsa.RSAPrivateKey, signer: Signer | None, now: Callable[[], float]) -> dict[str, str]:
    """Sign the request: by `signer`, or by its own key. `now` gives Unix seconds."""
    begin = datetime.datetime.fromtimestamp(now(), datetime.UTC).replace(microsecond=0)
    public = key.public_key()
    issuer = signer.certificate.subject if signer else request.subject
    builder = (
        x509.CertificateBuilder().subject_name(request.subject).issuer_name(issuer).public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - BACKDATED).not_valid_after(begin + datetime.timedelta(days=request.days))
        .add_extension(x509.BasicConstraints(ca=request.is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority(signer, public), critical=False)
        .add_extension(_key_usage(request.usages), critical=True)
    )
    if request.names:
        # RFC 5280, 4.2.1.6: critical when it is all that names the subject.
        builder = builder.add_extension(x509.SubjectAlternativeName(request.names), critical=not request.subject.rdns)
    if request.extended:
        wanted = [_EXTENDED.get(item) or x509.ObjectIdentifier(item) for item in request.extended]
        builder = builder.add_extension(x509.ExtendedKeyUsage(wanted), critical=False)
    certificate = builder.sign(signer.key if signer else key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return {"ca": signer.chain if signer else pem, "certificate": pem, "private_key": keys.private_pem(key)}


def request_of(pem: str) -> Request:
    """What a certificate was made with, to make another like it. Raises ValueError for one whose key is not RSA."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise ValueError("its key is no RSA key")
    constraints, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    names, extended = _extension(certificate, x509.SubjectAlternativeName), _extension(certificate, x509.ExtendedKeyUsage)
    known = {oid: name for name, oid in _EXTENDED.items()}
    return Request(
        subject=certificate.subject, is_ca=constraints is not None and constraints.ca, names=tuple(names or ()),
        usages=tuple(name for name, flag in _USAGES.items() if usage is not None and _has(usage, flag)),
        extended=tuple(known.get(oid, oid.dotted_string) for oid in extended or ()),
        days=max(1, (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days), key_length=public.key_size)


def is_issued_by(pem: str, signer: str) -> bool:
    """Whether the first certificate of `pem` bears the signature of the first of `signer`."""
    try:
        x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(x509.load_pem_x509_certificate(signer.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_self_signed(pem: str) -> bool:
    """Whether it is its own signer."""
    return is_issued_by(pem, pem)


def split(pem: str) -> list[str]:
    """Each certificate of a text, ended by a newline."""
    return [f"{found}\n" for found in _PEM.findall(pem)]


def bundle(*pems: str) -> str:
    """All certificates of the texts in their order, each once."""
    return "".join(dict.fromkeys(one for pem in pems for one in split(pem)))


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate, in hex."""
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()


def expiry(value: Mapping[str, str]) -> float:
    """When a certificate ends, Unix seconds."""
    return x509.load_pem_x509_certificate(value["certificate"].encode()).not_valid_after_utc.timestamp()


_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _has(usage: x509.KeyUsage, flag: str) -> bool:
    """The last two flags can be asked for only beside key agreement."""
    if flag in ("encipher_only", "decipher_only") and not usage.key_agreement:
        return False
    return bool(getattr(usage, flag))


def _authority(signer: Signer | None, public: rsa.RSAPublicKey) -> x509.AuthorityKeyIdentifier:
    if signer is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    try:
        known = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _key_usage(usages: tuple[str, ...]) -> x509.KeyUsage:
    chosen = {_USAGES[item] for item in usages}
    flags = {name: name in chosen for name in _USAGES.values()}
    if not flags["key_agreement"]:  # the two mean something only beside it, and X.509 libraries refuse them without
        flags["encipher_only"] = flags["decipher_only"] = False
    return x509.KeyUsage(**flags)


def _attribute(options: Options, key: str, oid: x509.ObjectIdentifier, text: str) -> x509.NameAttribute[str] | None:
    try:
        return x509.NameAttribute(oid, text)
    except ValueError as error:
        options.wrong(f"'{key}' cannot be part of a certificate's subject: {error}", "A common_name has at most 64 characters.")
        return None


def _general_name(options: Options, text: str) -> x509.GeneralName | None:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass  # no address: a name
    try:
        if "://" in text:
            return x509.UniformResourceIdentifier(text)
        return x509.RFC822Name(text) if "@" in text else x509.DNSName(text)
    except ValueError as error:
        options.wrong(f"Alternative name '{text}' cannot be used: {error}")
        return None


def _joined(*pems: str) -> str:
    return "".join(pem if pem.endswith("\n") else f"{pem}\n" for pem in pems if pem)
