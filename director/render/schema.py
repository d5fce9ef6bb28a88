"""`properties_schema.json`: the shape of a job's properties. Source: release contract, section 16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema
import jsonschema.exceptions
import referencing
import referencing.exceptions

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _is_certificate(_: object, value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key, ""), str) for key in ("ca", "certificate", "private_key"))


_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("certificate", _is_certificate)
)


def violations(schema: Mapping[str, Any], properties: Mapping[str, Any]) -> list[str]:
    """One sentence for each violation, sorted by place. Values are not shown, since they may be secret."""
    draft = schema.get("$schema")
    if not draft:
        return ["You must declare your $schema draft version"]
    if str(draft).rstrip("#") != DRAFT:
        return [f"Only {DRAFT} schema is currently supported"]
    try:
        # An own registry: schemas that name others by URL must not make the director fetch them.
        validator = _Validator(dict(schema), registry=referencing.Registry())
        found = sorted(validator.iter_errors(properties), key=lambda error: [str(part) for part in error.absolute_path])
    except (jsonschema.exceptions.SchemaError, jsonschema.exceptions.UnknownType, referencing.exceptions.Unresolvable) as error:
        return [f"The schema itself is wrong: {str(error).splitlines()[0]}"]
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        return [f"The schema itself is wrong: {type(error).__name__}"]
    return [_sentence(error) for error in found]


def _sentence(error: jsonschema.exceptions.ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path) or "the properties"
    keyword, wanted = str(error.validator), error.validator_value
    if keyword == "type":
        kinds = wanted if isinstance(wanted, list) else [wanted]
        return f"'{place}' is not of type {' or '.join(str(kind) for kind in kinds)}"
    if keyword == "required" and isinstance(error.instance, dict) and isinstance(wanted, list):
        missing = [str(name) for name in wanted if name not in error.instance]
        return f"'{place}' lacks {', '.join(missing)}"
    if keyword == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        return f"'{place}' has unknown keys: {', '.join(sorted(str(key) for key in error.instance if key not in known))}"
    return f"'{place}' does not satisfy {keyword}: {wanted}"
