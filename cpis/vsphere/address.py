"""Where a vCenter is, whom to trust there, and which version of its API is spoken."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.parse
import xml.etree.ElementTree
from pathlib import Path

from pyVmomi.VmomiSupport import versionMap

from cpis.contract import Invalid, Unavailable


class Address:
    """`host` may be a name, `name:port` or a URL. Plain HTTP is for simulators on this computer only. Raises Invalid."""

    def __init__(self, host: str, port: int = 0) -> None:
        parts = urllib.parse.urlsplit(host if "://" in host else f"https://{host}")
        try:
            own = parts.port
        except ValueError as error:
            raise Invalid(f"host: '{host}' has a port that is none") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise Invalid(f"host: '{host}' is neither a name nor an address", suggestion="host: vcenter.example.com")
        if parts.scheme == "http" and not _loopback(parts.hostname):
            raise Invalid(f"host: '{host}' would send the password in the clear", suggestion=f"host: https://{parts.netloc}")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = own or port or (443 if self.secure else 80)

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{name}:{self.port}"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trust(ca_cert: str) -> ssl.SSLContext:
    """A TLS context that trusts `ca_cert` (a PEM text or the path of one), or the system's CAs when it is empty. Raises Invalid."""
    if not ca_cert:
        return ssl.create_default_context()
    try:
        pem = ca_cert if "-----BEGIN" in ca_cert else Path(ca_cert).read_text()
        return ssl.create_default_context(cadata=pem)
    except (OSError, ValueError) as error:
        raise Invalid(
            f"connection_options.ca_cert holds no certificate: {error}",
            suggestion="It is the PEM text of a CA, or the path of a file with it.") from error


def newest_version(document: bytes) -> str:
    """pyVmomi's name of the newest API version that `vimServiceVersions.xml` and pyVmomi both know. Raises Unavailable."""
    try:
        root = xml.etree.ElementTree.fromstring(document)
    except xml.etree.ElementTree.ParseError as error:
        raise Unavailable(
            f"vimServiceVersions.xml: this is no vCenter ({error})", suggestion="Is `host` of the CPI config right?") from error
    spaces = [namespace for namespace in root.iter("namespace") if namespace.findtext("name") == "urn:vim25"]
    if not spaces:
        raise Unavailable("vimServiceVersions.xml: this is no vCenter", suggestion="Is `host` of the CPI config right?")
    for item in spaces[0].iter("version"):  # its own first, then the prior ones from new to old
        known = versionMap.get(f"vim25/{(item.text or '').strip()}")
        if known:
            return str(known)
    raise Unavailable("vCenter offers no API version that pyVmomi knows", suggestion="vSphere 6.5 and newer are supported.")
