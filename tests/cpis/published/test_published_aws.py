"""The models of AWS's library against the CPI of AWS and the stand-in."""

from __future__ import annotations

import re
from pathlib import Path

import judge_aws
import pytest
from call_sites import unsent
from exchange_recorder import Exchange
from exchange_runs import exchanges, shown

pytestmark = [pytest.mark.walk, pytest.mark.timeout(600)]

_TESTS = [f"tests/cpis/aws/test_aws_{name}.py" for name in ("conformance", "features", "manual", "orphans")]
# Of the suite the cases with requests of their own; moto is slow.
_CASES = ("detaches", "reboot", "calculates_a_machine", "another_zone", "address_conflict")
_CHOSEN = f"not keeps_the_contract or {' or '.join(_CASES)}"
# A look or a change again, after a fault; the same is sent without one, too. And whoever gives credentials, which is not AWS.
_AGAIN = re.compile(
    r"cpis/aws/checks\.py:\d+ self\._api\.call\('credentials'.*"
    r"|cpis/aws/disks\.py:\d+ self\._api\.(?:do\('DeleteVolume'|pages\('DescribeVolumes', 'volumeSet', filters\(\*\*\{f'tag:\{TOKEN).*")
# What moto answers otherwise than the service, beside what the stand-in makes good.
_MOTO = re.compile(
    r".*(?:rootDeviceType: 'standard'|inferenceAcceleratorInfo.accelerators: 'member'|supportedFeatures\[\d+\]: 'metal-compatibility'"
    r"|ipv6CidrBlockState.state: '\{'State': 'associated'\}') .*")


def test_aws_knows_what_is_sent_and_answered(tmp_path: Path) -> None:
    found = exchanges("aws", tmp_path, *_TESTS, "-k", _CHOSEN)
    complaints = dict[str, Exchange]()
    for exchange in found:
        told = exchange.url, exchange.headers, exchange.body
        complaints |= dict.fromkeys(judge_aws.request(exchange.method, *told), exchange)
        if exchange.status == 200:
            complaints |= {text: exchange for text in judge_aws.answer(*told, exchange.answer) if not _MOTO.fullmatch(text)}
    assert not complaints, shown(complaints)
    left = [call for call in unsent("aws", (site for exchange in found for site in exchange.sites)) if not _AGAIN.fullmatch(call)]
    assert not left, "no test sends:\n" + "\n".join(left)
