"""What pages claim: commands and flags that exist, files that are there, links that lead somewhere, errors that the code can tell."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from director.cli import commands, verb

ROOT = Path(__file__).resolve().parents[2]
TREES = ("director", "cpis", "tests", "releases", "manifests", "docs")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAKE = re.compile(r"^make ([a-z][a-z-]*)|&& make ([a-z][a-z-]*)|\(make ([a-z-]+)\)")
GLOBAL_FLAGS = {name: option for option in verb.global_options() for name in option.opts}
# Folders that appear when something is built or run.
MADE = ("docs/examples/greeter/release/dev_releases",)
OURS = re.compile(r"(?<![\w/.-])((?:" + "|".join(TREES) + r")/[\w./*-]*[\w*/])")


def spoken(text: str) -> Iterator[str]:
    """Command lines of console and shell blocks, and code in the text."""
    for kind, body in FENCE.findall(text):
        for line in body.replace("\\\n", " ").splitlines():
            if kind == "console" and line.startswith("$ "):
                yield line[2:]
            elif kind == "sh":
                yield line
    yield from CODE.findall(FENCE.sub("", text))


def calls(line: str) -> Iterator[list[str]]:
    """Words of each `caisson ...` in a line, up to where the shell goes on with something else. Other tools may have one that is called
    so as an argument."""
    line = re.sub(r"\$\((?!caisson )[^()]*\)", "VALUE", line)
    for found in re.finditer(r"(?:^\s*|[|&;(`:]\s*|\b(?:sudo|time|then|do|eval|\w+=\S+) +)caisson (?=[a-z-])", line):
        rest = re.split(r" #| \||&&|;", line[found.end():])[0].split("`")[0]
        try:
            yield shlex.split(rest)
        except ValueError:
            yield rest.split()


def named(words: list[str]) -> tuple[str, list[str]]:
    """The command of the words and its flags; global flags may come before it."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        option = GLOBAL_FLAGS.get(words[position])
        position += 1 if option is None or option.is_flag else 2
    rest = words[position:]
    return (rest[0] if rest else ""), [word.split("=")[0] for word in (*words[:position], *rest[1:]) if re.match(r"--?[a-z]", word)]


@functools.cache
def flags_of(name: str) -> frozenset[str]:
    module = importlib.import_module(f"director.cli.verbs.{commands.BY_NAME[name].module}")
    found: click.Command = module.command
    own = frozenset(flag for param in found.params for flag in (*param.opts, *param.secondary_opts))
    return own | set(GLOBAL_FLAGS) | {"--help", "--version"}


def wrong_calls(line: str) -> Iterator[str]:
    for words in calls(line):
        name, flags = named(words)
        if name == "" or re.fullmatch(r"[A-Z-]+", name):
            continue
        if name not in commands.BY_NAME:
            yield f"no command '{name}': {line}"
        elif unknown := [flag for flag in flags if flag not in flags_of(name) and not _of_a_quoted_command(flag, flags_of(name))]:
            yield f"'{name}' has no {unknown}: {line}"


def _of_a_quoted_command(flag: str, known: frozenset[str]) -> bool:
    """`-la` is `-l -a`."""
    return not flag.startswith("--") and all(f"-{letter}" in known for letter in flag[1:])


def test_commands_and_flags_exist(page: Path) -> None:
    wrong = [problem for line in spoken(page.read_text("utf-8")) for problem in wrong_calls(line)]
    assert not wrong, "\n".join(wrong)


def test_commands_that_errors_recommend_exist() -> None:
    wrong = []
    for path in sorted((*ROOT.glob("director/**/*.py"), *ROOT.glob("cpis/**/*.py"), ROOT / "Makefile")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            quoted = re.findall(r"(?<!b)[`'\":] ?(caisson [a-z0-9-]*[a-z])[^`'\"{]*[`'\"]", line)
            wrong += [f"{path.relative_to(ROOT)}:{number}: {problem}" for call in quoted for problem in wrong_calls(call)]
    assert not wrong, "\n".join(wrong)


def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = spoken(page.read_text("utf-8"))
    said = {word for line in lines for words in MAKE.findall(line) for word in words if word}
    assert said <= targets, said - targets


def test_modules_that_are_run_exist(page: Path) -> None:
    said = {name for line in spoken(page.read_text("utf-8")) for name in re.findall(r"python3? -m ((?:cpis|director|tests)[\w.]*)", line)}
    missing = [name for name in said if importlib.util.find_spec(name) is None]
    assert not missing, missing


def test_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    code = [*CODE.findall(FENCE.sub("", text)), *(body for _, body in FENCE.findall(text))]
    said = {path for part in code for path in OURS.findall(part)}
    missing = [
        path for path in sorted(said)
        if not path.startswith(MADE) and not any(True for _ in ROOT.glob(path.rstrip("/"))) and not list(page.parent.glob(path.rstrip("/")))
    ]
    assert not missing, missing


def test_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if target.startswith("https://"):
            continue
        file, _, place = target.partition("#")
        other = (page.parent / file).resolve() if file else page
        if not other.exists() or (place and place not in anchors(other)):
            broken.append(target)
    assert not broken, broken


def anchors(page: Path) -> set[str]:
    """As hosts of code make them of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_no_place_of_one_computer(page: Path) -> None:
    """Paths of whoever wrote it, and hosts of registries, are no use to readers."""
    text = page.read_text("utf-8")
    places = re.findall(r"(?<![\w.~])/(?:work|root|home|tmp|Users|mnt)/[^\s`)]*", text)
    hosts = re.findall(r"[\w.-]*(?:pypi|debian\.org|rubygems|npmjs|proxy\.golang|docker\.io|ghcr)[\w./-]*", text)
    assert not places, places
    assert not hosts, hosts


def test_quoted_files_are_the_files(page: Path) -> None:
    quoted = re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for path, body in quoted:
        assert (ROOT / path).read_text("utf-8") == body, path


def test_pictures_fetch_nothing() -> None:
    pictures = sorted(ROOT.glob("docs/pictures/*.svg"))
    assert pictures
    for picture in pictures:
        text = picture.read_text("utf-8")
        assert picture.stat().st_size < 60 << 10, picture.name
        assert not re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", text), picture.name


@functools.cache
def told() -> str:
    """All texts of the code, with `...` for what varies."""
    sources = (path.read_text("utf-8") for tree in ("director", "cpis") for path in sorted((ROOT / tree).rglob("*.py")))
    joined = re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(sources))
    return re.sub(r"%[sd]|\{[^{}\n]*\}", "...", joined)


def test_errors_that_are_explained_are_those_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    tables = re.findall(r"^\| (?:Error|Says) \|.*\n\|[-|]+\n((?:\|.*\n)*)", text, re.MULTILINE)
    unknown = []
    for row in (row for table in tables for row in table.splitlines()):
        for error in CODE.findall(row.split("|")[1]):
            pieces = [piece.strip(" '") for piece in error.split("...")]
            unknown += [error for piece in pieces if len(piece) > 3 and piece not in told()]
    assert not unknown, unknown
