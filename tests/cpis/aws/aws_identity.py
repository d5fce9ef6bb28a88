"""One server that plays all that AWS's ways to credentials ask: the instance's and the container's metadata, STS, and SSO."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.cpis.answering import answering

Answer = tuple[int, str]


def later(seconds: float = 3600) -> str:
    """A time from now, as AWS writes it."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def sts(action: str, key: str = "ASIASTS", ends: str = "") -> str:
    """An answer of STS with keys."""
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>sts-secret</SecretAccessKey><SessionToken>sts-token</SessionToken>"
        f"<Expiration>{ends or later()}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId>"
        f"<Arn>arn:aws:sts::1:assumed-role/r/x</Arn></AssumedRoleUser></{action}Result>"
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>")


class Identity:
    """`asked` is (method, path, form or query, headers) of each request. `answers` by path, or by action of STS, go before the usual."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self.answers: dict[str, Answer | Callable[[dict[str, str]], Answer]] = {}
        self.hang = threading.Event()
        """Until this is set a request for `/hang` (or an answer that waits for it) is not answered."""

    def answer(self, method: str, path: str, form: dict[str, str], headers: dict[str, str]) -> Answer:
        self.asked.append((method, path, form, headers))
        given = self.answers.get(form.get("Action", "")) or self.answers.get(path)
        if given is not None:
            return given if isinstance(given, tuple) else given(form)
        if path == "/latest/api/token":
            return (200, "IMDS") if method == "PUT" else (405, "")
        if path.startswith("/latest/meta-data/"):
            if headers.get("x-aws-ec2-metadata-token") != "IMDS":
                return 401, ""
            keys = {"AccessKeyId": "ASIAINSTANCE", "SecretAccessKey": "inst", "Token": "tok", "Expiration": later(), "Code": "Success"}
            return 200, "director" if path.endswith("/security-credentials/") else json.dumps(keys)
        if path == "/container":
            return 200, json.dumps(
                {"AccessKeyId": f"ASIA{headers.get('authorization', '')}", "SecretAccessKey": "c", "Token": "t", "Expiration": later()})
        if path == "/federation/credentials":
            ends = int((time.time() + 3600) * 1000)
            return 200, json.dumps({"roleCredentials": {
                "accessKeyId": "ASIASSO", "secretAccessKey": "sso-secret", "sessionToken": "sso-session", "expiration": ends}})
        if form.get("Action", "").startswith("AssumeRole"):
            return 200, sts(form["Action"])
        return 404, "nothing here"


def playing(pem: Path | None = None) -> AbstractContextManager[Identity]:
    """The server, until the block ends; over TLS with this certificate and key."""
    return answering(Identity, pem)
