"""Azurite, Microsoft's emulator of Azure's storage: where uploads of disks go when their pages are to be judged by somebody else's code.

It comes from npm, once for each version, into a cache folder (`XDG_CACHE_HOME`, else `~/.cache`).
"""

from __future__ import annotations

import base64
import datetime
import fcntl
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import requests

from cpis.conformance.standin import Skipped

_VERSION = "3.37.0"
_INSTALL_SECONDS = 420
_START_SECONDS = 40
_ACCOUNT = "devstoreaccount1"
# The account and key that Azurite is born with; they are in its documentation.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_CONTAINER = "disks"
_API = "2022-11-02"


def program() -> Path:
    """Azurite's blob server, installed at the first call. Raises Skipped when there is no npm, or no registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Skipped("npm and node are not installed")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "caisson" / f"azurite-{_VERSION}"
    found = folder / "node_modules" / ".bin" / "azurite-blob"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"azurite@{_VERSION}"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
            except subprocess.TimeoutExpired:
                raise Skipped(f"npm did not bring azurite within {_INSTALL_SECONDS} s") from None
            if done.returncode or not found.exists():
                raise Skipped(f"npm cannot bring azurite {_VERSION}: {done.stderr.strip().splitlines()[-1:]}")
    return found


class Azurite:
    """A blob server of its own on a free port, in memory. Implements `Pages`: each disk is a page blob."""

    def __init__(self, workdir: Path) -> None:
        workdir.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self._base = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        self._log = (workdir / "azurite.log").open("w")
        self._process = subprocess.Popen(
            [str(program()), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck",
             "--silent", "--disableTelemetry"], cwd=workdir, stdout=self._log, stderr=self._log, start_new_session=True)
        self._session = requests.Session()
        self._session.trust_env = False
        try:
            self._wait(workdir)
        except BaseException:
            self.close()
            raise

    def _wait(self, workdir: Path) -> None:
        ends = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                if self._send("PUT", f"/{_CONTAINER}?restype=container", {}).status_code == 201:
                    return
            except requests.ConnectionError:
                time.sleep(0.1)
        raise Skipped(f"azurite does not start: {(workdir / 'azurite.log').read_text()[-300:]}")

    def _send(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        """A request signed with the account's key. Source: Azure's documentation of Shared Key."""
        now = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        ours = {"x-ms-date": now, "x-ms-version": _API, **headers}
        place, _, query = path.partition("?")
        parameters = sorted(filter(None, query.split("&")))
        resource = f"/{_ACCOUNT}/{_ACCOUNT}{place}" + "".join(f"\n{part.replace('=', ':', 1)}" for part in parameters)
        lines = "".join(f"{key}:{ours[key]}\n" for key in sorted(ours))
        text = f"{method}{chr(10) * 12}{lines}{resource}"
        return self._session.request(method, self._base + path, headers={
            **ours, "Authorization": f"SharedKey {_ACCOUNT}:{_signed(text)}", "Content-Length": "0"}, timeout=20)

    def make(self, name: str, size: int) -> str:
        answer = self._send("PUT", f"/{_CONTAINER}/{name}", {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": str(size)})
        answer.raise_for_status()
        ends = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        resource = f"/blob/{_ACCOUNT}/{_CONTAINER}/{name}"
        # Fields of a service SAS of version 2020-12-06 and later, in their order.
        text = "\n".join(["rw", "", ends, resource, "", "", "", _API, "b", "", "", "", "", "", "", ""])
        query = {"sp": "rw", "se": ends, "sv": _API, "sr": "b", "sig": _signed(text)}
        return f"{self._base}/{_CONTAINER}/{name}?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())

    def drop(self, name: str) -> None:
        self._send("DELETE", f"/{_CONTAINER}/{name}", {})

    def read(self, name: str) -> bytes:
        """All of a blob."""
        answer = self._send("GET", f"/{_CONTAINER}/{name}", {})
        answer.raise_for_status()
        return answer.content

    def names(self) -> list[str]:
        """The blobs that there are."""
        text = self._send("GET", f"/{_CONTAINER}?comp=list&restype=container", {}).text
        return [part.partition("</Name>")[0] for part in text.split("<Name>")[1:]]

    def close(self) -> None:
        self._session.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()


def _signed(text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()).decode()
