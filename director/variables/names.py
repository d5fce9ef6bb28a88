"""Names of variables. Source: manifest contract, section 11."""

from __future__ import annotations


def absolute(name: str, director: str, deployment: str) -> str:
    """`/DIRECTOR/DEPLOYMENT/NAME` of a relative name; a leading `!` is no part of a name."""
    name = name.removeprefix("!")
    return name if name.startswith("/") else f"/{director}/{deployment}/{name}"
