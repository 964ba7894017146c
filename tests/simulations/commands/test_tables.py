"""What stands for a figure that is not there, and for one that has no end."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from simulations.commands.compare import _figures
from simulations.commands.tables import as_csv, as_json, number, rows
from simulations.compare import Job, Outcome
from tests.simulations.comparing.made import measures


def outcome(*p99: float) -> Outcome:
    return Outcome(Job("hpa_rate"), tuple(replace(measures(0.5, 1.0), p99=value) for value in p99))


def test_a_latency_without_end_is_not_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    table = rows(outcome(math.inf, math.nan, 2.5))
    as_json(table)
    assert [row["p99"] for row in json.loads(capsys.readouterr().out)] == ["never", None, 2.5]
    as_csv(table)
    head, *lines = (line.split(",") for line in capsys.readouterr().out.splitlines())
    assert [line[head.index("p99")] for line in lines] == ["never", "", "2.5"]
    assert [number(row) for row in (math.inf, math.nan, None, 2.5)] == ["never", "-", "-", "2.5"]


def test_the_slowest_of_several_services_is_shown_and_never_is_slowest() -> None:
    assert _figures(outcome(2.5, math.inf, math.nan))["p99"] == "never"
    assert _figures(outcome(2.5, math.nan))["p99"] == 2.5
    assert _figures(outcome(math.nan))["p99"] is None
