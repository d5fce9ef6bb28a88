"""Google's discovery documents against the CPI of GCP and the stand-in: requests by their methods, answers by their schemas."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from call_sites import unsent
from exchange_recorder import Exchange
from exchange_runs import exchanges, shown
from judge_google import google

pytestmark = [pytest.mark.walk, pytest.mark.timeout(600)]

# The parts of a resumable upload go to the address that its beginning answered.
_ELSEWHERE = re.compile(r"PUT /upload/.*")
# Signing in is the matter of google-auth, and of addresses that a configuration names.
_SIGNING_IN = ("cpis/gcp/credentials.py:", "cpis/gcp/endpoint.py:")
# Tests whose requests or answers are wrong on purpose.
_WRONG_REQUESTS = ("test_what_the_cloud_refuses_leaves_nothing", "test_an_error_does_not_leave_its_page_to_the_next_request")
_WRONG_ANSWERS = ("another_form", "test_nothing_follows_a_failed_beginning")


def test_google_knows_what_is_sent_and_answered(tmp_path: Path) -> None:
    found, complaints = exchanges("gcp", tmp_path, "tests/cpis/gcp", "-m", "not walk"), dict[str, Exchange]()
    for exchange in found:
        parts = urlsplit(exchange.url)
        if _ELSEWHERE.fullmatch(f"{exchange.method} {parts.path}") or exchange.sites[0].startswith(_SIGNING_IN):
            continue
        if not any(name in exchange.test for name in _WRONG_REQUESTS):
            complaints |= dict.fromkeys(google().request(exchange.method, exchange.url, exchange.body), exchange)
        uploads = parts.path.startswith("/upload/")  # answers where to go on, in a header
        if 200 <= exchange.status < 300 and not uploads and not any(name in exchange.test for name in _WRONG_ANSWERS):
            complaints |= dict.fromkeys(google().answer(exchange.method, exchange.url, exchange.answer), exchange)
    assert not complaints, shown(complaints)
    assert not (left := unsent("gcp", (site for exchange in found for site in exchange.sites))), "no test sends:\n" + "\n".join(left)
