"""What an action is."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple

from ..errors import InvalidArguments
from ..host import Call


class Action(NamedTuple):
    """`run(call, **arguments)` and its nature.

    asynchronous: may take long; runs alone, in order. loggable: arguments and errors hold no secret. cancellable: looks at
    `call.cancelled`; others end as they would.
    """

    run: Callable[..., Any]
    asynchronous: bool = False
    loggable: bool = True
    cancellable: bool = False

    def call(self, call: Call, arguments: Dict[str, Any]) -> Any:
        """Run it. Raises InvalidArguments when the arguments do not fit."""
        if self.cancellable:
            call.check()
        try:
            return self.run(call, **arguments)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # from inside the action
            raise InvalidArguments("Arguments do not fit the action: %s" % error) from error
