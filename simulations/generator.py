"""Load that is made from named ingredients and a seed: cycles, noise, flash crowds, cron spikes, jumps and gaps.

The rate of each second, from a Monday, 00:00 UTC, on::

    mean x daily x weekly x jumps x flash crowds x noise  +  mean x cron spikes

and its arrivals are a Poisson draw of it. ``mean`` is that of the load without jumps, crowds and spikes. What lies in a
gap is not known. The same recipe and seed make the same load; a longer one begins as the shorter one does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from forecasting.series import Series, resample
from scaler.api.quantities import Duration
from simulations.burstiness import Noise
from simulations.traces import MOST_STEPS

Floats = NDArray[np.float64]
DAY, WEEK = Duration(86_400), Duration(7 * 86_400)
MONDAY = 1_767_571_200.0  # unix s, where a made load begins


@dataclass(frozen=True, slots=True)
class Daily:
    """A cosine of a day: 1 + amplitude at ``peak``, 1 - amplitude half a day later."""

    amplitude: float = 0.5
    peak: Duration = Duration(14 * 3600)  # noqa: RUF009 - an immutable float, here and below

    def __post_init__(self) -> None:
        _require(0 <= self.amplitude <= 1, "daily.amplitude", self.amplitude, "0 to 1")

    def factors(self, at: Floats) -> Floats:
        """At seconds since Monday."""
        return 1 + self.amplitude * np.cos(2 * np.pi * (at - self.peak) / DAY)


@dataclass(frozen=True, slots=True)
class Weekly:
    """``weekend``: the load of a Saturday or Sunday, in that of a working day. A week's mean stays what it is."""

    weekend: float = 0.6

    def __post_init__(self) -> None:
        _require(0 <= self.weekend < math.inf, "weekly.weekend", self.weekend, "at least 0")

    def factors(self, at: Floats) -> Floats:
        """At seconds since Monday."""
        return np.where(np.mod(at, WEEK) < 5 * DAY, 1.0, self.weekend) * 7 / (5 + 2 * self.weekend)


@dataclass(frozen=True, slots=True)
class FlashCrowd:
    """Load rises to ``height`` times itself within ``rise``, stays for ``hold``, and fades by 1/e in each ``decay``."""

    at: Duration
    height: float
    rise: Duration = Duration(60)  # noqa: RUF009
    hold: Duration = Duration(0)  # noqa: RUF009
    decay: Duration = Duration(1200)  # noqa: RUF009

    def __post_init__(self) -> None:
        _require(1 <= self.height < math.inf, "flash_crowds.height", self.height, "at least 1")
        _require(self.decay > 0, "flash_crowds.decay", self.decay, "more than 0s")

    def factors(self, at: Floats) -> Floats:
        """At seconds since Monday."""
        since = at - self.at
        up = np.clip(since / self.rise, 0.0, 1.0) if self.rise > 0 else (since >= 0).astype(np.float64)
        down = np.exp(-np.maximum(since - self.rise - self.hold, 0.0) / self.decay)
        return 1 + (self.height - 1) * up * down


@dataclass(frozen=True, slots=True)
class Cron:
    """Requests of a job that runs ``at`` into each ``every``, for ``length``: ``height`` times the mean, on top."""

    every: Duration
    length: Duration
    height: float
    at: Duration = Duration(0)  # noqa: RUF009

    def __post_init__(self) -> None:
        _require(0 < self.length <= self.every, "cron.length", self.length, f"more than 0s, to every, {self.every}")
        _require(self.at < self.every, "cron.at", self.at, f"less than every, {self.every}")
        _require(0 <= self.height < math.inf, "cron.height", self.height, "at least 0")

    def added(self, at: Floats) -> Floats:
        """At seconds since Monday, in means."""
        return np.where(np.mod(at - self.at, self.every) < self.length, self.height, 0.0)


@dataclass(frozen=True, slots=True)
class Jump:
    """Load is ``factor`` times what it was, from ``at`` on, for ``length`` or for good."""

    at: Duration
    factor: float
    length: Duration | None = None

    def __post_init__(self) -> None:
        _require(0 <= self.factor < math.inf, "jumps.factor", self.factor, "at least 0")

    def factors(self, at: Floats) -> Floats:
        """At seconds since Monday."""
        until = math.inf if self.length is None else self.at + self.length
        return np.where((at >= self.at) & (at < until), self.factor, 1.0)


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing is known of ``length``, from ``at`` on."""

    at: Duration
    length: Duration


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a load is made of; see the module. ``step``: of the series that is made."""

    mean: float  # requests/s
    length: Duration = Duration(8 * 86_400)  # noqa: RUF009
    step: Duration = Duration(1)  # noqa: RUF009
    daily: Daily | None = None
    weekly: Weekly | None = None
    noise: Noise | None = None
    flash_crowds: tuple[FlashCrowd, ...] = ()
    cron: tuple[Cron, ...] = ()
    jumps: tuple[Jump, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        _require(0 < self.mean < math.inf, "mean", self.mean, "more than 0 requests/s")
        fine = self.step >= 1 and float(self.step).is_integer() and float(WEEK) % self.step == 0.0
        _require(fine, "step", self.step, "whole seconds that divide a week")
        fine = self.step <= self.length <= MOST_STEPS and float(self.length) % self.step == 0.0
        _require(fine, "length", self.length, f"a multiple of step, {self.step}, to {Duration(MOST_STEPS)}")

    def rates(self, seconds: int) -> Floats:
        """Requests/s of each of the first ``seconds`` seconds, without noise and gaps."""
        at: Floats = np.arange(seconds, dtype=np.float64) + 0.5
        rates: Floats = np.full(seconds, self.mean)
        for part in (self.daily, self.weekly, *self.jumps, *self.flash_crowds):
            if part is not None:
                rates = rates * part.factors(at)
        for job in self.cron:
            rates = rates + self.mean * job.added(at)
        return rates

    def make(self, seed: int) -> Series:
        """The load: true arrivals, counted in steps, as rates; NaN in a gap."""
        seconds = round(self.length)
        rates = self.rates(seconds)
        # Noise and arrivals have randomness of their own: with more noise it is still the same draw.
        noise, arrivals = np.random.default_rng(seed).spawn(2)
        if self.noise is not None:
            rates = rates * self.noise.draw(seconds, noise)
        counts = arrivals.poisson(rates).astype(np.float64)
        for gap in self.gaps:
            counts[math.floor(gap.at) : math.ceil(gap.at + gap.length)] = np.nan
        made = Series(MONDAY, 1.0, counts)
        return made if float(self.step) == 1.0 else resample(made, float(self.step))


def _require(fine: bool, field: str, found: object, allowed: str) -> None:
    if not fine:
        raise BadSeries(f"{field}: found {found}; allowed: {allowed}")
