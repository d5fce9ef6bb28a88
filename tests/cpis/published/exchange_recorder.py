"""A pytest plugin (`-p exchange_recorder`) that writes down what the CPIs send in a run of tests, and what they are answered.

It stands below Libcloud and whatever else of a CPI speaks HTTP: in the adapter of `requests`. One line of JSON for each exchange goes into
the file that the environment variable CAISSON_EXCHANGES names; `read` reads it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from requests.adapters import HTTPAdapter

_ROOT = Path(__file__).resolve().parents[3]
_LARGEST_BODY = 1 << 20


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A request and its answer. `sites` are the lines of the CPI that led to it (`cpis/gcp/vms.py:42`), the innermost first.

    `status` is 0 when no answer came. Bodies are text, empty for what is large or no text. Header names are in lower case.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: str
    status: int
    answer: str
    sites: tuple[str, ...]
    test: str

    @property
    def where(self) -> str:
        """Where to look: the line of the CPI, and a test that sends it."""
        return f"{self.sites[0] if self.sites else '?'} in {self.test.partition(' ')[0]}"


def read(path: Path) -> Iterator[Exchange]:
    """What a run wrote."""
    with path.open() as file:
        for line in file:
            found = json.loads(line)
            yield Exchange(**{**found, "sites": tuple(found["sites"])})


def _sites() -> list[str]:
    found, frame = [], sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/cpis/" in name and name.startswith(f"{_ROOT}/cpis/"):
            # A call over several lines is known by where it begins, which a frame does not tell: see `call_sites.calls`.
            found.append(f"{name[len(str(_ROOT)) + 1:]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _text(body: Any) -> str:
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes) or len(body) > _LARGEST_BODY:
        return ""
    with contextlib.suppress(UnicodeDecodeError):
        return body.decode()
    return ""


def pytest_configure(config: pytest.Config) -> None:
    """Record from now on."""
    if path := os.environ.get("CAISSON_EXCHANGES"):
        config.stash[_FILE] = file = Path(path).open("w")  # noqa: SIM115 - closed by pytest_unconfigure
        config.stash[_SEND] = HTTPAdapter.send
        HTTPAdapter.send = _recording(HTTPAdapter.send, file)  # type: ignore[method-assign]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Record no more."""
    if _FILE in config.stash:
        HTTPAdapter.send = config.stash[_SEND]  # type: ignore[method-assign]
        config.stash[_FILE].close()


_FILE = pytest.StashKey[IO[str]]()
_SEND = pytest.StashKey[Any]()


def _recording(send: Any, file: IO[str]) -> Any:
    lock = threading.Lock()

    def recorded(adapter: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        exchange = Exchange(
            str(request.method), str(request.url), {name.lower(): _text(value) for name, value in request.headers.items()},
            _text(request.body), 0, "", tuple(_sites()), os.environ.get("PYTEST_CURRENT_TEST", ""))
        try:
            response: requests.Response = send(adapter, request, *args, **more)
            # Reading it here takes nothing away: `requests` keeps it. An answer that breaks off is for the CPI to find out.
            exchange = dataclasses.replace(exchange, status=response.status_code, answer=_text(response.content))
        finally:
            line = json.dumps(dataclasses.asdict(exchange)) + "\n"
            with lock:
                file.write(line)
        return response
    return recorded
