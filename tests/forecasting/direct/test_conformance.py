"""The default forecaster passes the suite that the package ships, at its own step and at a coarse one."""

from __future__ import annotations

from forecasting.forecaster import Forecaster
from forecasting.models.direct import Direct
from forecasting.testing import ForecasterConformance


class TestDirect(ForecasterConformance):
    """2.4 hours of 15 s: too few origins, so the paths are around the newest level."""

    def make(self) -> Forecaster:
        return Direct()


class TestDirectOverDays(ForecasterConformance):
    """Two days of five minutes."""

    period = 288
    length = 288 * 2

    def make(self) -> Forecaster:
        return Direct(300.0)
