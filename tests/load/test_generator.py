"""Made load: each ingredient does what it says, gaps stay gaps, one seed is one load; a recipe's mistakes are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.errors import BadSeries
from scaler.api.quantities import Duration
from simulations.burstiness import AZURE_LLM_CONV, WINDOWS, Noise, fit, index_of_dispersion
from simulations.generator import MONDAY, Cron, Daily, FlashCrowd, Gap, Jump, Recipe, Weekly
from simulations.recipe_text import read_recipe
from simulations.traces import find_trace, read_trace, traces_folder

D = Duration.parse
HOUR, DAY = 3600, 86_400


def test_the_day_and_the_week_keep_the_mean() -> None:
    rates = Recipe(10.0, daily=Daily(0.5, D("14h")), weekly=Weekly(0.5)).rates(7 * DAY)
    assert rates.mean() == pytest.approx(10.0)
    assert int(np.argmax(rates[:DAY])) in (14 * HOUR - 1, 14 * HOUR)
    assert rates[:DAY].max() == pytest.approx(3 * rates[:DAY].min(), rel=1e-6)
    assert rates[5 * DAY :].mean() == pytest.approx(0.5 * rates[: 5 * DAY].mean())


def test_crowds_spikes_and_jumps_are_where_they_are_said() -> None:
    crowd = Recipe(10.0, flash_crowds=(FlashCrowd(D("100s"), 5.0, rise=D("10s"), hold=D("20s"), decay=D("50s")),))
    rates = crowd.rates(400)
    assert rates[:100] == pytest.approx(np.full(100, 10.0))
    assert rates[105] == pytest.approx(10 + 40 * 0.55)
    assert rates[110:130] == pytest.approx(np.full(20, 50.0))
    assert rates[180] == pytest.approx(10 + 40 * np.exp(-50.5 / 50))
    spikes = Recipe(10.0, cron=(Cron(D("60s"), D("5s"), 2.0, at=D("10s")),)).rates(180)
    assert np.flatnonzero(spikes > 10).tolist() == [k + j for k in (10, 70, 130) for j in range(5)]
    assert spikes[10] == pytest.approx(30.0)
    jumps = Recipe(10.0, jumps=(Jump(D("50s"), 3.0), Jump(D("80s"), 0.0, D("10s")))).rates(100)
    assert jumps[[0, 49, 50, 79, 80, 89, 90]].tolist() == [10, 10, 30, 30, 0, 0, 30]


def test_a_gap_is_not_known_in_seconds_and_in_steps() -> None:
    recipe = Recipe(10.0, length=D("10m"), gaps=(Gap(D("2m"), D("3m")),))
    made = recipe.make(1)
    assert (made.start, made.step, len(made.rates)) == (MONDAY, 1.0, 600)
    assert np.flatnonzero(np.isnan(made.rates)).tolist() == list(range(120, 300))
    coarse = replace(recipe, step=D("1m")).make(1)
    assert np.flatnonzero(np.isnan(coarse.rates)).tolist() == [2, 3, 4]
    assert coarse.rates[0] == pytest.approx(made.rates[:60].mean())


@pytest.mark.slow
def test_one_seed_is_one_load_and_a_longer_one_begins_alike() -> None:
    recipe = Recipe(10.0, length=D("30m"), daily=Daily(), noise=AZURE_LLM_CONV)
    made = recipe.make(3).rates
    assert made.tolist() == recipe.make(3).rates.tolist()
    assert made.tolist() == replace(recipe, length=D("1h")).make(3).rates[:1800].tolist()
    assert made.tolist() != recipe.make(4).rates.tolist()
    assert (made == np.round(made)).all()


def test_noise_has_mean_one_and_the_dispersion_that_is_computed() -> None:
    noise = Noise(slow=0.1, time=D("60s"), fast=0.05)
    factors = noise.draw(400_000, np.random.default_rng(5))
    assert factors.mean() == pytest.approx(1.0, abs=0.02)
    counts = np.random.default_rng(6).poisson(8.0 * factors).astype(float)
    for window in WINDOWS:
        assert index_of_dispersion(counts, window) == pytest.approx(noise.dispersion(8.0, window), rel=0.1)
    assert index_of_dispersion(np.random.default_rng(7).poisson(8.0, 100_000).astype(float), 10) == pytest.approx(
        1.0, abs=0.05
    )


def test_a_fit_finds_the_noise_again() -> None:
    true = Noise(slow=0.1, time=D("120s"), fast=0.05)
    counts = np.random.default_rng(8).poisson(20.0 * true.draw(500_000, np.random.default_rng(9))).astype(float)
    found = fit(counts)
    assert found.slow == pytest.approx(0.1, rel=0.15)
    assert found.time == pytest.approx(120, rel=0.3)
    assert found.fast == pytest.approx(0.05, rel=0.2)


@pytest.mark.skipif(not traces_folder().is_dir(), reason="the shared traces are not on this machine (LAGCAST_TRACES)")
def test_made_load_is_as_bursty_as_the_trace_it_was_fitted_to() -> None:
    trace = read_trace(find_trace("azure_llm_conv")).rates
    again = fit(trace)
    assert again.slow == pytest.approx(AZURE_LLM_CONV.slow, rel=0.01)
    assert again.time == pytest.approx(AZURE_LLM_CONV.time, rel=0.01)
    assert again.fast == pytest.approx(AZURE_LLM_CONV.fast, rel=0.01)
    made = Recipe(float(trace.mean()), length=D("5d"), noise=AZURE_LLM_CONV).make(0).rates
    for window in WINDOWS:  # a tenth: what five days leave to chance, and the slow part's logarithm
        assert index_of_dispersion(made, window) == pytest.approx(index_of_dispersion(trace, window), rel=0.1)


def test_dispersion_leaves_gaps_out_and_needs_windows() -> None:
    counts = np.array([1.0, 3.0, np.nan, 5.0, 2.0, 2.0])
    assert index_of_dispersion(counts, 2) == pytest.approx(0.0)
    with pytest.raises(BadSeries, match="found 1 whole windows of 4"):
        index_of_dispersion(np.ones(6), 4)
    with pytest.raises(BadSeries, match="with requests in them"):
        index_of_dispersion(np.zeros(6), 1)


RECIPE = """
mean: 80
length: 8d
step: 60s
daily: {amplitude: 0.4, peak: 13h}
weekly: {weekend: 0.7}
noise: azure_llm_conv
flash_crowds: [{at: 7d13h, height: 6, rise: 1m, decay: 20m}]
cron:
  - {every: 1h, length: 2m, height: 0.5}
  - {every: 1d, length: 10m, height: 1.5, at: 2h}
jumps: [{at: 7d18h, factor: 2}]
gaps: [{at: 3d, length: 2h}]
"""


def test_a_recipe_is_read() -> None:
    assert read_recipe(RECIPE, "r.yaml") == Recipe(
        80.0,
        D("8d"),
        D("60s"),
        Daily(0.4, D("13h")),
        Weekly(0.7),
        AZURE_LLM_CONV,
        (FlashCrowd(D("7d13h"), 6.0, D("1m"), decay=D("20m")),),
        (Cron(D("1h"), D("2m"), 0.5), Cron(D("1d"), D("10m"), 1.5, D("2h"))),
        (Jump(D("7d18h"), 2.0),),
        (Gap(D("3d"), D("2h")),),
    )
    assert read_recipe("{mean: 8, noise: {slow: 0.1, time: 5m}, weekly: null}", "--load").noise == Noise(0.1, D("5m"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "r: empty"),
        ("[1]", "r:1: the recipe: found a list"),
        ("mean: [", "r:1: not YAML"),
        ("daily: {}", "r:1: mean: found nothing"),
        ("mean: x", "r:1: mean: found 'x'; allowed: a number"),
        ("mean: true", "r:1: mean: found 'true'; allowed: a number"),
        ("mean: .nan", "r:1: mean: found nan; allowed: more than 0"),
        ("mean: 0", "r:1: mean: found 0.0; allowed: more than 0"),
        ("mean: 1\nmean: 2", "r:2: mean: found it a second time"),
        ("mean: 1\nweakly: {}", "r:2: weakly: found no such field; allowed: mean, length"),
        ("mean: 1\ndaily:\n  amplitude: 2", "r:3: daily.amplitude: found 2.0; allowed: 0 to 1"),
        ("mean: 1\ndaily: 3", "r:2: daily: found '3'; allowed: fields, such as amplitude: 0.5"),
        ("mean: 1\ndaily: {peak: 14}", "r:2: daily.peak: found the number 14"),
        ("mean: 1\nnoise: loud", "r:2: noise: found 'loud'; allowed: azure_llm_conv"),
        ("mean: 1\nnoise: {time: 0s}", "r:2: noise.time: found 0s"),
        ("mean: 1\ngaps: {at: 1h, length: 1h}", "r:2: gaps: found fields; allowed: a list"),
        ("mean: 1\ngaps:\n- {at: 1h}", "r:3: gaps[0].length: found nothing"),
        ("mean: 1\ncron: [{every: 1m, length: 2m, height: 1}]", "r:2: cron.length: found 2m"),
        ("mean: 1\ncron: [{every: 1m, length: 1m, height: 1, at: 1m}]", "r:2: cron.at: found 1m"),
        ("mean: 1\nflash_crowds: [{at: 1m, height: 0.5}]", "r:2: flash_crowds.height: found 0.5"),
        ("mean: 1\njumps: [{at: 1m, factor: -1}]", "r:2: jumps.factor: found -1"),
        ("mean: 1\nlength: 90s\nstep: 60s", "r:1: length: found 1m30s; allowed: a multiple of step, 1m"),
        ("mean: 1\nstep: 500ms", "r:1: step: found 500ms"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(text: str, said: str) -> None:
    with pytest.raises(BadSeries) as refused:
        read_recipe(text, "r")
    assert str(refused.value).startswith(said)
