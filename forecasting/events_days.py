"""Past local days at five-minute steps: what is usual at a time of day, and how one day differed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from forecasting.calendar import Calendar
from forecasting.events import PlannedEvent
from forecasting.series import Series, resample

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

STEP = 300.0  # s
BINS = 288
_DAY = 86400.0
_EPOCH = date(1970, 1, 1)
_LEAST_DAYS = 3  # of one kind, else all days stand in
_LEAST_KNOWN = BINS // 2  # of a day that can be a pattern
_WIDEST = 3.0  # no day is more than e^3 = 20 times its usual


def day_of(local: float) -> date:
    """The date of local seconds."""
    return _EPOCH + timedelta(days=local // _DAY)


def is_weekend(day: date) -> bool:
    """Saturday or Sunday."""
    return day.weekday() >= 5


class Days:
    """Mean rates (requests/s) of the newest ``most`` local days, and of those in ``pinned``; NaN where not known."""

    def __init__(self, calendar: Calendar, most: int = 42) -> None:
        self.calendar = calendar
        self.most = most
        self.pinned: frozenset[date] = frozenset()
        self._rates: dict[date, Singles] = {}

    def take(self, history: Series) -> None:
        """Put in what ``history`` knows."""
        steps = resample(history, STEP)
        known = np.flatnonzero(~np.isnan(steps.rates))
        if not len(known):
            return
        times = steps.start + (known.astype(np.float64) + 0.5) * STEP
        local = self.calendar.to_local(times)
        days = np.floor(local / _DAY).astype(np.int64)
        bins = ((local - days * _DAY) / STEP).astype(np.intp)
        for number in np.unique(days).tolist():
            of_day = days == number
            self._row(_EPOCH + timedelta(days=number))[bins[of_day]] = steps.rates[known[of_day]]
        self._forget()

    def put(self, time: float, rate: float) -> None:
        """Put in the mean rate of the step around ``time`` (unix s)."""
        local = time + self.calendar.offset(time)
        day = day_of(local)
        new = day not in self._rates
        self._row(day)[int(local % _DAY / STEP)] = rate
        if new:
            self._forget()

    def knows(self, day: date) -> bool:
        """Whether at least half of ``day`` is known."""
        return day in self._rates and int(np.count_nonzero(~np.isnan(self._rates[day]))) >= _LEAST_KNOWN

    def newest(
        self,
        before: date,
        among: Collection[date] | None = None,
        weekday: int | None = None,
        without: Collection[date] = (),
    ) -> date | None:
        """The newest known day before ``before``: one of ``among``, or on ``weekday`` (Monday is 0); none of
        ``without``."""
        days = [
            day
            for day in self._rates
            if day < before
            and day not in without
            and (among is None or day in among)
            and (weekday is None or day.weekday() == weekday)
            and self.knows(day)
        ]
        return max(days, default=None)

    def usual(self, weekend: bool, without: Collection[date], spans: Collection[tuple[float, float]] = ()) -> Floats:
        """Median rate at each time of day [288] over days of that kind (over all, where there are fewer than three)
        that are not in ``without``, what lies in ``spans`` (unix s, from and to) left out; NaN where not known."""
        ordinary = {day: rates for day, rates in self._rates.items() if day not in without}
        for begin, end in spans:
            first, last = begin + self.calendar.offset(begin), end + self.calendar.offset(end)  # s of the local clock
            for day in ordinary.keys() & set(self.calendar.days(begin, end)):
                midnight = (day - _EPOCH).days * _DAY
                low, high = math.floor((first - midnight) / STEP), math.ceil((last - midnight) / STEP)
                ordinary[day] = ordinary[day].copy()
                ordinary[day][max(low, 0) : max(high, 0)] = np.nan
        alike = [rates for day, rates in ordinary.items() if is_weekend(day) == weekend and self.knows(day)]
        return _median(alike if len(alike) >= _LEAST_DAYS else list(ordinary.values()))

    def usual_without(self, events: Collection[PlannedEvent]) -> Floats:
        """Median rate at each time of day [288] over all days, over the factors of ``events``; what lies in one without
        a factor is left out."""
        table = []
        for day, known in self._rates.items():
            local = (day - _EPOCH).days * _DAY + (np.arange(BINS).astype(np.float64) + 0.5) * STEP
            times = self.calendar.to_unix(local)
            rates = known.astype(np.float64)
            for event in events:
                weight = event.weight(times)
                if event.factor is None:
                    rates[weight > 0] = np.nan
                else:
                    rates /= event.factor**weight
            table.append(rates)
        return _median(table)

    def ratio(self, day: date, usual: Floats, calm: float) -> Floats:
        """Log of the rate of ``day`` over ``usual``, each plus ``calm``, lightly smoothed [288]; 0 where not known."""
        rates = self._rates.get(day)
        if rates is None:
            return np.zeros(BINS)
        logs = np.log(rates.astype(np.float64) + calm) - np.log(usual + calm)
        known = ~np.isnan(logs)
        around = np.convolve(np.pad(np.where(known, logs, 0.0), 1, "wrap"), np.ones(3), "valid")
        count = np.convolve(np.pad(known.astype(np.float64), 1, "wrap"), np.ones(3), "valid")
        smoothed = np.where(known, around / np.maximum(count, 1.0), 0.0)
        return np.minimum(smoothed, _WIDEST)

    def _row(self, day: date) -> Singles:
        if day not in self._rates:
            self._rates[day] = np.full(BINS, np.nan, np.float32)
        return self._rates[day]

    def _forget(self) -> None:
        for day in sorted(set(self._rates) - self.pinned)[: -self.most]:
            del self._rates[day]


def _median(table: Sequence[Singles | Floats]) -> Floats:
    if not table:
        return np.full(BINS, np.nan)
    with warnings.catch_warnings():  # of a time of day that no day knows
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(np.array(table, np.float64), axis=0))
