"""The simulator against real consumers on a real broker: the same load, service times and replica schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.lab.believed import SPEC, compare, run_in_lab, told
from simulations.lab.lab import Lab

pytestmark = pytest.mark.lab

WITHIN = 0.2  # the aim is 0.1
STOPPED = 4.0  # s that one rebalance may stop a consumer; seen were up to 3.0 in two


def test_lag_and_latency_are_what_real_consumers_show(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = compare(run_in_lab(lab, tmp_path))
    with capsys.disabled():
        print("\n  " + told(compared).replace("\n", "\n  "), end="")  # noqa: T201 - the figures that this test is for
    # A backlog that built up, drained under another count, and was gone: else there is nothing to compare.
    assert compared.lag.max() > 300
    assert compared.lag[-5:].max() < 30
    assert len(set(compared.counts.tolist())) >= 3
    # What the simulator was told is what the lab was asked for: a wrong one could explain any lag.
    assert compared.service_time == pytest.approx(SPEC.service_time, rel=WITHIN)
    assert 0.0 <= compared.pause < STOPPED * compared.joins
    assert compared.lag_difference < WITHIN
    assert abs(compared.area_difference) < WITHIN
    assert abs(compared.p99_difference) < WITHIN
