"""Coming between a CPI and its vCenter, call by call; requests for machines, and what became of them."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from cpis.contract import VmRequest
from cpis.vsphere import VsphereCpi
from cpis.vsphere.inventory import read

Call = Callable[[], Any]
HUSH = "the private host key"


@contextlib.contextmanager
def intercepted(cpi: VsphereCpi, name: str, instead: Callable[[Any, Any, Call], Any]) -> Iterator[list[Any]]:
    """While inside, calls of the SOAP method `name` are answered by `instead(object, arguments, call)`. Yields the arguments of all."""
    seen: list[Any] = []
    original = cpi.session.invoke

    def invoke(mo: Any, info: Any, args: Any, outer: Any) -> Any:
        if info.wsdlName != name:
            return original(mo, info, args, outer)
        seen.append(args)
        return instead(mo, args, lambda: original(mo, info, args, outer))

    cpi.session.invoke = invoke  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        cpi.session.invoke = original  # type: ignore[method-assign]


def passed(mo: Any, args: Any, call: Call) -> Any:
    """As if nobody were between."""
    return call()


def with_properties(request: VmRequest, **properties: Any) -> VmRequest:
    return dataclasses.replace(request, cloud_properties={**request.cloud_properties, **properties})


def another(request: VmRequest, made: list[str], site: Any, number: int = 1) -> VmRequest:
    token = f"vm-{uuid.uuid4()}"
    made.append(token)
    return dataclasses.replace(request, token=token, networks=site.networks(number))


def facts(cpi: VsphereCpi, cid: str, *paths: str) -> dict[str, Any]:
    return read(cpi.session, cpi._machines.ref(cid), *paths)


def options(cpi: VsphereCpi, cid: str) -> dict[str, str]:
    return {option.key: option.value for option in facts(cpi, cid, "config.extraConfig")["config.extraConfig"]}


def clone_spec(arguments: list[Any]) -> Any:
    return arguments[0][2]
