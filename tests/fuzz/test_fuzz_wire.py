"""Whatever a director sends, an executable answers in the contract's form; whatever an executable answers, our CPI tells an error."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cpis.contract import CpiError, Login, Network, Uses, VmRequest
from cpis.fake import FakeCpi
from cpis.process import ProcessCpi
from cpis.process.run import Ended
from cpis.wire.methods import METHODS
from cpis.wire.server import Cloud, answer

LEAVES = st.none() | st.booleans() | st.integers(-2**40, 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["default", "type", "ip", "netmask", "prefix", "gateway", "dns", "bosh", "tags", "cpu", "ram", "range", "x"]), inner, max_size=5),
    max_leaves=12)
CONTEXT = st.dictionaries(st.sampled_from(["vm", "caisson", "agent", "faults", "limits", "latency", "vcenters"]), ANYTHING, max_size=2)
KNOWN = {"type": str, "message": str, "ok_to_retry": bool}


def check(got: dict[str, Any]) -> None:
    assert {"result", "error", "log"} == set(got)
    assert isinstance(got["log"], str)
    if got["error"] is not None:
        assert got["result"] is None
        assert all(isinstance(got["error"][key], kind) for key, kind in KNOWN.items())
    json.dumps(got)


@given(st.sampled_from(sorted(METHODS)), st.lists(ANYTHING, max_size=7), CONTEXT, st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=400, deadline=None)
def test_every_call_is_answered_in_form(method: str, arguments: list[Any], context: dict[str, Any], version: int | None) -> None:
    request = {"method": method, "arguments": arguments, "context": {"director_uuid": "d", **context}, "api_version": version}
    check(answer(json.dumps(request), Cloud("fake", lambda config: FakeCpi({**config, "latency": {}}))))


@given(st.text(max_size=200) | ANYTHING.map(json.dumps))
@settings(max_examples=200, deadline=None)
def test_every_text_is_answered_in_form(text: str) -> None:
    check(answer(text, Cloud("fake", FakeCpi)))


REQUEST = VmRequest(
    "vm-1", "a", "s", {}, (Network("default", ip="10.0.0.5", default=("gateway",)),), Login("caisson", "p", "h", "the-secret-word"))
CALLS: tuple[Any, ...] = (
    lambda cpi: cpi.info(), lambda cpi: cpi.create_vm(REQUEST), lambda cpi: cpi.has_vm("x"), lambda cpi: cpi.get_disks("x"),
    lambda cpi: cpi.attach_disk("x", "y"), lambda cpi: cpi.create_stemcell("", {}, "t"), lambda cpi: cpi.update_disk("x", 1, {}),
    lambda cpi: cpi.snapshot_disk("x", {}, "t"), lambda cpi: list(cpi.checks(Uses())), lambda cpi: cpi.owned(),
    lambda cpi: cpi.find("vm-1"),
)


@given(st.sampled_from(CALLS), ANYTHING, ANYTHING, st.booleans())
@settings(max_examples=400, deadline=None)
def test_every_answer_is_understood_or_told(call: Any, info: Any, result: Any, ours: bool) -> None:
    """No answer of an executable ends in anything but a result or an error of the contract."""
    def run(command: Any, text: str) -> Ended:
        told = result if json.loads(text)["method"] != "info" else {**info, "caisson": 1} if ours and isinstance(info, dict) else info
        return Ended(json.dumps({"result": told, "error": None, "log": ""}), "", 0)

    with contextlib.suppress(CpiError):
        call(ProcessCpi({"path": "/cpi"}, runner=run))
