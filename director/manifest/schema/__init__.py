"""The language's sections: one annotated file each, read by the validator and printed by `describe`."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Mapping
from typing import Any

from director.manifest.load import load_yaml, resolve_scalar

NO_DEFAULT = object()


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of a section. `type` is String, Integer, Boolean, Hash, Array, `Array of String` or Any; `of` the section of a Hash or of an
    Array's items; `free` maps are not looked into. `absent` is what is said of a section (by its `{name}`) that lacks the key, where
    the reference has words of its own."""

    name: str
    type: str
    required: bool = False
    default: Any = None
    has_default: bool = False
    minimum: int | None = None
    one_of: tuple[str, ...] = ()
    of: str = ""
    free: bool = False
    deprecated: str = ""
    example: Any = NO_DEFAULT
    about: str = ""
    absent: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    name: str
    about: str
    keys: Mapping[str, Key]

    def near(self, word: str, cutoff: float) -> str | None:
        """The key that looks most like `word`."""
        import difflib  # only where something is wrong

        found = difflib.get_close_matches(word, list(self.keys), n=1, cutoff=cutoff)
        return found[0] if found else None


@functools.cache
def section(name: str) -> Section:
    """Read a section's file. Raises KeyError for a name that is none."""
    source = importlib.resources.files(__package__).joinpath(f"{name}.yml")
    if "/" in name or not source.is_file():
        raise KeyError(name)
    tree = load_yaml(source.read_text(encoding="utf-8"), f"{name}.yml").tree
    keys = {}
    for key, row in tree["keys"].items():
        words = {**row, "one_of": tuple(row.get("one_of", ())), "has_default": "default" in row}
        keys[key] = Key(name=key, **words)
    return Section(name, tree["about"], keys)


def sections() -> list[str]:
    """The names that `section` and `describe` know, sorted."""
    return sorted(item.name.removesuffix(".yml") for item in importlib.resources.files(__package__).iterdir() if item.name.endswith(".yml"))


def named(word: str) -> list[str]:
    """The sections that a person means: by name (`instance_group`), by the key they stand below (`instance_groups`, which for `networks`
    are several), or by a path of keys (`manifest.instance_groups.jobs`). None when there are none."""
    first, *rest = [step.removesuffix("[]") for step in re.split(r"[./]", word.replace("-", "_"))]
    below = [key.of for name in sections() for key in section(name).keys.values() if key.name == first and key.of]
    found = [first] if first in sections() else sorted(set(below))
    for step in rest:
        keys = [section(name).keys.get(step) for name in found]
        found = sorted({key.of for key in keys if key is not None and key.of})
    return found


def words() -> list[str]:
    """All single words that `named` knows."""
    keys = {key.name for name in sections() for key in section(name).keys.values() if key.of}
    return sorted(keys.union(sections()))


def _above(name: str) -> list[str]:
    return sorted(f"{other}.{key.name}" for other in sections() for key in section(other).keys.values() if key.of == name)


def describe(name: str) -> str:
    """A section as an annotated example, with the sections above and below it named. Raises KeyError for a name that is none."""
    found = section(name)
    above = _above(name)
    lines = [f"# {name}: {found.about}", *([f"# Stands below {', '.join(above)}."] if above else []), ""]
    for key in found.keys.values():
        notes = [key.type + (f", see {key.of}" if key.of else "")]
        if key.required:
            notes.append("required")
        if key.has_default:
            notes.append(f"default {_shown(key.default)}")
        if key.minimum is not None:
            notes.append(f"at least {key.minimum}")
        if key.one_of:
            notes.append(f"one of {', '.join(key.one_of)}")
        lines.extend(f"# {line}" for line in (key.about, f"Deprecated: {key.deprecated}" if key.deprecated else "") if line)
        example = (
            key.example if key.example is not NO_DEFAULT else key.default if key.has_default else key.one_of[0] if key.one_of else None
        )
        value = f" {_shown(example)}" if example is not None else ""
        lines.extend([f"{key.name}:{value}  # {'; '.join(notes)}", ""])
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) and (not value or not isinstance(resolve_scalar(value), str)) else str(value)
