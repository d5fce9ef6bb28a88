"""Jobs and packages unpacked without being enabled, while the old ones still run."""

from __future__ import annotations

from typing import Any, Dict

from .. import install
from ..host import Call
from ..spec import Spec
from .base import Action


def run(call: Call, spec: Dict[str, Any]) -> str:
    wanted = Spec(spec)
    if wanted.configuration_hash:
        for package in wanted.packages:
            install.install_package(call, package)
        install.install_jobs(call, wanted)
    return "prepared"


ACTION = Action(run, asynchronous=True, cancellable=True)
