"""Names of parameters, by the service's own description of its actions: what it does not know it refuses, and moto takes in silence."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from cpis.conformance.clouds.aws.rules import Refusal

_COMMON = frozenset({"Action", "Version", "DryRun"})
_NUMBERS = ("integer", "long", "float", "double")


class Parameters:
    """EC2's, as the SDK that comes with moto has them."""

    def __init__(self) -> None:
        session = importlib.import_module("botocore.session").get_session()
        self._model = session.get_service_model("ec2")

    def check(self, action: str, params: Mapping[str, str]) -> None:
        """Raises Refusal for an unknown action or parameter, or one that is no number or truth where one belongs."""
        if action not in self._model.operation_names:
            raise Refusal("InvalidAction", f"The action {action} is not valid for this web service.")
        shape = self._model.operation_model(action).input_shape
        for key, value in params.items():
            if key in _COMMON or "-amz-" in key.lower():
                continue
            kind = _kind(shape, key.split("."))
            if kind is None:
                raise Refusal("UnknownParameter", f"The parameter {key.partition('.')[0]} is not recognized ({key})")
            if (kind in _NUMBERS and not _is_number(value)) or (kind == "boolean" and value.lower() not in ("true", "false")):
                raise Refusal("InvalidParameterValue", f"Value ({value}) for parameter {key} is invalid. It must be a {kind}")
        for name in _required(shape):
            if not any(key == name or key.startswith(f"{name}.") for key in params):
                raise Refusal("MissingParameter", f"The request must contain the parameter {name}")


def _kind(shape: Any, parts: list[str]) -> str | None:
    """The type of a parameter by its path; None for one that is not there."""
    if not parts:
        return str(shape.type_name)
    if shape.type_name == "list":
        return _kind(shape.member, parts[1:]) if parts[0].isdigit() else None
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if _name(name, member) == parts[0]:
                return _kind(member, parts[1:])
    return None


def _name(name: str, member: Any) -> str:
    """As the protocol `ec2` spells it."""
    serialization = member.serialization
    if "queryName" in serialization:
        return str(serialization["queryName"])
    given = str(serialization.get("name") or name)
    return given[:1].upper() + given[1:]


def _required(shape: Any) -> Iterable[str]:
    return [_name(name, shape.members[name]) for name in shape.required_members]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
