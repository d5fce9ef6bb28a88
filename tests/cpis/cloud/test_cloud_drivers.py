"""Sessions of drivers ask the environment once."""

from __future__ import annotations

import pytest
import requests

from cpis.cloud.drivers import settle

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("given", "proxies", "trusts"),
    [
        ({}, {}, False),
        ({"HTTPS_PROXY": "http://proxy:3128"}, {"https": "http://proxy:3128"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}, {}, False),
        ({"REQUESTS_CA_BUNDLE": "/etc/ssl/own.pem", "HTTPS_PROXY": "http://proxy:3128"}, {}, True),
    ],
)
def test_the_environment_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], proxies: dict[str, str], trusts: bool,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with requests.Session() as session:
        settle(session, "https://ec2.example.com")
        monkeypatch.setenv("HTTPS_PROXY", "http://later:1")
        assert (dict(session.proxies), session.trust_env) == (proxies, trusts)
