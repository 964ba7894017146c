"""Models by name, as a backtest makes them. A model's library is imported when the model is used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forecasting.errors import LibraryMissing, NotEnoughHistory
from forecasting.forecaster import Forecaster
from forecasting.guarded import Deadline, Guard
from forecasting.models.library import LibraryModel, needs


@dataclass(frozen=True, slots=True)
class About:
    """What a model is told. Seconds; ``season`` None: there is none. ``guard`` runs the fits of library models."""

    step: float
    season: float | None
    horizon: float  # the longest
    history: float
    lead_time: float
    guard: Guard
    seed: int = 0


def _competition(about: About) -> Forecaster:
    from forecasting.competition_default import default_competition

    return default_competition(about.step, about.lead_time, season=about.season, keep=about.history, seed=about.seed)


def _direct(about: About) -> Forecaster:
    from forecasting.models.direct import Direct

    return Direct(about.step, keep=max(about.history, 20 * about.step), seed=about.seed)


def _level_season(about: About) -> Forecaster:
    from forecasting.seasons import ALONE, by_season

    return by_season(about.step, about.season, ALONE)


def _seasonal_naive(about: About) -> Forecaster:
    from forecasting.models.seasonal_naive import SeasonalNaive

    if about.season is None:
        raise NotEnoughHistory("seasonal-naive: there is no season that it could repeat")
    return SeasonalNaive(about.step, about.season)


def _naive(about: About) -> Forecaster:
    from forecasting.models.naive import Naive

    return Naive(about.step, about.season, own_step=max(60.0, about.step), horizon=about.horizon, guard=about.guard)


def _ets(about: About) -> Forecaster:
    from forecasting.models.ets import Ets

    return _loaded(Ets(about.step, about.season, guard=about.guard))


def _sarimax(about: About) -> Forecaster:
    from forecasting.models.sarimax import Sarimax

    return _loaded(Sarimax(about.step, about.season, guard=about.guard))


def _unobserved(about: About) -> Forecaster:
    from forecasting.models.unobserved import Unobserved

    return _loaded(Unobserved(about.step, about.season, guard=about.guard))


def _auto_ets(about: About) -> Forecaster:
    from forecasting.models.auto_ets import AutoEts

    return _loaded(AutoEts(about.step, about.season, guard=about.guard))


def _mstl(about: About) -> Forecaster:
    from forecasting.models.mstl import Mstl

    return _loaded(Mstl(about.step, about.season, guard=about.guard))


def _prophet(about: About) -> Forecaster:
    from forecasting.models.prophet_model import ProphetModel

    return _loaded(ProphetModel(about.step, about.season, guard=about.guard))


MODELS: dict[str, Callable[[About], Forecaster]] = {
    "competition": _competition,
    "direct": _direct,
    "level-season": _level_season,
    "seasonal-naive": _seasonal_naive,
    "naive": _naive,
    "ets": _ets,
    "sarimax": _sarimax,
    "unobserved": _unobserved,
    "auto-ets": _auto_ets,
    "mstl": _mstl,
    "prophet": _prophet,
}
# What a model needs beside what Lagcast itself does, and in which extra of it that is.
LIBRARIES: dict[str, tuple[str, str | None]] = {
    "auto-ets": ("statsforecast", "models"),
    "mstl": ("statsforecast", "models"),
    "prophet": ("prophet", None),
}
# Those whose fits take milliseconds; the others are fitted by libraries.
QUICK = ("competition", "direct", "level-season", "seasonal-naive", "naive")


def missing(names: Iterable[str]) -> dict[str, str]:
    """Those of the models whose library is not installed: the library, and how to install it."""
    found: dict[str, str] = {}
    for name in names:
        library, extra = LIBRARIES.get(name, ("", None))
        try:
            if library:
                needs(library, name, extra)
        except LibraryMissing as without:
            found[name] = str(without)
    return found


def _loaded(model: LibraryModel) -> LibraryModel:
    """With its library imported already, so that the time of a fit is the fit's."""
    with contextlib.suppress(Exception):  # whatever stops this stops the fit, which says so
        model.guard.run(_nothing, model.family.modules)
    return model


def _nothing(deadline: Deadline) -> None:
    """A task for a guard."""
