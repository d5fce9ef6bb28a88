"""The account that the stand-in plays."""

from __future__ import annotations

ACCOUNT = "123456789012"
REGION = "us-east-1"
KEY, SECRET = "AKIACAISSONSTANDIN", "stand-in/Secret+Key"
BUCKET = "caisson-stemcells"
VIP = "198.51.100.7"
SUBNETS = {"a": 16, "b": 17, "c": 18, "d": 19}
"""The third number of each subnet's range; `a`, `b`, `c` are in the zones of that name, `d` is in the first, too."""
