"""What templates use, found without filling them in: Jinja2's own parser, and Ruby's for ERB."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import nodes

from director.errors import RenderError
from director.render.engine import Failure, Source, engine_of
from director.render.jinja import Jinja
from director.render.lint.folder import Job, Release

UNKNOWN = "*"
RUBY_SECONDS = 120.0
_SCRIPT = Path(__file__).with_name("uses.rb")
_TAG = re.compile(r"<%%|<%.*?(?<!%)%>", re.DOTALL)
_JINJA_KINDS = {"p": "p", "has_p": "if_p", "link": "link", "has_link": "if_link"}


@dataclasses.dataclass(frozen=True)
class Use:
    """One call of `p`, `if_p`, `link`, `if_link`, or a look into `properties`.

    `*` in a name stands for what is known only when the template is filled in. With a `receiver` it was asked of a link, not of the job.
    """

    kind: str
    names: tuple[str, ...]
    line: int
    default: bool = False
    receiver: bool = False


@dataclasses.dataclass(frozen=True)
class Checked:
    """A template's `failure` is None when it can be read; `unchecked` when there was no Ruby to read it. `words` are its literal texts."""

    job: Job
    source: str
    label: str
    uses: tuple[Use, ...] = ()
    words: frozenset[str] = frozenset()
    failure: Failure | None = None
    unchecked: bool = False


def find_uses(release: Release) -> tuple[Checked, ...]:
    """All templates of all jobs, in order; one Ruby process reads the ERB ones."""
    found: list[Checked] = []
    waiting: list[tuple[Job, str, str, str]] = []
    environment = Jinja()
    for job in release.jobs:
        jinja_around = any(source.endswith(".j2") for source, _destination in job.listed())
        for source, file in job.texts():
            if file.text is None:
                found.append(Checked(job, source, file.label, failure=Failure("the file is no UTF-8 text, or too large")))
                continue
            engine = engine_of(source, file.text, jinja_around=jinja_around)
            if engine == "jinja":
                found.append(_jinja(environment, Checked(job, source, file.label), file.text))
            elif engine == "erb":
                waiting.append((job, source, file.label, file.text))
            else:
                found.append(Checked(job, source, file.label))
    return (*found, *_erb(waiting))


def _jinja(environment: Jinja, checked: Checked, text: str) -> Checked:
    tree = environment.parsed(Source(checked.label, text))
    if isinstance(tree, Failure):
        return dataclasses.replace(checked, failure=tree)
    words = frozenset(item.value for item in tree.find_all(nodes.Const) if isinstance(item.value, str))
    return dataclasses.replace(checked, uses=tuple(_jinja_uses(tree)), words=words)


def _jinja_uses(tree: nodes.Template) -> Iterator[Use]:
    inner: set[int] = set()
    for node in tree.find_all((nodes.Call, nodes.Getattr, nodes.Getitem, nodes.Name)):
        if isinstance(node, nodes.Call):
            target = node.node
            word = target.name if isinstance(target, nodes.Name) else target.attr if isinstance(target, nodes.Getattr) else ""
            if word in _JINJA_KINDS:
                kind = _JINJA_KINDS[word]
                first = node.args[:1]
                given = node.args if kind == "if_p" else first[0].items if first and isinstance(first[0], nodes.List) else first
                default = len(node.args) > 1 or any(item.key == "default" for item in node.kwargs)
                yield Use(kind, tuple(map(_name, given)), node.lineno, default, isinstance(target, nodes.Getattr))
        elif id(node) not in inner:
            steps, root = _steps(node, inner)
            if root == "spec" and steps[:1] == ["properties"]:
                steps, root = steps[1:], "properties"
            if root == "properties":
                yield Use("properties", (".".join(steps),) if steps else (), node.lineno)


def _steps(node: nodes.Expr, inner: set[int]) -> tuple[list[str], str]:
    """The names of `root.a["b"]`, and its root; nodes on the way are put into `inner`, as they are no uses of their own."""
    steps: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        steps.insert(0, node.attr if isinstance(node, nodes.Getattr) else _name(node.arg))
        node = node.node
        inner.add(id(node))
    return steps, node.name if isinstance(node, nodes.Name) else ""


def _name(node: nodes.Node) -> str:
    if isinstance(node, nodes.Const):
        return str(node.value)
    if isinstance(node, nodes.Concat):
        return "".join(map(_name, node.nodes))
    if isinstance(node, nodes.Add):
        return _name(node.left) + _name(node.right)
    return UNKNOWN


def _erb(waiting: Sequence[tuple[Job, str, str, str]]) -> Iterator[Checked]:
    ruby = shutil.which("ruby")
    answers: list[Mapping[str, Any] | None] = [None] * len(waiting)
    if ruby and waiting:
        answers = _asked(ruby, [{"file": label, "text": text} for _job, _source, label, text in waiting])
    for (job, source, label, text), answer in zip(waiting, answers, strict=True):
        checked = Checked(job, source, label, unchecked=answer is None)
        unclosed = _TAG.sub(lambda match: "\n" * match[0].count("\n"), text)
        if "<%" in unclosed:
            line = unclosed[: unclosed.index("<%")].count("\n") + 1
            yield dataclasses.replace(checked, failure=Failure("the tag <% is not closed with %>", line))
        elif answer is None:
            yield checked
        elif answer["error"]:
            line, message = answer["error"]
            yield dataclasses.replace(checked, failure=Failure(message, line))
        else:
            uses = tuple(
                Use(item["kind"], tuple(item["names"]) or ((UNKNOWN,) if item["kind"] != "properties" else ()), item["line"],
                    item["default"], item["receiver"])
                for item in answer["uses"]
            )
            yield dataclasses.replace(checked, uses=uses, words=frozenset(answer["strings"]))


def _asked(ruby: str, templates: Sequence[Mapping[str, str]]) -> list[Mapping[str, Any] | None]:
    command = [ruby, "--disable=did_you_mean,error_highlight", str(_SCRIPT)]
    try:
        environment = {**os.environ, "LANG": "C.UTF-8"}
        given = json.dumps(templates).encode()
        done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=RUBY_SECONDS, env=environment)
    except (OSError, subprocess.SubprocessError) as error:
        raise RenderError("Ruby could not read the ERB templates", suggestion=f"Check that '{ruby}' works: {error}") from error
    answers: list[Mapping[str, Any] | None] = json.loads(done.stdout)
    return answers


__all__ = ["UNKNOWN", "Checked", "Use", "find_uses"]
