"""The fixed count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scaler.errors import ConfigError
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.static import make, static

MakeService = Callable[..., Service]


@pytest.mark.parametrize(
    ("options", "count", "first"),
    [
        ({"replicas": "7"}, 7, Reason.NO_FORECAST),
        ({"share": "0.25"}, 13, Reason.NO_FORECAST),  # of 50, rounded up
        ({"share": "0.2"}, 10, Reason.NO_FORECAST),
        ({}, 50, Reason.NO_FORECAST),
        ({"replicas": "80"}, 50, Reason.MAX_REPLICAS),
        ({"replicas": "1"}, 2, Reason.MIN_REPLICAS),
    ],
)
def test_the_count_whatever_comes(
    service: MakeService, cluster: Callable[..., Any], options: dict[str, str], count: int, first: Reason
) -> None:
    wanted = service(min_replicas=2, max_replicas=50)
    one = cluster(make(options)([wanted]), service=wanted, count=5)
    decisions = one.run([0.0, 500.0, 3.0])
    assert [d.desired for d in decisions] == [count] * 3
    assert decisions[0].reason is first
    assert Reason.STEADY in decisions[1].reasons


@pytest.mark.parametrize(
    ("options", "piece"),
    [
        ({"replicas": "3", "share": "0.5"}, "replicas: found beside share; allowed: one of them"),
        ({"replicas": "-1"}, "replicas: found -1; allowed: at least 0"),
        ({"share": "1.5"}, "share: found 1.5; allowed: more than 0, at most 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], piece: str) -> None:
    with pytest.raises(ConfigError) as refused:
        static(options)
    assert piece in str(refused.value)
