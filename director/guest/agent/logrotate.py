"""Rotation of jobs' logs. Source: the agent contract, section 5.5."""

from __future__ import annotations

import re

from . import files
from .host import Host
from .spec import Spec

DEFAULT_SIZE = "50M"
TIMER = "[Timer]\nOnCalendar=\nOnCalendar=*:0/15\nAccuracySec=1m\n"


def configure(host: Host, spec: Spec) -> bool:
    """Write the rules; answers whether they changed."""
    size = str(((spec.tree.get("properties") or {}).get("logging") or {}).get("max_log_file_size") or DEFAULT_SIZE)
    if not re.match(r"^[0-9]+[kMG]?$", size):
        size = DEFAULT_SIZE
    log = host.layout.inner(host.layout.log)
    patterns = " ".join("%s/%s*.log" % (log, "*/" * depth) for depth in range(3))
    text = "%s {\n  missingok\n  rotate 7\n  compress\n  copytruncate\n  size=%s\n}\n" % (patterns, size)
    return files.write(host.layout.etc("logrotate.d/vcap"), text, 0o644)
