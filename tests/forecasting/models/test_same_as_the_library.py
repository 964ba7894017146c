"""What is kept of a fit forecasts what the library itself forecasts, and goes on as the library would."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from forecasting.guarded import Deadline, Sample, quietly
from forecasting.models.auto_ets import AutoEtsFit
from forecasting.models.ets import EtsFit
from forecasting.models.mstl import MstlFit, loess
from forecasting.models.prophet_model import ProphetFit
from forecasting.models.sarimax import SarimaxFit, fourier_offset
from forecasting.models.unobserved import UnobservedFit

FIRST = 1003  # not a multiple of the period: phases must be right
PERIOD = 12


def sample(length: int = 120, periods: tuple[int, ...] = (PERIOD,)) -> Sample:
    at = np.arange(FIRST, FIRST + 150)
    rng = np.random.default_rng(4)
    values = 3 + 0.4 * np.sin(2 * np.pi * at / PERIOD) + np.cumsum(rng.normal(0, 0.03, 150)) + rng.normal(0, 0.05, 150)
    return Sample(values[:length], FIRST, 300.0, periods)


def fit(family, given: Sample):
    form = quietly(lambda deadline: family(given, deadline), Deadline.after(60))
    assert form.at == given.end
    return form


def continued(form, values):
    for value in values:
        form = form.after(float(value))
    return form


@pytest.mark.parametrize("periods", [(PERIOD,), ()])
def test_ets(periods):
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    given = sample(periods=periods)
    form = fit(EtsFit(), given)
    season = {"seasonal": "add", "seasonal_periods": PERIOD} if periods else {}
    ours = form.ahead(30)
    theirs = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for trend in ({}, {"trend": "add", "damped_trend": True}):
            model = ETSModel(given.values, initialization_method="heuristic", **trend, **season)
            theirs.append(model.fit(disp=False, maxiter=100))
        best = min(theirs, key=lambda result: result.aicc)
        assert ours == pytest.approx(best.forecast(30), abs=1e-8)
        # And with eight more observations, the parameters kept.
        more = sample(128, periods).values
        initial = {
            "initialization_method": "known",
            "initial_level": best.initial_level,
            "initial_trend": best.initial_trend if best.has_trend else None,
            "initial_seasonal": best.initial_seasonal if best.has_seasonal else None,
        }
        longer = ETSModel(more, trend=best.model.trend, damped_trend=best.damped_trend, **season, **initial)
        expected = longer.smooth(best.params).forecast(20)
    assert continued(form, more[120:]).ahead(20) == pytest.approx(expected, abs=1e-8)


def test_sarimax():
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    given = sample()
    values = given.values.copy()
    values[40:45] = np.nan
    given = Sample(values, given.first, given.step, given.periods)
    form = fit(SarimaxFit(harmonics=2), given)
    offset = fourier_offset(given, 2)
    left = values - offset(np.arange(FIRST, given.end))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SARIMAX(left, order=(1, 0, 1), concentrate_scale=True)
        model.ssm.tolerance = 1e-9
        result = model.fit(disp=False, maxiter=25, cov_type="none")
        ahead = np.arange(given.end, given.end + 20)
        assert form.ahead(20) == pytest.approx(result.forecast(20) + offset(ahead), abs=1e-8)
        more = sample(130).values[120:]
        longer = result.append(more - offset(np.arange(given.end, given.end + 10)), refit=False)
    expected = longer.forecast(10) + offset(np.arange(given.end + 10, given.end + 20))
    assert continued(form, more).ahead(10) == pytest.approx(expected, abs=1e-4)


def test_unobserved_components():
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    given = sample()
    form = fit(UnobservedFit(harmonics=2), given)
    offset = fourier_offset(given, 2)
    left = given.values - offset(np.arange(FIRST, given.end))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = UnobservedComponents(left, level="local level", autoregressive=1)
        model.ssm.tolerance = 1e-9
        result = model.fit(disp=False, maxiter=25, cov_type="none")
        ahead = np.arange(given.end, given.end + 20)
        assert form.ahead(20) == pytest.approx(result.forecast(20) + offset(ahead), abs=1e-8)
        more = sample(125).values[120:]
        expected = result.append(more - offset(ahead[:5]), refit=False).forecast(10) + offset(ahead[5:15])
    assert continued(form, more).ahead(10) == pytest.approx(expected, abs=5e-3)  # the gain has not quite settled


@pytest.mark.parametrize("periods", [(PERIOD,), ()])
def test_auto_ets(periods):
    models = pytest.importorskip("statsforecast.models")
    given = sample(periods=periods)
    form = fit(AutoEtsFit(), given)
    theirs = models.AutoETS(season_length=max(1, *periods, 1), model="AZA" if periods else "AZN").fit(given.values)
    assert form.ahead(20) == pytest.approx(theirs.predict(20)["mean"], abs=1e-4)
    more = sample(125, periods).values
    expected = theirs.forward(more, 20)["mean"]
    assert continued(form, more[120:]).ahead(20) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("periods", [(PERIOD,), (6, PERIOD)])
def test_mstl(periods):
    models = pytest.importorskip("statsforecast.models")
    given = sample(periods=periods)
    form = fit(MstlFit(), given)
    theirs = models.MSTL(list(periods), trend_forecaster=models.AutoETS(model="AZN"), stl_kwargs=loess(periods)).fit(
        given.values
    )
    assert form.ahead(30) == pytest.approx(theirs.predict(30)["mean"], abs=1e-6)


def test_prophet_finds_the_wave_and_carries_what_is_left():
    given = sample()
    form = fit(ProphetFit(harmonics=2), given)
    table = form.offset.tables[0]
    expected = 0.4 * np.sin(2 * np.pi * np.arange(PERIOD) / PERIOD)
    assert table - table.mean() == pytest.approx(expected, abs=0.05)
    # A step that is off by 1 moves all that follow by the weight of the newest.
    weight = form.gain.item()
    assert 0 < weight <= 1
    up = form.after(form.expected() + 1.0).ahead(3) - form.after(form.expected()).ahead(3)
    assert up == pytest.approx(np.full(3, weight))
    # And the newest values lie near what it says of the next.
    assert form.ahead(1)[0] == pytest.approx(sample(121).values[-1], abs=0.25)
    assert np.array_equal(form.ahead(20), fit(ProphetFit(harmonics=2), given).ahead(20))
