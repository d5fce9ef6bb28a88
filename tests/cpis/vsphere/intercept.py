"""Coming between a CPI and its vCenter, call by call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from cpis.vsphere import VsphereCpi

Call = Callable[[], Any]


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
        del cpi.session.invoke


def passed(mo: Any, args: Any, call: Call) -> Any:
    """As if nobody were between."""
    return call()
