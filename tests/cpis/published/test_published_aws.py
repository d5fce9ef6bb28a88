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

# What moto answers otherwise than the service, beside what the stand-in makes good.
_MOTO = re.compile(
    r".*(?:rootDeviceType: 'standard'|inferenceAcceleratorInfo.accelerators: 'member'|supportedFeatures\[\d+\]: 'metal-compatibility') .*")


def test_aws_knows_what_is_sent_and_answered(tmp_path: Path) -> None:
    found = exchanges("aws", tmp_path, "tests/cpis/aws", "--ignore=tests/cpis/aws/test_aws_faults.py")
    complaints = dict[str, Exchange]()
    for exchange in found:
        told = exchange.url, exchange.headers, exchange.body
        complaints |= dict.fromkeys(judge_aws.request(exchange.method, *told), exchange)
        if exchange.status == 200:
            complaints |= {text: exchange for text in judge_aws.answer(*told, exchange.answer) if not _MOTO.fullmatch(text)}
    assert not complaints, shown(complaints)
    assert not (left := unsent("aws", (site for exchange in found for site in exchange.sites))), "no test sends:\n" + "\n".join(left)
