from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

# Machines in memory are those of the executor's tests.
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "execute"))

import corpus_director
import corpus_kit


@pytest.fixture(scope="module")
def director(tmp_path_factory: pytest.TempPathFactory) -> Iterator[corpus_director.Director]:
    """With the stub releases, stemcell and a cloud config that cf-deployment needs.

    It listens to all loggers, so it goes with its module.
    """
    if not corpus_kit.CORPUS.exists():
        pytest.skip("the corpus is not beside the project: ../shared/corpus is missing")
    folder = tmp_path_factory.mktemp("corpus")
    with corpus_director.running(folder) as made:
        corpus_kit.furnish(made, folder)
        yield made
