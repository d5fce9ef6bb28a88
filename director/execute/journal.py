"""A row before each effect on a cloud.

Intent is written (durably, with a token that finds the effect again and everything needed to repeat it), then the cloud is
called, then the outcome and what it changes in our records are written in one transaction. Whatever the moment at which
the director dies, an open row says what may exist: `recover.py` finishes it or takes it back. Arguments are sealed,
since cloud properties may hold secrets. Source: CPI contract, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tenacity

from cpis import contract
from director.execute.clouds import translated
from director.state import Store
from director.state.journal import JournalRow
from director.variables import Vault

Result = TypeVar("Result")

TRIES = 5
LONGEST_WAIT_SECONDS = 30.0


class Journal:
    """Effects of one task on clouds. `sleep` takes seconds and is used between tries of a temporary error."""

    def __init__(self, store: Store, vault: Vault, sleep: Callable[[float], None], task_id: int | None = None) -> None:
        self._store = store
        self._vault = vault
        self._sleep = sleep
        self._task_id = task_id

    def perform(
        self, effect: str, token: str, deployment: str, what: str, arguments: Mapping[str, Any],
        act: Callable[[], Result], record: Callable[[Result], None],
    ) -> Result:
        """Do one effect. `what` says it in an operator's words; `record` runs in the transaction that closes the row.

        A token whose row is open is taken up again (CPIs answer alike for a token). Raises CloudError; the row stays open when the
        outcome is unknown (the cloud was Unavailable), so that recovery looks.
        """
        row = self._store.journal.begin(
            effect, token, task_id=self._task_id, deployment=deployment, arguments={"sealed": self._vault.seal(dict(arguments))},
        )
        with translated(what, str(arguments.get("cpi") or "")):
            try:
                result = self._tried(act)
            except contract.CpiError as error:
                if not isinstance(error, contract.Unavailable):
                    self._store.journal.failed(row.id, error.message)
                raise
        with self._store.transaction(durable=True):
            record(result)
            self._store.journal.done(row.id, {"what": what})
        return result

    def arguments(self, row: JournalRow) -> dict[str, Any]:
        """What `perform` was given."""
        return dict(self._vault.unseal(row.arguments["sealed"]))

    def token_of(self, effect: str, cid: str, deployment: str = "") -> str:
        """The token of an effect on that resource which a director that died left open; '' when there is none."""
        rows = (row for row in self._store.journal.open(deployment=deployment) if row.effect == effect)
        return next((row.token for row in rows if self.arguments(row)["cid"] == cid), "")

    def _tried(self, act: Callable[[], Result]) -> Result:
        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_seconds if isinstance(error, contract.CpiError) else None
            return asked if asked is not None else min(LONGEST_WAIT_SECONDS, 0.5 * 2.0**state.attempt_number)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, contract.CpiError) and error.temporary),
            stop=tenacity.stop_after_attempt(TRIES), wait=wait, sleep=self._sleep, reraise=True,
        )
        return retrying(act)
