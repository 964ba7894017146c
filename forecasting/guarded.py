"""Fits under guard: whatever fails, explodes or runs over its time becomes a reason, never an exception or a hang."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from forecasting.innovations import Innovations

Floats = NDArray[np.float64]
Result = TypeVar("Result")

# Fewer known steps than this teach a library model nothing that the newest level does not say.
LEAST_KNOWN = 24
# Forecasts are tried this many steps beyond the end, or over a season when that is longer.
_TRIED = 48
_LONGEST_TRIED = 2016


class Fallback(StrEnum):
    """Why a model forecasts the newest level instead of what its library would say."""

    NOT_FITTED = "NotFitted"  # nothing was fitted yet
    TOO_SHORT = "TooShort"  # too few known steps
    CONSTANT = "Constant"  # nothing ever changes, so there is nothing to fit
    FIT_FAILED = "FitFailed"  # the library raised, or its process ended
    EXPLODED = "Exploded"  # forecasts beyond anything seen, or not numbers
    TIMED_OUT = "TimedOut"  # the fit was stopped, or came after its time and was refused


class FitTimedOut(Exception):
    """A fit was stopped at its deadline. Raised by guards and inside fits; ``guarded_fit`` makes it a reason."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time after which a fit gives up. Fits call it wherever their library lets them."""

    limit: float  # s
    until: float  # of time.monotonic()

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(seconds, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def __call__(self, *_: object, **__: object) -> None:
        """Raise ``FitTimedOut`` once it has passed; takes what optimisers hand to their callbacks."""
        if self.left <= 0:
            raise FitTimedOut(f"the fit took longer than its {self.limit:g} s")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What a family is fitted on: log rates at regular steps, the first numbered ``first`` from the epoch."""

    values: Floats  # [n]; NaN where not known
    first: int
    step: float  # s
    periods: tuple[int, ...]  # steps, shortest first; each is in the sample at least twice

    @property
    def end(self) -> int:
        """Number of the step after the last."""
        return self.first + len(self.values)

    def head(self, length: int) -> Sample:
        """The first ``length`` steps, with the periods that are still in it twice."""
        return Sample(self.values[:length], self.first, self.step, tuple(p for p in self.periods if 2 * p <= length))

    def filled(self) -> Floats:
        """Gaps filled: by the season before (or after), else by a straight line. For libraries that allow no gap."""
        values = self.values.copy()
        for shift in (*self.periods, *(-p for p in self.periods)):
            missing = np.flatnonzero(np.isnan(values))
            at = missing - shift
            inside = (at >= 0) & (at < len(values))
            values[missing[inside]] = values[at[inside]]
        missing = np.isnan(values)
        if missing.any():
            known = np.flatnonzero(~missing)
            values[missing] = np.interp(np.flatnonzero(missing), known, values[known])
        return values


class Family(Protocol):
    """One library model. Picklable, so that it can be fitted in another process."""

    @property
    def modules(self) -> tuple[str, ...]:
        """Loaded before the clock of a fit starts."""
        ...

    def __call__(self, sample: Sample, deadline: Deadline) -> Innovations:
        """Fit; the result's ``at`` is ``sample.end``. May raise anything."""
        ...


class Guard(Protocol):
    """Runs fits, each within ``limit`` seconds."""

    limit: float

    def run(self, task: Callable[[Deadline], Result], modules: tuple[str, ...] = ()) -> Result:
        """``task``'s result, with ``modules`` loaded before its time starts. Raises ``FitTimedOut``, or what the task
        raised."""
        ...


class InThisProcess:
    """Cooperative: a fit stops at the next point where its library lets it, and a result that is late is refused.

    Without cost, but a library that never looks at its deadline runs on: ``forecasting.worker.Worker`` really stops it.
    """

    def __init__(self, limit: float = 10.0) -> None:
        self.limit = limit

    def run(self, task: Callable[[Deadline], Result], modules: tuple[str, ...] = ()) -> Result:
        """See :class:`Guard`."""
        load(modules)
        deadline = Deadline.after(self.limit)
        result = quietly(task, deadline)
        deadline()
        return result


def quietly(task: Callable[[Deadline], Result], deadline: Deadline) -> Result:
    """Run a fit with the libraries' warnings off: that they doubt a fit is what the checks after it are for."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return task(deadline)


def load(modules: tuple[str, ...]) -> None:
    """Import them, without the warnings of their own making."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            importlib.import_module(module)


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """Two fits of one family: on a sample's head, to learn its errors on the rest, and on the whole of it."""

    head: Innovations
    whole: Innovations


@dataclass(frozen=True, slots=True)
class FitBoth:
    """The task that a guard runs."""

    family: Family
    head: Sample
    whole: Sample

    def __call__(self, deadline: Deadline) -> Fits:
        head = self.family(self.head, deadline)
        deadline()
        return Fits(head, self.family(self.whole, deadline))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Fits, or the reason why there are none, and in words what happened."""

    fits: Fits | None
    reason: Fallback | None
    detail: str


def guarded_fit(guard: Guard, family: Family, head: Sample, whole: Sample, bounds: tuple[float, float]) -> Outcome:
    """Fit ``family`` on both samples under ``guard``; log forecasts outside of ``bounds`` are an explosion.

    The head's forecasts are tried on the rest of the whole sample, with what was observed there; the whole's over the
    season that comes. Never raises.
    """
    for sample in (head, whole):
        known = sample.values[~np.isnan(sample.values)]
        if len(known) < LEAST_KNOWN:
            return Outcome(None, Fallback.TOO_SHORT, f"{len(known)} known steps; a fit wants {LEAST_KNOWN}")
        if np.ptp(known) < 1e-9:
            return Outcome(None, Fallback.CONSTANT, "the rate never changes")
    try:
        fits = guard.run(FitBoth(family, head, whole), family.modules)
    except FitTimedOut as late:
        return Outcome(None, Fallback.TIMED_OUT, str(late))
    except Exception as broken:  # noqa: BLE001  a library may raise anything
        return Outcome(None, Fallback.FIT_FAILED, f"{type(broken).__name__}: {broken}")
    with np.errstate(all="ignore"):
        detail = _explosion(fits, whole, bounds)
    return Outcome(None, Fallback.EXPLODED, detail) if detail else Outcome(fits, None, "")


def _explosion(fits: Fits, whole: Sample, bounds: tuple[float, float]) -> str:
    """What is wrong with the forecasts; empty when nothing is."""
    tried = min(max(_TRIED, *whole.periods, 0), _LONGEST_TRIED)
    model = fits.head
    seen = []
    for value in whole.values[model.at - whole.first :]:
        seen.append(model.expected())
        model = model.after(value)
    for what, values in (
        ("on newer steps", np.array(seen)),
        ("from its newest state", model.ahead(tried)),
        ("of the future", fits.whole.ahead(tried)),
    ):
        if not np.isfinite(values).all():
            return f"forecasts {what} are not numbers"
        low, high = float(values.min(initial=bounds[1])), float(values.max(initial=bounds[0]))
        if low < bounds[0] or high > bounds[1]:
            return (
                f"log forecasts {what} go from {low:.3g} to {high:.3g}; what came allows {bounds[0]:.3g} to "
                f"{bounds[1]:.3g}"
            )
    return ""
