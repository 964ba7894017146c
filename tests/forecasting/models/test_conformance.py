"""Every family passes the suite that the package ships, fitted for real on small loads."""

from __future__ import annotations

import importlib.util

import pytest

from forecasting.forecaster import Forecaster
from forecasting.models.auto_ets import AutoEts
from forecasting.models.ets import Ets
from forecasting.models.mstl import Mstl
from forecasting.models.naive import Naive
from forecasting.models.prophet_model import ProphetModel
from forecasting.models.sarimax import Sarimax
from forecasting.models.unobserved import Unobserved
from forecasting.testing import ForecasterConformance

STEP = 60.0
needs_statsforecast = pytest.mark.skipif(
    importlib.util.find_spec("statsforecast") is None, reason="the extra `models` is not installed"
)


class Small(ForecasterConformance):
    """Five seasons of a season of 24 steps: small enough for the slow libraries."""

    period = 24
    length = 24 * 5
    steps = 6
    count = 30

    def test_is_fitted_for_real(self):
        forecaster, _ = self._fitted()
        assert forecaster.fallback is None, forecaster.detail


class TestNaive(ForecasterConformance):
    def make(self) -> Forecaster:
        return Naive(STEP, STEP * self.period)


class TestNaiveOnCoarserSteps(ForecasterConformance):
    def make(self) -> Forecaster:
        return Naive(15.0, 15.0 * self.period, own_step=60.0)


class TestEts(Small):
    def make(self) -> Forecaster:
        return Ets(STEP, STEP * self.period)


class TestSarimax(Small):
    def make(self) -> Forecaster:
        return Sarimax(STEP, STEP * self.period, order=(1, 0, 0), harmonics=2)


class TestUnobserved(Small):
    def make(self) -> Forecaster:
        return Unobserved(STEP, STEP * self.period, harmonics=1)


@needs_statsforecast
class TestAutoEts(Small):
    def make(self) -> Forecaster:
        return AutoEts(STEP, STEP * self.period)


@needs_statsforecast
class TestMstl(Small):
    def make(self) -> Forecaster:
        return Mstl(STEP, STEP * self.period)


class TestProphet(Small):
    def make(self) -> Forecaster:
        return ProphetModel(STEP, STEP * self.period, harmonics=2, changepoints=2)
