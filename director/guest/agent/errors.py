"""What an action raises to answer with an error."""

from __future__ import annotations


class ActionError(Exception):
    """The action failed; the message is shown to the operator. `output` is what a command or script said last."""

    kind = "failed"

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.output = output


class ScriptFailed(ActionError):
    """A script of a job or a package failed."""

    kind = "script_failed"


class NotFetched(ActionError):
    """A blob's URL was not reached, or answered otherwise: the director can send the blob itself."""

    kind = "not_fetched"


class InvalidArguments(ActionError):
    """The request's arguments are wrong."""

    kind = "invalid"


class Cancelled(ActionError):
    """The director took the request back, or went away."""

    kind = "cancelled"

    def __init__(self, message: str = "Script was cancelled by user request", output: str = "") -> None:
        super().__init__(message, output)
