"""`python -m cpis.conformance.clouds.openstack FOLDER`: install the services there, so that nobody waits for them later."""

from __future__ import annotations

import sys
from pathlib import Path

from cpis.conformance.clouds.openstack import packages
from cpis.conformance.standin import Skipped

if __name__ == "__main__":
    try:
        packages.environment(Path(sys.argv[1]))
        packages.octavia(Path(sys.argv[1]))
    except Skipped as missing:
        print(f"==> {missing}")
