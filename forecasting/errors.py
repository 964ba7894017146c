"""The package's exceptions.

ForecastingError
+-- NotEnoughHistory   fit: keep the forecaster as it is and try again when more has come (the caller)
+-- NoCycle            fit: the model is not for this load; go on with the others (the competition)
+-- NotReady           paths: decide without a forecast this tick (the policy)
+-- LibraryMissing     a model's library is not installed: choose another model, or install it (the user)
+-- BadSeries          a series that cannot be read: tell the user, change nothing (whoever read it)
"""

from __future__ import annotations


class ForecastingError(Exception):
    """Base of all errors that forecasting raises on purpose."""


class NotEnoughHistory(ForecastingError):
    """There is too little in the history to learn from."""


class NoCycle(ForecastingError):
    """The load does not repeat itself."""


class NotReady(ForecastingError):
    """Paths were asked for before anything was learned or observed."""


class LibraryMissing(ForecastingError):
    """A model was asked for whose library is not installed; the message says how to install it."""


class BadSeries(ForecastingError):
    """Times or values that cannot be a series of arrivals; the message names the row or field."""


def said(result: object) -> str:
    """Its text; what a library made may not even have that."""
    try:
        return str(result)
    except Exception:  # noqa: BLE001  as it says
        return "(it cannot say what it is)"
