"""What jobs bring: aliases, handlers and addresses in small JSON files, found by a pattern. Source: DNS contract, sections 5, 7.1, 9."""

from __future__ import annotations

import glob
import json
import logging
from typing import Any, Dict, List, Optional, Tuple

from .sources import Mark, mark_of

log = logging.getLogger("bosh-dns")


class JobFiles:
    """`changed` looks whether files came, went or were written; `contents` are those that could be read, in the order of their names."""

    def __init__(self, pattern: str, kind: type) -> None:
        """Files that hold no `kind` (dict or list) are left out, and said."""
        self._pattern = pattern
        self._kind = kind
        self._marks: Dict[str, Optional[Mark]] = {}
        self.contents: List[Tuple[str, Any]] = []

    def changed(self) -> bool:
        marks = {path: mark_of(path) for path in sorted(glob.glob(self._pattern))} if self._pattern else {}
        if marks == self._marks:
            return False
        self._marks = marks
        self.contents = []
        for path in marks:
            try:
                with open(path, encoding="utf-8") as file:
                    tree = json.load(file)
                if not isinstance(tree, self._kind):
                    raise ValueError("no JSON %s" % ("object" if self._kind is dict else "list"))
            except (OSError, ValueError, RecursionError) as error:
                log.error("%s is left out: %s", path, error)
                continue
            self.contents.append((path, tree))
        return True
