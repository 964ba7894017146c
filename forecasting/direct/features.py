"""What is known at an origin: recent levels, volatility, the same time on past days, the phase of shorter periods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled
from forecasting.trajectories import known_mean

Singles = NDArray[np.float32]
Steps = NDArray[np.int64]

DAY = 86400.0
_LEVEL = 60.0  # s over which the newest level is taken
_WINDOWS = (15.0, 30.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_VOLATILITY = (300.0, 900.0, 3600.0)
_PEAKS = (600.0, 3600.0)
_AHEAD = (60.0, 120.0, 180.0, 300.0, 600.0, 1260.0, 1800.0)
_PERIOD_AHEAD = (60.0, 120.0, 240.0, 600.0)
_CYCLES = 24  # of a period, at most, that are averaged


class Layout(NamedTuple):
    """Which features there are; everything in steps."""

    width: int  # of the level
    windows: Steps  # means, against the level
    volatility: Steps
    peaks: Steps
    day: int
    days: Steps  # [kinds, 2]: first and last day back of each mean over past days
    ahead: Steps  # ends of the windows ahead, on past days
    periods: Steps
    period_ahead: Steps

    @property
    def size(self) -> int:
        """Number of features: those of the present, of past days, of periods, and the time of day."""
        present = len(self.windows) + len(self.volatility) + len(self.peaks) + 1
        return present + len(self.days) * (len(self.ahead) + 2) + len(self.periods) * (len(self.period_ahead) + 1) + 2

    @property
    def calendar(self) -> NDArray[np.int64]:
        """Positions of the features that only mean something once days were seen: level, past days, time of day."""
        level = len(self.windows) + len(self.volatility) + len(self.peaks)
        days = 1 + len(self.days) * (len(self.ahead) + 2)
        return np.array([*range(level, level + days), self.size - 2, self.size - 1])


def layout(step: float, keep: float, periods: Sequence[float]) -> Layout:
    """The features for steps of ``step`` s when ``keep`` s are kept; ``periods`` (s) besides the day.

    Last week's day is one where it can be learned: when well over a week is kept.
    """
    width = max(1, round(_LEVEL / step))
    day = max(2, round(DAY / step))
    kinds = [(1, 1), (1, 7)] + ([(7, 7)] if keep >= 10 * DAY else [])
    ahead = _in_steps(_AHEAD, step)
    windows = _in_steps(_WINDOWS, step)
    lengths = _in_steps(periods, step)
    return Layout(
        width=width,
        windows=windows[windows != width],
        volatility=np.maximum(_in_steps(_VOLATILITY, step), 2),
        peaks=np.maximum(_in_steps(_PEAKS, step), width),
        day=day,
        days=np.array(kinds, dtype=np.int64),
        ahead=ahead[ahead >= width],
        periods=lengths[(lengths > width) & (lengths * step < keep / 2)],
        period_ahead=_in_steps(_PERIOD_AHEAD, step),
    )


def _in_steps(seconds: Sequence[float], step: float) -> Steps:
    """Whole steps, ascending, each once; what is shorter than a step is left out."""
    return np.array(sorted({round(s / step) for s in seconds if round(s / step) >= 1}), dtype=np.int64)


@compiled
def level_at(rates: Singles, o: int, calm: float, width: int, longest: int) -> float:
    """Log of the mean rate over the ``width`` steps before ``o``, or over more, ``longest`` at most, where none of them
    is known; NaN when nothing is."""
    now = known_mean(rates, o - width, o)
    if math.isnan(now):
        now = known_mean(rates, o - 5 * width, o)
    if math.isnan(now):
        now = known_mean(rates, o - longest, o)
    return math.log(now + calm)


@compiled
def describe(
    rates: Singles, first: int, origins: Steps, calm: float, has: Layout, out: Singles, levels: Singles
) -> None:
    """Features at each origin, into ``out`` [origins, features], and the log levels, into ``levels`` [origins].

    ``rates`` (requests/s, NaN where not known) begin at step number ``first``; an origin o knows ``rates[:o]`` and
    nothing behind. All ratios are logarithms of rate + ``calm``. What cannot be known is NaN, the level only when
    nothing came in the longest window.
    """
    width, day = has.width, has.day
    for row in range(len(origins)):
        o, f = origins[row], out[row]
        k = 0
        level = level_at(rates, o, calm, width, has.windows[-1])
        levels[row] = level
        for window in has.windows:
            f[k] = math.log(known_mean(rates, o - window, o) + calm) - level
            k += 1
        # Root mean square of the change of the log rate from step to step.
        squares, pairs, j = 0.0, 0, o - 1
        newer = math.log(rates[j] + calm) if j >= 0 else math.nan
        for window in has.volatility:
            while j > max(o - window, 0):
                older = math.log(rates[j - 1] + calm)
                if not math.isnan(newer - older):
                    squares += (newer - older) ** 2
                    pairs += 1
                newer = older
                j -= 1
            f[k] = math.sqrt(squares / pairs) if pairs > 0 else math.nan
            k += 1
        for window in has.peaks:
            peak = math.nan
            j = o - width
            while j >= max(o - window, 0):
                block = known_mean(rates, j, j + width)
                if not peak >= block:
                    peak = block
                j -= width
            f[k] = math.log(peak + calm) - level
            k += 1
        f[k] = level
        k += 1
        for kind in range(len(has.days)):
            k = _past_days(rates, o, calm, level, has, kind, f, k)
        for period in has.periods:
            k = _cycles(rates, o, calm, level, has, period, f, k)
        phase = 2 * math.pi * ((first + o) % day) / day
        f[k] = math.sin(phase)
        f[k + 1] = math.cos(phase)


@compiled
def _past_days(rates: Singles, o: int, calm: float, level: float, has: Layout, kind: int, f: Singles, k: int) -> int:
    """Mean of past days at this time against the level, the same ahead of it against that, and its peak ahead."""
    width = has.width
    here, known = 0.0, 0
    oldest, newest = has.days[kind, 1], has.days[kind, 0]
    for back in range(newest, oldest + 1):
        value = known_mean(rates, o - back * has.day - width, o - back * has.day)
        if not math.isnan(value):
            here += value
            known += 1
    here = math.log(here / known + calm) if known > 0 else math.nan
    f[k] = here - level
    k += 1
    for ahead in has.ahead:
        total, known = 0.0, 0
        for back in range(newest, oldest + 1):
            j = o - back * has.day + ahead
            value = known_mean(rates, j - width, j)
            if not math.isnan(value):
                total += value
                known += 1
        f[k] = (math.log(total / known + calm) if known > 0 else math.nan) - here
        k += 1
    peak = math.nan
    for back in range(newest, oldest + 1):
        begin = o - back * has.day
        for j in range(begin, begin + max(10 * width, 1), width):
            value = known_mean(rates, j, j + width)
            if not peak >= value:
                peak = value
    f[k] = math.log(peak + calm) - here
    return k + 1


@compiled
def _cycles(rates: Singles, o: int, calm: float, level: float, has: Layout, period: int, f: Singles, k: int) -> int:
    """Mean of past cycles of ``period`` steps at this phase against the level, and ahead of it against that.

    No more cycles than half a day holds (four at least): the mean follows the day.
    """
    width = min(has.width, period)
    cycles = min(_CYCLES, max(4, has.day // period // 2))
    here, known = 0.0, 0
    for back in range(1, cycles + 1):
        value = known_mean(rates, o - back * period - width, o - back * period)
        if not math.isnan(value):
            here += value
            known += 1
    here = math.log(here / known + calm) if known > 0 else math.nan
    f[k] = here - level
    k += 1
    for ahead in has.period_ahead:
        skip = (ahead - 1) // period  # whole cycles between the newest one that is known and what is ahead
        total, known = 0.0, 0
        for back in range(1, cycles + 1):
            j = o + ahead - (back + skip) * period
            value = known_mean(rates, j - width, j)
            if not math.isnan(value):
                total += value
                known += 1
        f[k] = (math.log(total / known + calm) if known > 0 else math.nan) - here
        k += 1
    return k
