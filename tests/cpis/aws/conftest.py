"""The stand-in of AWS, one for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_requests import Time

from cpis.aws import AwsCpi
from cpis.conformance.bench import Bench
from cpis.conformance.clouds.aws import AwsStandIn, start
from cpis.conformance.standin import Skipped


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsStandIn]:
    try:
        stand_in = start(tmp_path_factory.mktemp("aws"))
    except Skipped as reason:
        pytest.skip(str(reason))
    with stand_in:
        yield stand_in


@pytest.fixture
def cpi(aws: AwsStandIn) -> Iterator[AwsCpi]:
    """A CPI for it, in a cloud that works."""
    aws.script()
    aws.settings(page=1000, pending=0, invisible=0)
    cpi = AwsCpi(aws.config)
    yield cpi
    cpi.close()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def quick(aws: AwsStandIn, cpi: AwsCpi, time: Time) -> Iterator[AwsCpi]:
    """A CPI for which waiting takes no time."""
    made = AwsCpi(aws.config, clock=time.clock, sleep=time.sleep)
    yield made
    made.close()


@pytest.fixture
def bench(aws: AwsStandIn, quick: AwsCpi) -> Iterator[Bench]:
    site = aws.site()
    bench = Bench(quick, site, quick.create_stemcell("", site.stemcell_properties, "conformance-stemcell"))
    aws.forget_requests()
    yield bench
    aws.script()
    aws.settings(page=1000, pending=0, invisible=0, dies={}, denied=[])
    assert not bench.clean()
    assert not aws.resources(), "something leaked"
