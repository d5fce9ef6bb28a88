"""A CA is rotated under two machines that speak TLS with each other all the time: no handshake ever fails for want of trust."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from typing import Any

import pytest
from worksite import Site, init_of

from cpis.local.names import Names

pytestmark = pytest.mark.e2e

# Verified by what the asking machine trusts now; its own name for the result, so that a server that restarts is told from one not trusted.
ASK = (
    "openssl s_client -connect {}:8443 -CAfile /var/vcap/jobs/tls/config/ca.pem -verify_return_error -verify_hostname server.internal "
    "</dev/null 2>&1 | grep -oE -m1 'Verification: OK|verify error:.*|Connection refused|No such file.*' || echo nothing")


class Talk:
    """Each machine asks each, again and again; `answers` counts what they said."""

    def __init__(self, site: Site) -> None:
        self.answers: Counter[str] = Counter()
        self._site, self._stop = site, threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(cid, f"{site.net}.{number}")) for cid in site.vms("tls") for number in (10, 11)]

    def __enter__(self) -> Talk:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, cid: str, address: str) -> None:
        first = init_of(Names(self._site.cloud).namespaces + cid)
        while not self._stop.wait(0.2):
            asked = subprocess.run(
                ["nsenter", "-m", "-n", "-t", first, "--", "sh", "-c", ASK.format(address)], capture_output=True, text=True, check=False)
            self.answers[asked.stdout.strip()] += 1


@pytest.fixture(scope="module")
def site(make_site: Any) -> Site:
    site: Site = make_site()
    site.open(data="tls")
    return site


def serial(site: Site) -> str:
    """Of the root that the first machine trusts."""
    return site.director.ssh("tls", "server/0", "sudo sha256sum /var/vcap/jobs/tls/config/ca.pem").split()[0]


def test_three_steps_while_machines_talk(site: Site) -> None:
    text = site.text("tls.yml")
    site.deploy("tls", text)
    seen = [serial(site)]
    with Talk(site) as talk:
        for stage in (1, 2, 3):
            told = site.director.run("-d", "tls", "rotate", "root").out
            assert "root" in told
            early = site.director.run("-d", "tls", "rotate", "root", check=False)
            assert early.code == 1
            assert f"must wait: not everybody has reached stage {stage}" in early.all
            site.deploy("tls", text)
            seen.append(serial(site))
    assert len(set(seen)) == 4
    assert site.director.rows("rotations") == []
    assert set(talk.answers) <= {"Verification: OK", "Connection refused"}
    assert talk.answers["Verification: OK"] > 20
