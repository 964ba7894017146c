"""A benchmark's cell in whole replicas and nodes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from simulations.traces import traces_folder
from simulations.whole_bound_cell import whole

HAVE = pytest.mark.skipif(
    not any(traces_folder().glob("azfunc_bursty__*")),
    reason="the shared traces are not on this machine (LAGCAST_TRACES)",
)


@HAVE
@pytest.mark.parametrize("scenario", ["pods", "nodes"])
def test_what_is_proven_lies_between_the_linear_bound_and_a_schedule(scenario: str) -> None:
    arguments = ["--scenario", scenario, "--step", "300", "--hours", "2", "--seconds", "2", "-o", "json"]
    done = CliRunner().invoke(whole, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert 0 < found["linear"] * 0.999 <= found["proven"] <= found["schedule"]
    assert found["gap"] == pytest.approx(1 - found["proven"] / found["schedule"])
    if scenario == "nodes":  # nodes are paid whole
        assert found["schedule"] > found["linear"]


def test_a_trace_that_is_not_of_the_benchmark_is_refused() -> None:
    done = CliRunner().invoke(whole, ["--trace", "nowhere"])
    assert done.exit_code == 2
    assert "--trace: found nowhere; allowed: azfunc_diurnal, " in done.stderr
