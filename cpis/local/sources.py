"""Where packages of the machine image come from: the host's own apt sources of Debian, with its proxy and certificates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
_KEPT = re.compile(r"Acquire::(https?|ftp|Check-Valid-Until|Check-Date|Max-FutureTime|Retries|ForceIPv[46]|Languages)(::|$|\s)", re.I)
_HOST_ONLY = re.compile(r"Proxy-Auto-Detect|ProxyAutoDetect", re.I)
_CERTIFICATE = re.compile(r'::CAInfo "([^"]+)"', re.I)


def debian_sources(suite: str, etc_apt: Path = Path("/etc/apt")) -> str:
    """One-line apt sources for a suite: those of the host that are Debian's own, else Debian's mirrors."""
    lines: list[str] = []
    files = [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]
    for file in files:
        if not file.is_file():
            continue
        if file.suffix == ".list":
            lines += _classic(file.read_text(), suite)
        elif file.suffix == ".sources":
            lines += _deb822(file.read_text(), suite)
    lines = list(dict.fromkeys(lines))
    if not any(f" {suite} " in line for line in lines):
        lines = [
            f"deb {DEFAULT_MIRROR} {suite} main", f"deb {DEFAULT_MIRROR} {suite}-updates main",
            f"deb {DEFAULT_SECURITY} {suite}-security main",
        ]
    return "\n".join(lines) + "\n"


def _wanted(suite: str) -> frozenset[str]:
    return frozenset({suite, f"{suite}-updates", f"{suite}-security"})


def _is_debian(uri: str, signed_by: str) -> bool:
    """Whether this is the distribution's own archive (or a mirror of it), and no third party's."""
    if signed_by and "debian-archive" not in signed_by:
        return False
    return "debian" in uri.lower() and not re.search(r"docker\.com|microsoft\.com|nodesource|postgresql\.org", uri)


def _entry(uri: str, suite: str, components: Iterable[str], options: str) -> str:
    kept = " ".join(word for word in components if word in ("main", "contrib", "non-free", "non-free-firmware"))
    return f"deb {options}{uri} {suite} {kept}"


def _classic(text: str, suite: str) -> list[str]:
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if not match:
            continue
        options, uri, name, components = match.groups()
        settings = dict(word.split("=", 1) for word in (options or "").split() if "=" in word)
        if name in _wanted(suite) and "main" in components.split() and _is_debian(uri, settings.get("signed-by", "")):
            trusted = "[trusted=yes] " if settings.get("trusted") == "yes" else ""
            found.append(_entry(uri, name, components.split(), trusted))
    return found


def _deb822(text: str, suite: str) -> list[str]:
    found = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        components = fields.get("components", "").split()
        if "main" not in components:
            continue
        trusted = "[trusted=yes] " if fields.get("trusted", "").lower() == "yes" else ""
        found += [
            _entry(uri, name, components, trusted)
            for uri in fields.get("uris", "").split() for name in fields.get("suites", "").split()
            if name in _wanted(suite) and _is_debian(uri, fields.get("signed-by", ""))
        ]
    return found


def _fields(paragraph: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and last:
            fields[last] += " " + line.strip()
        elif ":" in line:
            last, _, value = line.partition(":")
            last = last.strip().lower()
            fields[last] = value.strip()
    return fields


def kept_settings(dump: str) -> str:
    """Of `apt-config dump`, how packages are fetched here: proxies, certificates, retries, date checks."""
    lines = [line for line in dump.splitlines() if _KEPT.match(line) and not line.rstrip().endswith('"";') and not _HOST_ONLY.search(line)]
    return "".join(f"{line}\n" for line in lines)


def certificates(settings: str) -> list[str]:
    """Paths of certificate files that the settings name."""
    return list(dict.fromkeys(_CERTIFICATE.findall(settings)))
