"""Make a picture of what a terminal showed: `script -qec COMMAND /dev/null | python docs/pictures/make.py TITLE PICTURE.svg`.

Colours come from the terminal codes in the text. `--cut N` keeps the first N columns. The picture fetches no font from anywhere.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from pathlib import Path

from rich import _export_format as export
from rich.console import Console
from rich.text import Text

FORMAT = re.sub(r"@font-face \{\{.*?\n    \}\}\n|<!-- .*? -->", "", export.CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT = FORMAT.replace("Fira Code, ", "").replace("<svg ", '<svg xml:space="preserve" ')


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("title")
    parser.add_argument("target", type=Path)
    parser.add_argument("--cut", type=int, default=120)
    given = parser.parse_args()
    text = Text.from_ansi(sys.stdin.read().replace("\r", ""))
    lines = list(text.split("\n", allow_blank=True))
    for line in lines:
        line.rstrip()
        line.truncate(given.cut, overflow="ellipsis")
    while lines and not lines[-1].plain:
        lines.pop()
    width = max(len(line) for line in lines) + 1
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop")
    picture = console.export_svg(title=given.title, code_format=FORMAT)
    given.target.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n", "utf-8")
    print(f"{given.target}: {given.target.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
