"""`lagcast compare`: sweeps, the best in hindsight, the bound; the same wherever the runs are made."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from simulations.commands.compare import _ladders, compare
from simulations.policies.catalog import entries
from tests.simulations.commands.conftest import document

Call = Callable[..., Result]


@pytest.fixture
def arguments(load: Path, resource: Path, tmp_path: Path) -> list[Any]:
    return [load, "--config", resource, "--score", "20m", "--out", tmp_path / "out"]


def test_each_policy_at_its_best_beside_the_bound(call: Call, arguments: list[Any], tmp_path: Path) -> None:
    policies = ("--policy", "hpa_rate", "--policy", "static")
    found = document(call(compare, *arguments, *policies, "--workers", 1, "-o", "json"))
    assert list(found["policies"]) == ["hpa_rate", "static"]
    assert found["runs"] == sum(len(one["runs"]) for one in found["policies"].values())
    least = {one["share"]: one["gpu_hours"] for one in found["bound"]}
    assert 0 < least[0.99] <= least[0.999]
    for one in found["policies"].values():
        best = one["best"]["0.99"]
        assert best["attainment"] >= 0.99
        assert best["gpu_hours"] == min(r["gpu_hours"] for r in one["runs"] if r["attainment"] >= 0.99)
        assert best["times_bound"] == pytest.approx(best["gpu_hours"] / least[0.99])
        # 20 minutes are short: what the bound pays for starting weighs more than here.
        assert best["times_bound"] > 0.9
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_results_do_not_depend_on_where_runs_are_made(call: Call, arguments: list[Any]) -> None:
    what = ("--policy", "hpa_rate", "--policy", "lagcast", "-o", "json")
    here, there = (json.loads(call(compare, *arguments, *what, "--workers", n).stdout) for n in (1, 2))
    assert here == there


def test_a_report_and_rows_of_every_run(call: Call, arguments: list[Any], tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    options = ("--policy", "hpa_rate", "--policy-option", "hpa_rate.utilization=0.8", "--workers", 1)
    result = call(compare, *arguments, *options, "--report", page, "-o", "csv")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["policy"], row["options"], row["on_frontier"]) == ("hpa_rate", "utilization=0.8", "True")
    assert "hpa_rate" in page.read_text()


def test_a_table_says_what_was_not_reached(call: Call, arguments: list[Any]) -> None:
    options = ("--policy", "hpa_rate", "--policy-option", "hpa_rate.utilization=3", "--workers", 1)
    assert "not reached" in call(compare, *arguments, *options).stdout


def test_all_are_compared_that_this_simulation_shows_what_they_need() -> None:
    assert [ladder[0].policy for ladder in _ladders((), ())] == [
        name for name in entries() if name not in ("aiad", "lagcast_shared")
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy", "psychic"), "policy 'psychic': no such policy"),
        (("--policy", "aiad"), "policy 'aiad' needs end-to-end latency"),
        (("--policy-option", "utilization=1"), "write POLICY.NAME=VALUE"),
        (("--policy", "static", "--policy-option", "static.mood=1"), "found option mood"),
        (("--workers", "1", "--ray-address", "127.0.0.1:1"), "allowed: only with executor ray"),
    ],
)
def test_wrong_usage(call: Call, arguments: list[Any], options: tuple[str, ...], said: str) -> None:
    result = call(compare, *arguments, *options)
    assert result.exit_code == 2
    assert said in result.stderr
