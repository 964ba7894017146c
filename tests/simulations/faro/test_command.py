"""`python -m simulations.faro`, and what it comes to on the real benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from simulations.faro import cells_of, faro
from simulations.faro_input import Published, arrivals, faro_folder, published_mean, read_jobs, read_published
from simulations.faro_run import READINGS, TOTALS, FaroResult, FaroRun, faro_setting, run_faro
from simulations.faro_tables import evaluation
from simulations.policies.catalog import entry
from simulations.request_level.run import simulate_requests

HAVE = pytest.mark.skipif(
    not (faro_folder() / "jobs.jsonl").is_file(), reason="the shared traces are not on this machine (LAGCAST_TRACES)"
)
HERE = ["--workers", "1"]  # in this process


def test_json_has_each_seed_beside_what_was_published(folder: Path) -> None:
    done = CliRunner().invoke(faro, ["--total", "32", "--seed", "7", "--seed", "9", "-o", "json", *HERE])
    assert done.exit_code == 0, done.output
    (cell,) = json.loads(done.stdout)
    assert (cell["policy"], cell["total"], cell["reading"]) == ("aiad", 32, "chosen")
    assert [run["seed"] for run in cell["runs"]] == [7, 9]
    assert all(run["requests"] == 4 * 1050 + 6000 for run in cell["runs"])
    shares = [run["missed"] for run in cell["runs"]]
    assert 0 < min(shares) < 1
    assert cell["missed"] == {"mean": pytest.approx(sum(shares) / 2), "least": min(shares), "most": max(shares)}
    assert cell["published"] == pytest.approx(0.15)
    assert cell["difference"] == pytest.approx(cell["missed"]["mean"] / 0.15 - 1)
    assert "faro: 100 %" in done.stderr


def test_a_table_says_how_the_setting_was_read(folder: Path) -> None:
    done = CliRunner().invoke(faro, ["--total", "40", "--seed", "7", "--sensitivity", *HERE])
    assert done.exit_code == 0, done.output
    for name, reading in READINGS.items():
        assert f"{name}: {reading.why}" in done.stdout
    assert "MISSED" in done.stdout


def test_any_policy_of_the_catalog(folder: Path) -> None:
    arguments = [
        "--policy",
        "rate_and_lag",
        "--policy-option",
        "factor=1.5",
        "--total",
        "36",
        "--seed",
        "1",
        "-o",
        "json",
    ]
    done = CliRunner().invoke(faro, [*arguments, *HERE])
    assert done.exit_code == 0, done.output
    (cell,) = json.loads(done.stdout)
    assert cell["published"] is None
    assert cell["runs"][0]["replicas"] > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--total", "9"], "9 is not in the range x>=10"),
        (["--policy", "magic"], "policy 'magic': no such policy"),
        (["--policy-option", "x=1"], "found option x; allowed: out_after"),
        (["--policy-option", "x"], "write NAME=VALUE"),
        (["--reading", "mine"], "'mine' is not one of 'chosen'"),
    ],
)
def test_wrong_usage_is_told_without_a_traceback(folder: Path, arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(faro, ["--seed", "7", *arguments, *HERE])
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_results_are_written_as_a_section_of_the_page(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n")
    arguments = ["--policy", "aiad", "--total", "32", "--seed", "7", "--write", str(page), *HERE]
    done = CliRunner().invoke(faro, arguments)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert text.startswith(
        "# Results\n\n<!-- begin faro -->\n## Faro's evaluation\n\nMade by `python -m simulations.faro"
    )
    assert "--policy aiad --total 32 --seed 7 --write docs/results.md`" in text
    assert "| 32 | AIAD | published, simulated | 2 | 15.00% | 10.00% | 20.00% |" in text
    assert "| 32 | AIAD | published, a real cluster | 1 | 40.00% | 40.00% | 40.00% |" in text
    refused = CliRunner().invoke(faro, [*arguments, "--sensitivity"])
    assert refused.exit_code == 2
    assert "--write: the page holds the reading 'chosen' alone" in refused.stderr
    assert page.read_text() == text


def test_the_best_of_the_published_policies_is_that_with_the_lowest_mean() -> None:
    def one(policy: str, missed: float, simulated: bool = True) -> Published:
        return Published(policy, simulated, 32, None, missed, missed, None)

    simulated = (("faro:a", 0.05), ("faro:b", 0.02), ("faro:b", 0.06), ("mark(x)", 0.14), ("oneshot", 0.4))
    real = (("faro_sum", 0.1), ("faro_sum_1", 0.3), ("faro_fair_2", 0.15))
    published = [one(*shown) for shown in simulated] + [one(*shown, simulated=False) for shown in real]
    ours = FaroResult(FaroRun("aiad", 32, 7), 100, 0.10001, 0.1, 0.0, 0.3, 1.0, 32.0, 5)
    assert evaluation([ours], published).lines == (
        ("32", "aiad", "here", "1", "10.01%", "10.01%", "10.01%"),  # rounded up
        ("32", "MArk", "published, simulated", "1", "14.00%", "14.00%", "14.00%"),
        ("32", "Faro, its best", "published, simulated", "2", "4.00%", "2.00%", "6.00%"),
        ("32", "Faro, its best", "published, a real cluster", "1", "15.00%", "15.00%", "15.00%"),
    )


def test_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGCAST_TRACES", str(tmp_path))
    done = CliRunner().invoke(faro, HERE)
    assert done.exit_code == 2
    assert f"{tmp_path}/faro/published_results.csv: cannot be read" in done.stderr


def test_the_total_is_never_exceeded_and_used_up_when_everybody_is_slow(folder: Path) -> None:
    jobs = read_jobs(folder / "jobs.jsonl")
    setting = faro_setting(jobs, 12, 3)
    policy = entry("aiad").make({})([one.service for one in setting.services])
    record = simulate_requests(setting, arrivals(jobs, 3), policy, seconds=600.0)
    granted = np.sum([s.granted for s in record.services], axis=0)
    assert granted.max() == 12
    assert min(int(s.granted.min()) for s in record.services) >= 1


@HAVE
@pytest.mark.parametrize("total", TOTALS)
def test_the_published_baseline_is_reproduced(total: int) -> None:
    """One seed of five; the whole table is the command's. More than a quarter away would want a reason."""
    result = run_faro(FaroRun("aiad", total, 24))
    published = published_mean(read_published(faro_folder() / "published_results.csv"), "aiad", total, {24})
    assert published is not None
    assert result.requests == 2_675_770
    assert result.missed == pytest.approx(published, rel=0.25)
    (cell,) = cells_of([result], read_published(faro_folder() / "published_results.csv"))
    assert cell.difference == pytest.approx(result.missed / published - 1)


@HAVE
@pytest.mark.parametrize("total", TOTALS)
def test_lagcast_misses_fewer_than_the_published_baselines(total: int) -> None:
    """One seed of five; the whole table is the command's."""
    result = run_faro(FaroRun("lagcast_shared", total, 24))
    published = read_published(faro_folder() / "published_results.csv")
    for policy in ("aiad", "mark(pred_max nhits)"):
        theirs = published_mean(published, policy, total, {24})
        assert theirs is not None
        assert result.missed < theirs
    assert result.replicas == pytest.approx(total, rel=0.01)
