"""`python -m cpis.wire aws --config FILE`, the same as `caisson-cpi-aws --config FILE`."""

import sys

from cpis import registry
from cpis.wire.main import main

if len(sys.argv) < 2 or sys.argv[1] not in registry.TABLE:
    sys.exit(f"usage: python -m cpis.wire {'|'.join(sorted(registry.TABLE))} [--config FILE] < REQUEST.json")
sys.exit(main(sys.argv[1], sys.argv[2:]))
