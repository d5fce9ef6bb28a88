"""One session with a vCenter for all threads: login, calls under the limits, a new login when it ended, and files by HTTP.

The SOAP stub below pyVmomi's objects is ours, so that each call passes one place, where it is counted, limited, explained and tried again
by its kind. Source: CPI contract, sections 4.2, 5 and 10.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import ssl
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import requests
from libcloud.compute.drivers.vsphere import VSphereNodeDriver
from pyVmomi import pbm, vim, vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter, StubAdapterBase
from requests.adapters import HTTPAdapter

from cpis.cloud.calls import Caller
from cpis.cloud.drivers import PerThread
from cpis.cloud.faults import MALFORMED, by_status
from cpis.cloud.limits import Rate, shared
from cpis.cloud.text import first_line
from cpis.contract import CpiError, Denied, Unavailable
from cpis.vsphere.address import Address, newest_version, trust
from cpis.vsphere.errors import NOT_AUTHENTICATED, NotSoap, busy, explain, of_page

CALL_SECONDS = 120.0
SDK, PBM = "/sdk", "/pbm"
_PAGE = 4096
_PBM_VERSION = "pbm.version.version11"  # vSphere 6.5
# vCenter documents no limit; these keep a director from being what others notice.
FAMILIES: Mapping[str, Rate] = {"read": Rate(200.0, 400.0), "change": Rate(50.0, 200.0)}
# What may be asked twice without harm; all others are tried again only when they never left.
_REPEATABLE = (
    "Retrieve", "Continue", "Find", "Query", "Search", "CurrentTime", "CreateImportSpec", "HttpNfcLeaseProgress", "Pbm", "HasPrivilege",
    "FetchUserPrivilege", "Login", "PowerOffVM", "Destroy",
)
_BEFORE_LOGIN = ("RetrieveServiceContent", "Login")

log = logging.getLogger("cpis")


class Stream(Protocol):
    """What is sent while it is read; its length is what is still to come."""

    def __len__(self) -> int: ...
    def read(self, size: int = -1, /) -> bytes: ...


class Driver(VSphereNodeDriver):
    """Libcloud's driver on our stub: `connection` is the ServiceInstance, and Libcloud's own methods work on it.

    Libcloud's constructor (3.9.1, compute/drivers/vsphere.py) hides the reason of a failed login, can fall back to none when told so,
    has no time limit, and keeps each session for ever in an `atexit` list.
    """

    def __init__(self, host: str, stub: StubAdapterBase) -> None:
        self.host = host
        self.connection: Any = vim.ServiceInstance("ServiceInstance", stub)


class Session:
    """`credentials` are user and password. `timeout` is for one call, in seconds. `log_calls` logs their names, never what they carry.

    Each thread has an adapter and connections of its own; all share one login, since vCenter limits sessions. Safe to use
    from many threads.
    """

    def __init__(
        self, address: Address, credentials: tuple[str, str], *, ca_cert: str = "", timeout: float = CALL_SECONDS, log_calls: bool = False,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self.credentials = credentials
        self._context = trust(ca_cert) if address.secure else None
        self._timeout = timeout
        self._log_calls = log_calls
        self.clock, self.sleep = clock, sleep
        limiter = shared(f"vsphere {address.url} {credentials[0]}", FAMILIES, clock=clock, sleep=sleep)
        self.call = Caller(limiter, explain, renew=self._renew, clock=clock, sleep=sleep)
        self._lock = threading.RLock()
        self._count_lock = threading.Lock()
        self._cookie = ""
        self._used = threading.local()
        self._version = ""
        self._adapters = {path: PerThread(partial(self._adapter, path), lambda adapter: adapter.DropConnections()) for path in (SDK, PBM)}
        self._clients = PerThread(self._client, lambda client: client.close())
        self.counts: Counter[str] = Counter()
        self.indexes = True
        self._driver: Driver | None = None
        self._content: Any = None
        self._storage: Any = None

    # Login

    @property
    def driver(self) -> Driver:
        """Libcloud's driver in this session. The first time asks for the API version. Raises Denied, Unavailable."""
        with self._lock:
            if self._driver is None:
                self._version = self.call("vimServiceVersions.xml", self._negotiated)
                self._driver = Driver(self.address.host, _Stub(self._version, self, SDK))
            return self._driver

    @property
    def content(self) -> Any:
        """vCenter's ServiceContent: its managers, asked for once. Raises Denied, Unavailable."""
        with self._lock:
            if self._content is None:
                self._content = self.driver.connection.RetrieveContent()
            return self._content

    @property
    def storage(self) -> Any:
        """The ServiceContent of storage policies, an API of its own in the same session. Raises Denied, Unavailable."""
        with self._lock:
            if self._storage is None:
                self.log_in()
                self._storage = pbm.ServiceInstance("ServiceInstance", _Stub(_PBM_VERSION, self, PBM)).PbmRetrieveServiceContent()
            return self._storage

    def log_in(self) -> None:
        """Log in when there is no session. Raises Denied, Unavailable."""
        with self._lock:
            if not self._cookie:
                self.content.sessionManager.Login(*self.credentials, None)
                self._cookie = self._adapters[SDK].get().cookie

    def _renew(self, error: Denied) -> bool:
        """Log in again when `error` says that the session is over; another thread may have done it meanwhile."""
        if error.code != NOT_AUTHENTICATED or getattr(self._used, "renewing", False):
            return False
        self._used.renewing = True  # else a login that is answered in the same way would be renewed by another
        try:
            with self._lock:
                if self._cookie == getattr(self._used, "cookie", ""):
                    self._cookie = ""
                self.log_in()
        finally:
            self._used.renewing = False
        return True

    def close(self) -> None:
        """Log out, as far as vCenter answers, since sessions are limited there. The next call logs in again."""
        with self._lock:
            if self._cookie and self._content is not None:
                adapter = self._adapters[SDK].get()
                adapter.cookie = self._cookie
                manager = vim.SessionManager(self._content.sessionManager._moId, adapter)
                try:
                    manager.Logout()  # an idle session ends by itself, should this fail
                except (vmodl.MethodFault, CpiError, NotSoap, OSError, http.client.HTTPException) as error:
                    log.info("logging out of vCenter failed: %s", type(error).__name__)
            self._cookie, self._content, self._driver, self._storage = "", None, None, None
            for adapters in self._adapters.values():
                adapters.close()
            self._clients.close()

    # Calls

    def invoke(self, mo: Any, info: Any, args: Any, outer: _Stub) -> Any:
        """One SOAP call of a managed object: its answer. Raises CpiError."""
        name = info.wsdlName

        def send() -> Any:
            adapter = self._adapters[outer.path].get()
            adapter.requestContext = {"vcSessionCookie": self._bare_cookie} if outer.path == PBM else None
            adapter.cookie = "" if name in _BEFORE_LOGIN else self._cookie
            self._used.cookie = adapter.cookie
            self._count(name)
            status, answer = adapter.InvokeMethod(mo, info, args, outer)
            if status == 200:
                if answer is None and name.endswith("_Task"):
                    raise Unavailable(f"{name}: vCenter answered without a task", code=MALFORMED)
                if _unseen(answer):
                    raise Denied(f"{name}: the session is not authenticated", code=NOT_AUTHENTICATED)
                return answer
            if isinstance(answer, Exception):
                raise answer
            raise Unavailable(f"{name}: vCenter answered {status} without a fault", code=str(status))

        if name not in _BEFORE_LOGIN and not self._cookie:
            self.log_in()
        repeatable = name.startswith(_REPEATABLE)
        return self.call(name, send, family="read" if repeatable else "change", repeatable=repeatable, also=busy)

    def _count(self, name: str) -> None:
        if self._log_calls:
            log.info("vCenter: %s", name)
        with self._count_lock:
            self.counts[name] += 1

    @property
    def _bare_cookie(self) -> str:
        return self._cookie.partition(";")[0].partition("=")[2].strip('"')

    def _adapter(self, path: str) -> Any:
        port = self.address.port if self.address.secure else -self.address.port
        version = self._version if path == SDK else _PBM_VERSION
        adapter = SoapStubAdapter(
            self.address.host, port, path=path, version=version, sslContext=self._context, httpConnectionTimeout=self._timeout,
            poolSize=1)
        adapter.scheme = _Secure if self.address.secure else _Plain
        return adapter

    def _negotiated(self) -> str:
        if self._context is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.address.host, self.address.port, timeout=self._timeout, context=self._context)
        else:
            connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=self._timeout)
        self._count("vimServiceVersions.xml")
        with contextlib.closing(connection):
            connection.request("GET", "/sdk/vimServiceVersions.xml")
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != 200:
            raise by_status("vimServiceVersions.xml", answer.status, body.decode(errors="replace"), dict(answer.getheaders()))
        return newest_version(body)

    # Files

    def put_file(self, datacenter: str, datastore: str, path: str, data: bytes) -> None:
        """Write a small file to a datastore; an old one is replaced. Raises CpiError."""
        self.http("PUT", self._folder(datacenter, datastore, path), data=data)

    def get_file(self, datacenter: str, datastore: str, path: str) -> bytes:
        """What a small file on a datastore holds. Raises NotFound."""
        return self.http("GET", self._folder(datacenter, datastore, path)).content

    def _folder(self, datacenter: str, datastore: str, path: str) -> str:
        query = urllib.parse.urlencode({"dcPath": datacenter, "dsName": datastore})
        return f"{self.address.url}/folder/{urllib.parse.quote(path)}?{query}"

    def http(
        self, method: str, url: str, *, data: bytes | Stream | None = None, headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> requests.Response:
        """One HTTP request with this session's cookie. A stream is sent once; all else again while that can help. Raises CpiError."""
        what = f"{method} {urllib.parse.urlsplit(url).path}"

        def send() -> requests.Response:
            self._used.cookie = self._cookie
            self._count(method)
            cookie = {"Cookie": self._cookie.partition(";")[0]}
            answer = self._clients.get().request(
                method, url, data=data, headers={**cookie, **(headers or {})}, timeout=timeout or self._timeout)
            if answer.status_code == 401:
                raise Denied(f"{what}: vCenter does not know the session", code=NOT_AUTHENTICATED)
            if answer.status_code >= 400:
                raise of_page(what, answer.status_code, answer.text, answer.headers)
            if b"<html" in answer.content[:_PAGE].lower():
                raise NotSoap(first_line(answer.text))
            return answer

        if not self._cookie:
            self.log_in()
        repeatable = data is None or isinstance(data, bytes)
        return self.call(what, send, family="read", repeatable=repeatable, also=busy if repeatable else None)

    def _client(self) -> requests.Session:
        client = requests.Session()
        client.trust_env = False  # proxies of the environment are not for the own vCenter, as pyVmomi's connections know none
        if self._context is not None:
            client.mount("https://", _Verified(self._context))
        return client


def _unseen(answer: Any) -> bool:
    """Whether properties are left out since the session is over: some servers answer a collection so, as if nothing were there."""
    if not isinstance(answer, vmodl.query.PropertyCollector.RetrieveResult):
        return False
    lacks = (lack for item in answer.objects or [] for lack in item.missingSet or [])
    return any(isinstance(lack.fault, vim.fault.NotAuthenticated) for lack in lacks)


class _Stub(StubAdapterBase):  # type: ignore[misc]
    """Hands the calls of managed objects to a session. Reading an attribute would be a request of its own: that is refused."""

    def __init__(self, version: str, session: Session, path: str) -> None:
        super().__init__(version=version)
        self.path = path
        self._session = session

    def InvokeMethod(self, mo: Any, info: Any, args: Any) -> Any:
        return self._session.invoke(mo, info, args, self)

    def InvokeAccessor(self, mo: Any, info: Any) -> Any:
        raise AssertionError(f"{info.name} of {mo}: properties are read together, by the property collector")


class _OnlySoap(http.client.HTTPConnection):
    """A connection that does not take a page for people for an answer: pyVmomi reads one as an answer with nothing in it."""

    def getresponse(self) -> http.client.HTTPResponse:
        answer = super().getresponse()
        if answer.status in (200, 500) and answer.getheader("Content-Type", "").startswith("text/html"):
            raise NotSoap(first_line(answer.read(_PAGE).decode(errors="replace")))
        return answer


class _Plain(_OnlySoap):
    """Without TLS, for simulators on this computer."""


class _Secure(_OnlySoap, http.client.HTTPSConnection):
    """With TLS."""


class _Verified(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
