"""Regions: a word that is none would end in names that do not resolve, and in many vain tries."""

from __future__ import annotations

import difflib
import re

from libcloud.compute.constants.ec2_region_details_partial import REGION_DETAILS

from cpis.contract import Invalid

# Those that Libcloud's table ends before. Source: "Regions and Zones" in the EC2 user guide.
_NEWER = (
    "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-west-1",
    "eu-central-2", "eu-south-2", "eusc-de-east-1", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "us-gov-east-1",
)
_FORM = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+")


def check_region(region: str, has_endpoint: bool) -> None:
    """Raises Invalid for a region that AWS has not. With an endpoint of one's own any word of its form will do."""
    known = sorted({*REGION_DETAILS, *_NEWER})
    if region in known or (has_endpoint and _FORM.fullmatch(region)):
        return
    near = difflib.get_close_matches(region, known, n=1)
    raise Invalid(
        f"the CPI config (aws): there is no region '{region}'", resource=region,
        suggestion=f"Did you mean '{near[0]}'? A newer region needs ec2_endpoint." if near else f"known: {', '.join(known)}")
