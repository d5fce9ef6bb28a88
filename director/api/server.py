"""HTTPS for the application: one socket, RSA certificate, TLS 1.2 and 1.3."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading

import uvicorn
from starlette.types import ASGIApp

from director.api.credentials import Credentials
from director.errors import CaissonError, UsageError

START_SECONDS = 10.0
GRACE_SECONDS = 5


class HttpsServer:
    """Serves from a thread of its own between `start` and `stop`; `port` 0 takes a free one, `address` tells which."""

    def __init__(self, app: ASGIApp, credentials: Credentials, host: str, port: int) -> None:
        """Takes the port at once. Raises UsageError when it is taken or the address is not this computer's."""
        self._socket = _listen(host, port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        settings = uvicorn.Config(
            app,
            ssl_certfile=str(credentials.certificate),
            ssl_keyfile=str(credentials.key),
            # The two suites that the `bosh` command offers with TLS 1.2; TLS 1.3 has its own.
            ssl_ciphers="ECDHE+AESGCM",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ws="none",
            http="h11",
        )
        settings.load()
        if settings.ssl is not None:
            settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._serve, name="api", daemon=True)
        self._ready = threading.Event()

    def start(self) -> None:
        """Serve from now on. Raises CaissonError when it does not begin in time."""
        self._thread.start()
        waited = 0.0
        while not self._server.started:
            if not self._thread.is_alive() or waited > START_SECONDS:
                raise CaissonError("The API did not start", suggestion="The director's log says why.")
            self._ready.wait(0.01)
            waited += 0.01

    def stop(self) -> None:
        """Let requests under way end, then close."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(GRACE_SECONDS + 5)
        with contextlib.suppress(OSError):
            self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"Port {port} of {host} is taken", suggestion="Is a director running already? Choose another port with --port."
            ) from error
        raise UsageError(
            f"The address {host}:{port} cannot be listened on: {error.strerror}", suggestion="Choose another with --host and --port."
        ) from error
    return made
