"""What tests of faults on AWS share."""

from __future__ import annotations

import datetime

from cpis.conformance.clouds.aws import AwsStandIn


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = datetime.datetime.now().timestamp()
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def actions(aws: AwsStandIn) -> list[str]:
    """What was asked of the stand-in since it forgot its requests."""
    return [action for _, action in aws.requests()]
