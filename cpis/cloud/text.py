"""Texts for people: without secrets, one line long."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable

HIDDEN = "<redacted>"
_LONGEST = 400
_SHORTEST_SECRET = 4


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with each secret hidden, as it is and in base64. Secrets of fewer than four characters would hide ordinary words."""
    for secret in sorted({item for item in secrets if len(item) >= _SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
        text = text.replace(base64.b64encode(secret.encode()).decode(), HIDDEN)
    return text


def first_line(text: str) -> str:
    """The first line that says something; of an HTML page its title, or its text."""
    if re.search(r"<html|<!doctype html", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = title.group(1) if title else re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", text)
        text = html.unescape(text)
    line = next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
