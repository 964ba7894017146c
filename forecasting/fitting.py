"""The port through which a plan has its forecaster fitted: at once and in place, or in the background on a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from forecasting.errors import NotEnoughHistory, said
from forecasting.forecaster import Forecaster, Studying
from forecasting.series import Series


@dataclass(frozen=True, slots=True, eq=False)
class FitJob:
    """One fit; picklable. ``of``: whose, for messages. Without a ``history`` the forecaster learns anew from what it
    keeps, if it can (:class:`~forecasting.forecaster.Studying`)."""

    of: str
    forecaster: Forecaster
    history: Series | None

    def __call__(self) -> Forecaster:
        """The forecaster, fitted in place. May raise anything."""
        forecaster = self.forecaster
        if self.history is not None:
            forecaster.fit(self.history)
        elif isinstance(forecaster, Studying):
            forecaster.adopt(forecaster.study(forecaster.kept()))
        return forecaster


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What became of a job: a forecaster, which is another object where it was fitted on a copy; or what happened.

    ``again``: nothing speaks against the same fit (its process died, or there was no time), so that it is worth another
    try. Else the model itself could not be fitted; ``too_little``: for want of history, and it stayed as it was.
    """

    forecaster: Forecaster | None
    error: str = ""
    again: bool = False
    too_little: bool = False


def not_fitted(broken: BaseException) -> Fitted:
    """Of what a model raised."""
    return Fitted(None, f"{type(broken).__name__}: {said(broken)}", too_little=isinstance(broken, NotEnoughHistory))


class FitRun(Protocol):
    """A fit that was begun. Who loses interest lets go of it."""

    @property
    def outcome(self) -> Fitted | None:
        """None while it runs."""
        ...


class Fitter(Protocol):
    """Runs fits."""

    def start(self, job: FitJob) -> FitRun | None:
        """Begin; None when there is no room now: ask again later. The forecaster may be used and updated meanwhile."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A run that is over."""

    outcome: Fitted


class InPlace:
    """Fits at once, in the caller's own forecaster: for simulations, whose results are to depend on no machine."""

    def start(self, job: FitJob) -> FitRun:
        """See :class:`Fitter`; the run is over when this returns."""
        try:
            return Done(Fitted(job()))
        except Exception as broken:  # noqa: BLE001  a model may raise anything
            return Done(not_fitted(broken))
