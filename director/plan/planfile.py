"""A plan that is kept in a file: made by one command, done by another, refused when it is damaged or belongs elsewhere.

The manifest in it is sealed by the director, since it may hold secrets; all else can be read by anyone who has the file, and holds none.
Versioned: `caisson_plan` grows when a field changes its meaning.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from director.diagnostics import Diagnostic, Where
from director.errors import UsageError
from director.plan.moved import Facts
from director.plan.outline import Outline, from_json, to_json

VERSION = 1
AGAIN = "Make it anew: caisson plan MANIFEST -o plan.json."
Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class PlanFile:
    """`sealed` is the manifest and what else only the director reads; `options` those of the deploy in the API's words, with the ids of
    the configs; `foreseen_ids` are the uuids that new instances are to get, `foreseen_numbers` (kind, key, number) of DNS names;
    `rests_on` the facts that must still hold; `plan_digest` says which plan it is; `made_at` seconds of the epoch."""

    director_name: str
    director_uuid: str
    deployment: str
    made_at: float
    options: Tree
    plan: Outline
    plan_digest: str
    rests_on: Facts
    sealed: str = dataclasses.field(repr=False)
    foreseen_ids: tuple[str, ...] = ()
    foreseen_numbers: tuple[tuple[str, str, int], ...] = ()


def to_tree(kept: PlanFile) -> Tree:
    """Plain data, with a digest over all of it."""
    tree: Tree = {
        "caisson_plan": VERSION,
        "director": {"name": kept.director_name, "uuid": kept.director_uuid},
        "deployment": kept.deployment,
        "made_at": kept.made_at,
        "options": kept.options,
        "plan": to_json(kept.plan),
        "plan_digest": kept.plan_digest,
        "rests_on": {what: dict(facts) for what, facts in kept.rests_on.items()},
        "foreseen": {"ids": list(kept.foreseen_ids), "numbers": [list(item) for item in kept.foreseen_numbers]},
        "sealed": kept.sealed,
    }
    return {**tree, "digest": _digest(tree)}


def write(kept: PlanFile) -> str:
    return json.dumps(to_tree(kept), indent=2, ensure_ascii=False) + "\n"


def read(text: str, file: str = "the plan") -> PlanFile:
    """What `write` was given. Raises UsageError: cut off, no plan, of a newer version, changed."""
    def wrong(summary: str, suggestion: str = AGAIN, detail: str = "", line: int | None = None) -> UsageError:
        return UsageError(Diagnostic(summary, detail=detail, where=Where(file, line), suggestion=suggestion))

    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise wrong("The plan file is cut off, or no plan file", detail=f"It is not JSON: {error.msg}", line=error.lineno) from error
    except RecursionError as error:
        raise wrong("The file is no plan file", detail="It is nested too deep.") from error
    return of_tree(tree, file)


def of_tree(tree: Any, file: str = "the plan") -> PlanFile:
    """As `read`, of what was JSON."""
    def wrong(summary: str, suggestion: str = AGAIN, detail: str = "") -> UsageError:
        return UsageError(Diagnostic(summary, detail=detail, where=Where(file), suggestion=suggestion))

    version = tree.get("caisson_plan") if isinstance(tree, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise wrong("The file is no plan file", "Plan files are made by: caisson plan MANIFEST -o plan.json.", "It has no 'caisson_plan'.")
    if version > VERSION:
        raise wrong(f"The plan file has version {version}, and only versions up to {VERSION} are known here",
                    "It was made by a newer version of Caisson: use that one, or make the plan anew.")
    if tree.get("digest") != _digest({key: value for key, value in tree.items() if key != "digest"}):
        raise wrong("The plan file was changed after it was made: its digest does not match",
                    "Plans cannot be edited. Change the manifest, and make the plan anew: caisson plan MANIFEST -o plan.json.")
    try:
        return _of(tree)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wrong("The plan file lacks something", detail=f"{type(error).__name__}: {error}") from error


def check(kept: PlanFile, director_uuid: str, deployment: str = "") -> None:
    """Raises UsageError when the plan was made by another director, or for another deployment than the one given."""
    if kept.director_uuid != director_uuid:
        raise UsageError(Diagnostic(
            f"The plan was made by director '{kept.director_name}' ({kept.director_uuid}), and this is director {director_uuid}",
            suggestion="Choose the other one with -e, or make a plan with this one: caisson plan MANIFEST -o plan.json."))
    if deployment and kept.deployment != deployment:
        raise UsageError(Diagnostic(
            f"The plan is for deployment '{kept.deployment}', not for '{deployment}'",
            suggestion=f"Deploy it with -d {kept.deployment}, or without -d."))


def _of(tree: Tree) -> PlanFile:
    return PlanFile(
        str(tree["director"]["name"]), str(tree["director"]["uuid"]), str(tree["deployment"]), float(tree["made_at"]),
        dict(tree["options"]), from_json(tree["plan"]), str(tree["plan_digest"]),
        {str(what): {str(aspect): str(text) for aspect, text in facts.items()} for what, facts in tree["rests_on"].items()},
        str(tree["sealed"]), tuple(str(item) for item in tree["foreseen"]["ids"]),
        tuple((str(kind), str(key), int(number)) for kind, key, number in tree["foreseen"]["numbers"]))


def _digest(tree: Tree) -> str:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
