"""Digest texts as release manifests hold them: bare SHA-1 hex, `sha256:HEX`, `sha512:HEX`, or several joined by `;`.

Source: release contract, section 7.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from director import diagnostics, errors

MISMATCH = 30015

_LENGTHS = {"sha1": 40, "sha256": 64, "sha512": 128}
_STRENGTH = ("sha512", "sha256", "sha1")


def parse(text: str) -> dict[str, str]:
    """Algorithm -> lower-case hex for what is understood of the text; unknown algorithms are left out."""
    found: dict[str, str] = {}
    for part in str(text).split(";"):
        algorithm, _, value = part.strip().rpartition(":")
        algorithm = algorithm.lower() or "sha1"
        value = value.lower()
        if len(value) == _LENGTHS.get(algorithm) and re.fullmatch(r"[0-9a-f]+", value):
            found[algorithm] = value
    return found


def verify(path: Path, expected: str, what: str) -> None:
    """Check a file against the strongest known digest. `what` names it in the error. Raises ReleaseError 30015."""
    known = parse(expected)
    algorithm = next((name for name in _STRENGTH if name in known), None)
    if algorithm is None:
        raise errors.ReleaseError(
            diagnostics.Diagnostic(
                f"{what} has no digest that can be verified, got '{expected}'", code=MISMATCH,
                suggestion="A digest is 40 hex digits (SHA-1), or hex with 'sha256:' or 'sha512:' before it.",
            )
        )
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, algorithm).hexdigest()
    if actual != known[algorithm]:
        raise errors.ReleaseError(
            diagnostics.Diagnostic(
                f"{what} has the wrong digest: expected {algorithm}:{known[algorithm]}, got {algorithm}:{actual}", code=MISMATCH,
                suggestion="The archive is damaged or not the one that was meant. Get it again from where it comes from.",
            )
        )
