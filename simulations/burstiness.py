"""How bursty load is from second to second: the index of dispersion, and noise that has the same.

The index of dispersion of counts is their variance over their mean, in windows of a given length; it is 1 for a Poisson
process, and grows with the window where the rate itself wanders. Noise of two parts is fitted to it: one that is drawn
anew each second, and one that is correlated over ``time``. For arrivals of mean rate m they give, exactly but for the
slow part's logarithm (Cox and Isham, Point Processes, 1980, chapter 3)::

    I(w) = 1 + m fast + m slow 2 T (1 - T / w (1 - exp(-w / T)))

``python -m simulations.burstiness [TRACE]`` fits a trace in steps of one second and shows both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecasting.errors import BadSeries
from scaler.api.quantities import Duration

Floats = NDArray[np.float64]
WINDOWS = (1, 10, 60)  # s


@dataclass(frozen=True, slots=True)
class Noise:
    """A factor of mean 1 on the rate of each second.

    ``slow``: variance of its lognormal part, whose logarithm is correlated over ``time`` s; ``fast``: variance of its
    gamma part, drawn anew each second.
    """

    slow: float = 0.05
    time: Duration = Duration(300)  # noqa: RUF009 - an immutable float
    fast: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slow", "fast"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BadSeries(f"noise.{name}: found {getattr(self, name)}; allowed: at least 0")
        if not 0 < self.time < math.inf:
            raise BadSeries(f"noise.time: found {self.time}; allowed: more than 0s")

    def draw(self, seconds: int, rng: np.random.Generator) -> Floats:
        """Factors of ``seconds`` seconds."""
        from scipy.signal import lfilter

        factors: Floats = np.ones(seconds)
        slow, fast = rng.spawn(2)
        if self.slow > 0:
            spread = math.sqrt(math.log1p(self.slow))
            kept = math.exp(-1.0 / self.time)
            steps = slow.normal(0.0, spread, seconds)
            steps[1:] *= math.sqrt(1 - kept * kept)
            factors = np.exp(lfilter([1.0], [1.0, -kept], steps) - spread**2 / 2)
        if self.fast > 0:
            factors = factors * fast.gamma(1 / self.fast, self.fast, seconds)
        return factors

    def dispersion(self, mean: float, window: float) -> float:
        """The index of dispersion in windows of ``window`` s at a mean rate of ``mean`` requests/s."""
        return 1 + mean * self.fast + mean * self.slow * _wandering(window, self.time)


# Fitted to azure_llm_conv (58 minutes of an LLM chat service, Azure Public Dataset 2023, CC-BY-4.0), whose index of
# dispersion is 1.39, 3.87 and 16.41 in windows of 1, 10 and 60 s, by: python -m simulations.burstiness azure_llm_conv
AZURE_LLM_CONV = Noise(slow=0.05077, time=Duration(203.4), fast=0.01912)
KNOWN = {"azure_llm_conv": AZURE_LLM_CONV}


def index_of_dispersion(counts: Floats, window: int) -> float:
    """Variance over mean of the sums of ``window`` counts; windows with a NaN are left out.

    Raises BadSeries when there are not two whole windows, or no request.
    """
    whole = len(counts) // window
    sums = counts[: whole * window].reshape(whole, window).sum(axis=1)
    sums = sums[np.isfinite(sums)]
    if len(sums) < 2 or not sums.mean() > 0:
        raise BadSeries(f"dispersion: found {len(sums)} whole windows of {window}; needed: two, with requests in them")
    return float(sums.var(ddof=1) / sums.mean())


def fit(counts: Floats) -> Noise:
    """The noise whose index of dispersion in WINDOWS is that of ``counts`` (requests of each second).

    Where a part would have to be negative it is 0. Raises BadSeries for too few counts.
    """
    from scipy.optimize import least_squares

    mean = float(np.nanmean(counts))
    seen = np.array([index_of_dispersion(counts, window) for window in WINDOWS])

    def away(logs: Floats) -> Floats:
        made = _noise(logs)
        return np.log([made.dispersion(mean, window) for window in WINDOWS] / seen)

    found = least_squares(away, np.log([0.05, 100.0, 0.02]), bounds=(np.log(1e-6), np.log(1e5)))
    return _noise(found.x)


def _noise(logs: Floats) -> Noise:
    slow, time, fast = np.exp(logs).tolist()
    return Noise(slow, Duration(time), fast)


def _wandering(window: float, time: float) -> float:
    """Seconds over which a rate that is correlated over ``time`` adds up in a window."""
    share = time / window
    return 2 * time * (1 + share * math.expm1(-1 / share))


if __name__ == "__main__":
    import sys

    from simulations.traces import find_trace, read_trace

    try:
        trace = read_trace(find_trace(sys.argv[1] if len(sys.argv) > 1 else "azure_llm_conv"))
        if trace.step != 1:
            raise BadSeries(f"the trace's step is {trace.step:g} s; its burstiness from second to second is not in it")
        noise, rate = fit(trace.rates), float(np.nanmean(trace.rates))
    except BadSeries as bad:
        sys.exit(str(bad))
    sys.stdout.write(f"{noise}\nmean {rate:.4f} requests/s\nWINDOW   TRACE  FITTED\n")
    for span in WINDOWS:
        sys.stdout.write(
            f"{span:>4} s {index_of_dispersion(trace.rates, span):>8.2f}{noise.dispersion(rate, span):>8.2f}\n"
        )
