"""Names, labels and network tags in the forms that Compute Engine takes. Source: CPI contract, section 8.1."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from cpis.cloud.tags import SHAPE, TOKEN, Rules, clean

DIRECTOR = "director"
KEYS = "caisson-keys"
DISK = "caisson-disk"
POOL = "caisson-pool"
GB = "caisson-gb"

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SPACE = uuid.UUID("8a4c9a2e-5b0d-4f0e-9f3b-1d6f2c7f9f10")
_LABELS = Rules(
    max_count=52, max_key=61, max_value=61, bad_key=r"[^-a-z0-9]+", bad_value=r"[^-_a-z0-9]+", lower=True, first_of_key=r"[a-z]")
_MARK_DIGITS = 5
_MARKS_PER_LABEL = 12
_MOST_TAGS = 64
_MOST_LABELS = 64


def name_of(kind: str, token: str) -> str:
    """The name that a token stands for: itself where that is a name, else one made of it, always the same."""
    return token if _NAME.fullmatch(token) else f"{kind}-{uuid.uuid5(_SPACE, token)}"


def request_id() -> str:
    """For one change, however often it is sent. Never made of a token: Google would answer the second creation under that name, an hour
    later and after its deletion, with the first one's operation.
    """
    return str(uuid.uuid4())


def digest(shape: Any) -> str:
    """Sixteen digits that tell requests apart."""
    return hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()[:16]


def last(link: object) -> str:
    """The name at the end of a link."""
    return str(link or "").rsplit("/", 1)[-1]


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0]


def labels_of(
    director: str, token: str, metadata: Mapping[str, object], own: Mapping[str, object] | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The labels of a new resource: its metadata as far as labels can hold it, `own` ones that stay when the metadata is replaced, and our
    marks, which win.
    """
    return _joined({**marks(director, token), **(extra or {})}, cleaned(metadata), cleaned(own or {}))


def marks(director: str, token: str) -> dict[str, str]:
    return {DIRECTOR: _LABELS.value(director), TOKEN: _LABELS.value(token)}


def cleaned(metadata: Mapping[str, object]) -> dict[str, str]:
    """Metadata as labels: `/`, `:`, `_` in keys and what else is not allowed become `-`, values are cut, what is empty goes."""
    said = {key: value for key, value in metadata.items() if re.search(r"[A-Za-z0-9]", str(key))}
    found = ((key.strip("-"), value.strip("-")) for key, value in clean(said, _LABELS).items())
    return {key: value for key, value in found if key and value and key != DIRECTOR and not key.startswith("caisson-")}


def key_marks(labels: Iterable[str]) -> dict[str, str]:
    """Labels that remember which keys are ours, so that what others have set survives when ours are replaced."""
    digits = [_mark(key) for key in sorted(labels)]
    chunks = [digits[start:start + _MARKS_PER_LABEL] for start in range(0, len(digits), _MARKS_PER_LABEL)]
    return {f"{KEYS}{f'-{number}' if number else ''}": "".join(chunk) for number, chunk in enumerate(chunks)}


def _mark(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:_MARK_DIGITS]


def replaced(current: Mapping[str, str], metadata: Mapping[str, object]) -> dict[str, str]:
    """The labels of a resource that gets this metadata: what was ours before goes, our marks and what others have set stays."""
    text = "".join(value for key, value in current.items() if key.startswith(KEYS))
    before = {text[start:start + _MARK_DIGITS] for start in range(0, len(text), _MARK_DIGITS)}
    stay = {key: value for key, value in current.items() if _is_mark(key) and not key.startswith(KEYS)}
    others = {key: value for key, value in current.items() if not _is_mark(key) and _mark(key) not in before}
    return _joined(stay, cleaned(metadata), others)


def _joined(stay: Mapping[str, str], ours: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """All of it, the first ones winning, and of the last as many as there is room for."""
    result = {**ours, **key_marks(ours), **stay}
    for key, value in others.items():
        if len(result) >= _MOST_LABELS:
            break
        result.setdefault(key, value)
    return result


def _is_mark(key: str) -> bool:
    return key == DIRECTOR or key.startswith("caisson-")


def metadata_of(labels: Mapping[str, str]) -> dict[str, str]:
    """What of a resource's labels is metadata."""
    return {key: value for key, value in labels.items() if not key.startswith("caisson-")}


def is_ours(labels: Mapping[str, str], director: str, token: str, shape: str | None = None) -> bool:
    """Whether this director made it for this token (and, with a shape, for the same request)."""
    marked = all(labels.get(key) == value for key, value in marks(director, token).items())
    return marked and (shape is None or labels.get(SHAPE, shape) == shape)


def network_tags(*groups: Iterable[object]) -> list[str]:
    """Network tags in one list, each once; what cannot be one is cleaned, what is nothing then is left out."""
    result: dict[str, None] = {}
    for group in groups:
        for item in group:
            text = re.sub(r"[^-a-z0-9]+", "-", str(item).lower()).strip("-")
            text = (text if text[:1].isalpha() else f"n{text}" if text else "")[:63].rstrip("-")
            if text:
                result[text] = None
    return list(result)[:_MOST_TAGS]
