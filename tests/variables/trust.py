"""Whether a client that trusts some certificates accepts the one a server shows, as a TLS library would decide."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

NOW = 1_700_000_000.0  # when the tests of this folder happen


def accepts(trusted: str, shown: str, name: str, now: float) -> bool:
    """`trusted` and `shown` are PEM; the server shows its first certificate and the others beside it. `now` are Unix seconds."""
    leaf, *others = x509.load_pem_x509_certificates(shown.encode())
    anchors = Store(x509.load_pem_x509_certificates(trusted.encode()))
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    verifier = PolicyBuilder().store(anchors).time(moment).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(leaf, others)
    except VerificationError:
        return False
    return True


def fits(value: dict[str, str]) -> bool:
    """Whether key and certificate of a variable belong together."""
    from cryptography.hazmat.primitives import serialization

    public = x509.load_pem_x509_certificate(value["certificate"].encode()).public_key()
    key = serialization.load_pem_private_key(value["private_key"].encode(), password=None, unsafe_skip_rsa_key_validation=True)
    return public == key.public_key()  # type: ignore[attr-defined,unused-ignore]
