"""The series that is kept: history and what came since, at regular steps, in one row that moves forward in bulk."""

from __future__ import annotations

import math

import numpy as np

from forecasting.direct.features import Singles
from forecasting.errors import NotEnoughHistory
from forecasting.series import Arrivals, Recorder, Series, resample, step_index

_MOST = 1e30  # requests/s; nothing real, but finite in 32 bits
_AT_ONCE = 256  # steps that one update can fill; of a longer one the newest


class Kept:
    """The newest ``capacity`` steps (float32, NaN where not known); steps are numbered from the epoch."""

    def __init__(self, step: float, capacity: int, seed: int) -> None:
        self.step = step
        self.capacity = capacity
        self.seed = seed
        self.base = 0  # number of the first step
        self.used = 0
        self.peak = 0.0  # requests/s, the highest ever
        self.newest = math.nan  # requests/s, the newest that is known, of any age
        self._row: Singles = np.full(capacity + max(64, capacity // 16), np.nan, np.float32)
        self._recorder = Recorder(step, _AT_ONCE)
        self._live: int | None = None  # first step that updates filled

    @property
    def rates(self) -> Singles:
        """Requests/s of the complete steps, a view; the newest, still open step is the last if half of it was seen."""
        return self._row[: self.used]

    def fit(self, history: Series) -> None:
        """Put ``history`` in place of the old one; where updates know a step, they win.

        A step of a coarse history is a mean without the noise that counts have in short steps. It is drawn here
        (Poisson, at the true count), from a seed: else the model would learn from a smoothness that no live count has.
        Of what is known only before the steps that are kept, the newest rate and the peak stay. Raises
        ``NotEnoughHistory`` when no rate is known, ``BadSeries``; nothing is changed then.
        """
        past = resample(history, self.step, "linear")
        known = ~np.isnan(past.rates)
        if not known.any():
            raise NotEnoughHistory("the history has no step with a known rate; fit again when more has come")
        rates = np.minimum(past.rates, _MOST)
        if history.step > self.step * (1 + 1e-9):
            counts = np.minimum(rates[known] * self.step, 1e15)
            rates[known] = np.random.default_rng(self.seed).poisson(counts) / self.step
        first = step_index(past.start, self.step)
        own, own_first = np.empty(0, np.float32), first
        if self._live is not None:
            own_first = max(self._live, self.base)
            own = self.rates[own_first - self.base :].copy()
        stop = max(first + len(rates), own_first + len(own))
        start = max(min(first, own_first), stop - self.capacity)
        merged = np.full(stop - start, np.nan, np.float32)
        _lay(merged, rates.astype(np.float32), first - start)
        _lay(merged, own, own_first - start)
        told = merged[~np.isnan(merged)]
        self.base, self.used = start, len(merged) if len(told) else 0
        if not len(told):  # a long hole
            told = own[~np.isnan(own)] if not np.isnan(own).all() else rates[known].astype(np.float32)
        self._row[:] = np.nan
        self._row[: self.used] = merged[: self.used]
        self.peak = float(told.max())
        self.newest = float(told[-1])

    def update(self, arrivals: Arrivals) -> None:
        """Record; O(1) amortised. Raises ``BadSeries`` for a count that cannot be."""
        recorder = self._recorder
        for index in recorder.update(arrivals)[-_AT_ONCE:]:
            self._put(index, recorder.rate(index))
        rate = recorder.rate(recorder.open)  # not known until half of it was seen
        if rate == rate:  # noqa: PLR0124  NaN is not equal to itself
            self._put(recorder.open, rate)

    def series(self) -> Series:
        """All that is kept, as a history to fit on."""
        return Series(self.base * self.step, self.step, self.rates.astype(np.float64))

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._row.nbytes + 2 * 8 * _AT_ONCE

    def _put(self, index: int, rate: float) -> None:
        if self._live is None:
            self._live = index
        if not self.used:
            self.base = index
        column = index - self.base
        if column < 0:
            return
        if column >= len(self._row):
            base = index + 1 - self.capacity
            kept = max(self.base + self.used - base, 0)
            self._row[:kept] = self._row[self.used - kept : self.used].copy()
            self.base, self.used, column = base, kept, index - base
        if column >= self.used:
            self._row[self.used : column + 1] = np.nan
            self.used = column + 1
        if rate == rate:  # noqa: PLR0124
            self._row[column] = self.newest = rate if rate < _MOST else _MOST
            self.peak = max(self.peak, self.newest)


class Remembers:
    """What forecasters have in common that learn nothing but the series that they keep."""

    series: Kept

    def fit(self, history: Series) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`."""
        self.series.fit(history)

    def update(self, arrivals: Arrivals) -> None:
        """See :class:`~forecasting.forecaster.Forecaster`. Raises ``BadSeries`` for a count that cannot be."""
        self.series.update(arrivals)

    @property
    def ready(self) -> bool:
        """Whether any arrivals are known."""
        return not math.isnan(self.series.newest)


def _lay(into: Singles, rates: Singles, at: int) -> None:
    """Write what is known of ``rates`` from position ``at`` on; what falls outside is left out."""
    begin, end = max(at, 0), min(at + len(rates), len(into))
    if begin < end:
        part = rates[begin - at : end - at]
        into[begin:end] = np.where(np.isnan(part), into[begin:end], part)
