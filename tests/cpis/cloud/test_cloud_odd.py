"""What reading a cloud's odd answers raises is an error of the contract, in each CPI."""

from __future__ import annotations

import types
from collections.abc import Iterator

import pytest

from cpis.cloud.faults import MALFORMED
from cpis.cloud.odd import explained
from cpis.contract import Conflict, Unavailable
from cpis.registry import load
from tests.cpis.test_dead_endpoints import CLOUDS, config


@explained
class Cloud:
    def ask(self, answer: dict[str, str]) -> str:
        """The name."""
        return answer["name"]

    def tell(self, answers: list[dict[str, str]]) -> Iterator[str]:
        for answer in answers:
            yield answer["name"]

    def refuse(self) -> None:
        raise Conflict("in use")

    def _inner(self) -> str:
        return str({}["name"])


def test_an_answer_that_lacks_something_is_told_with_the_method() -> None:
    assert Cloud().ask({"name": "x"}) == "x"
    with pytest.raises(Unavailable, match=r"ask: the cloud's answer lacks something .* \(KeyError: 'name'\)") as caught:
        Cloud().ask({})
    assert caught.value.code == MALFORMED
    assert caught.value.suggestion
    assert Cloud.ask.__doc__ == "The name."


def test_one_in_a_row_of_answers_is_told_after_those_before_it() -> None:
    answers = Cloud().tell([{"name": "x"}, {}])
    assert next(answers) == "x"
    with pytest.raises(Unavailable, match="tell: "):
        next(answers)


def test_errors_of_the_contract_and_what_is_private_stay_as_they_are() -> None:
    with pytest.raises(Conflict, match="in use"):
        Cloud().refuse()
    with pytest.raises(KeyError):
        Cloud()._inner()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_each_cpi_is_so(cloud: str) -> None:
    cpi = load(cloud, config(cloud, "http://127.0.0.1:9"))
    methods = [method for name, method in vars(type(cpi)).items() if isinstance(method, types.FunctionType) and not name.startswith("_")]
    assert len(methods) >= 20
    assert [method.__name__ for method in methods if not hasattr(method, "__wrapped__")] == []
    cpi.close()
