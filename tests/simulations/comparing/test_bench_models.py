"""The default's loss over that of each trace's best library model: the same origins for all, and what is not known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from forecasting.backtest_models import MODELS
from forecasting.errors import BadSeries
from forecasting.guarded import InThisProcess
from forecasting.series import Series
from forecasting.testing import seasonal_load
from simulations import bench_models as bench
from simulations.bench_models import (
    FIRST,
    Compared,
    ModelJob,
    Scored,
    compare,
    from_json,
    jackknife,
    jobs_of,
    losses_table,
    mean_ratio,
    met,
    planned,
    ratios_table,
    run_all,
    scored,
    to_json,
)
from simulations.commands import bench_models as command
from simulations.executors.here import Here
from simulations.store import Store

NAN = float("nan")


def of(*losses: Sequence[float], fell_back: Sequence[str] = ()) -> Scored:
    """Losses of each origin at a horizon of one minute and of five."""
    return Scored(np.array(losses), (60.0, 300.0), 2, tuple(fell_back), 0.1)


def failed() -> Scored:
    return Scored(np.full((3, 2), NAN), (60.0, 300.0), 0, (), None, "too short")


def test_the_best_library_model_is_one_for_all_horizons() -> None:
    models = {
        "competition": of((1, 2), (1, 2), (1, 2)),
        "naive": of((0.1, 0.1), (0.1, 0.1), (0.1, 0.1)),  # no library's
        "ets": of((1, 3), (1, 3), (1, 3)),
        "mstl": of((2, 1.5), (2, 1.5), (2, 1.5), fell_back=["TimedOut"]),
    }
    one = compare("some", models, 3)
    assert (one.best, one.origins) == ("mstl", 3)
    assert one.ratio == pytest.approx(1.5 / 1.75)
    assert one.error == pytest.approx(0.0)
    assert one.by_horizon == {60.0: pytest.approx(0.5), 300.0: pytest.approx(2 / 1.5)}
    (line, whole) = ratios_table([one]).lines
    assert line == ("some", "3", "1.5", "mstl", "1.75", "0.857 +- 0.000", "0.500", "1.333", "yes")
    assert (whole[0], whole[5], whole[-1]) == ("geometric mean", "0.857", "yes")
    assert losses_table([one]).lines == (("some", "1.5", "0.1", "2", "1.75 (1 of 2 fits)"),)


def test_all_are_compared_at_the_same_origins() -> None:
    """The second origin is unknown to one model; what comes of the last one is unknown, which is nobody's silence."""
    models = {
        "competition": of((1, 1), (9, 9), (3, 3), (NAN, NAN)),
        "ets": of((2, 2), (NAN, NAN), (2, 2), (NAN, NAN)),
        "prophet": failed(),
    }
    one = compare("some", models, 1)
    assert (one.origins, one.ratio, one.error) == (2, 1.0, None)
    assert one.losses == {"competition": 2.0, "ets": 2.0, "prophet": None}
    assert one.silent == {"ets": 1}
    assert losses_table([one]).lines == (("some", "2", "2 (1 silent)", "-"),)


def test_what_is_not_known_is_not_met() -> None:
    known = compare("known", {"competition": of((1, 1)), "ets": of((2, 2))}, 1)
    without = compare("without", {"competition": of((1, 1)), "ets": failed()}, 1)
    assert (without.best, without.ratio, without.by_horizon) == (None, None, {60.0: None, 300.0: None})
    assert met([known])
    assert mean_ratio([known, without]) is None
    assert not met([known, without])
    assert ratios_table([without]).lines[0] == ("without", "1", "1", "-", "-", "-", "-", "-", "NO")
    nothing = compare("nothing", {"competition": failed(), "ets": failed()}, 1)
    assert (nothing.origins, nothing.losses, nothing.ratio) == (0, {"competition": None, "ets": None}, None)


@pytest.mark.parametrize(
    ("ratios", "is_met"), [((1.1, 0.9), True), ((1.11, 0.8), False), ((1.05, 0.96), False), ((0.5,), True)]
)
def test_no_trace_above_a_limit_and_the_mean_below_another(ratios: tuple[float, ...], is_met: bool) -> None:
    compared = [compare("some", {"competition": of((r, r)), "ets": of((1, 1))}, 1) for r in ratios]
    assert met(compared) is is_met


def test_a_trace_that_no_library_can_make_anything_of_does_not_carry_the_mean() -> None:
    silent = compare("azfunc_sparse", {"competition": of((0.1, 0.1)), "ets": of((1, 1))}, 1)
    worse = compare("some", {"competition": of((1.05, 1.05)), "ets": of((1, 1))}, 1)
    assert met([silent])
    assert not met([silent, worse])
    assert [(line[0], line[5], line[-1]) for line in ratios_table([silent, worse]).lines[2:]] == [
        ("geometric mean", "0.324", "yes"),
        ("without azfunc_sparse", "1.050", "NO"),
    ]


def test_a_ratio_that_hangs_on_one_day_says_so() -> None:
    """Without the last of three days the ratio is 1; without the first or the second 4 / 3: deviations of 1 / 3."""
    ours, theirs = np.array([[1.0], [1.0], [2.0]]), np.array([[1.0], [1.0], [1.0]])
    left = np.array([1.5, 1.5, 1.0])
    assert jackknife(ours, theirs, 3) == pytest.approx(np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum()))
    assert jackknife(ours, theirs, 1) is None


def test_a_result_is_kept_as_it_is() -> None:
    one = of((1, NAN), (2, 3), fell_back=["TimedOut"])
    read = from_json(to_json(one))
    assert np.array_equal(read.losses, one.losses, equal_nan=True)
    assert (read.horizons, read.fits, read.fell_back) == (one.horizons, 2, ("TimedOut",))


def test_the_scored_days_are_the_same_however_long_the_trace_is() -> None:
    series = Series(0.0, 1800.0, np.arange(20.0 * 48))
    part, plan = planned(series, 8, 3, 0)
    assert (plan.first, len(part.rates), plan.history, plan.refit) == (8 * 48, 11 * 48, 7 * 48, 48)
    with pytest.raises(BadSeries, match=r"20.0 days; 18 before the 3 scored ones"):
        planned(series, 18, 3, 0)


def test_a_model_that_cannot_learn_has_no_loss() -> None:
    series, plan = planned(Series(0.0, 1800.0, np.full(9 * 48, NAN)), 8, 1, 0)
    one = scored("level-season", series, plan, InThisProcess())
    assert one.failed
    assert np.isnan(one.losses).all()


def test_fits_that_fall_back_are_told() -> None:
    """A constant load gives a library nothing to fit."""
    series, plan = planned(Series(0.0, 1800.0, np.full(4 * 48, 5.0)), 2, 2, 0)
    one = scored("naive", series, plan, InThisProcess())
    assert (one.fits, one.fell_back) == (2, ("Constant", "Constant"))


class Counted(Here):
    """How many jobs were run."""

    ran = 0

    def map(self, work: Any, jobs: Sequence[Any], *, name: Callable[[Any], str] = str, done: Any = None) -> list[Any]:
        self.ran += len(jobs)
        return super().map(work, jobs, name=name, done=done)


def test_a_run_goes_on_where_it_was_and_again_where_a_model_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "read_trace", lambda _: Series(0.0, 1800.0, seasonal_load(1800.0, 9 * 48, 48, 0)))
    monkeypatch.setattr(bench, "find_trace", Path)
    monkeypatch.setitem(FIRST, "nyc_taxi", 8)
    monkeypatch.setitem(MODELS, "competition", MODELS["seasonal-naive"])  # which is quick
    jobs, executor, store = (
        jobs_of(["nyc_taxi"], ["level-season", "seasonal-naive"], 1, 1.0),
        Counted(),
        Store(tmp_path, print),
    )
    assert [job.model for job in jobs] == ["competition", "level-season", "seasonal-naive"]

    def run(version: Callable[[str], str]) -> list[Compared]:
        return run_all(jobs, version, store, executor, lambda *_: None)

    (one,) = run(lambda _: "1")
    assert executor.ran == 3
    assert one.origins == 48
    assert all(loss is not None and loss > 0 for loss in one.losses.values())
    assert run(lambda _: "1") == [one]
    assert executor.ran == 3
    run(lambda model: "2" if model == "level-season" else "1")
    assert executor.ran == 4


def test_a_job_names_all_that_it_depends_on() -> None:
    assert len(set(jobs_of(["nyc_taxi"], ["ets"], 1, 1.0) + jobs_of(["nyc_taxi"], ["ets"], 1, 2.0))) == 4
    assert ModelJob("nyc_taxi", "ets", 1, 1.0).name == "ets on nyc_taxi"


@pytest.mark.parametrize(("loss", "code"), [(0.9, 0), (1.2, 1)])
def test_the_command_fails_where_the_default_is_worse(
    loss: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = compare("nyc_taxi", {"competition": of((loss, loss)), "ets": of((1, 1))}, 1)
    monkeypatch.setattr(command, "run_all", lambda *_: [one])
    page = tmp_path / "results.md"
    options = ["--out", f"{tmp_path}", "--write", f"{page}", "--workers", "1", "--trace", "nyc_taxi"]
    result = CliRunner().invoke(command.bench_models, options)
    assert result.exit_code == code, result.output
    assert f"{loss:.3f}" in result.stdout
    text = page.read_text(encoding="utf-8")
    assert "<!-- begin models -->" in text
    assert (
        "`python -m simulations.bench_models --trace nyc_taxi --days 7 --fit-limit 60 --write docs/results.md`" in text
    )


def test_wrong_usage_is_told() -> None:
    result = CliRunner().invoke(command.bench_models, ["--trace", "none"])
    assert result.exit_code == 2
