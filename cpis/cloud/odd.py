"""Answers that are not as they should be: what reading them raises becomes an error of the contract. Source: CPI contract, row 36."""

from __future__ import annotations

import functools
import logging
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from cpis.cloud.faults import unexplained

# What code that reads answers raises when they lack something, or have it in another form.
_ODD = (KeyError, IndexError, TypeError, AttributeError, ValueError, StopIteration)
Cloud = TypeVar("Cloud", bound=type)

log = logging.getLogger("cpis")


def explained(cloud: Cloud) -> Cloud:
    """The class of a CPI, whose public methods raise Unavailable for answers in another form; those that yield do so while they do."""
    for name, method in list(vars(cloud).items()):
        if isinstance(method, types.FunctionType) and not name.startswith("_"):
            setattr(cloud, name, _explained(method))
    return cloud


def _explained(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            answer = method(*args, **kwargs)
        except _ODD as error:
            log.debug("%s: an answer of the cloud is odd", method.__name__, exc_info=True)
            raise unexplained(method.__name__, error) from error
        return _told(method.__name__, answer) if isinstance(answer, types.GeneratorType) else answer

    return told


def _told(name: str, answers: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from answers
    except _ODD as error:
        raise unexplained(name, error) from error
