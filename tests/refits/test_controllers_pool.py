"""The maker of policies with its fits in the background: who has none is left alone, and `/metrics` tells of each."""

from __future__ import annotations

import time

import numpy as np
from prometheus_client import generate_latest

from forecasting.fitting import FitJob, InPlace
from forecasting.models.level_season import LevelSeason
from forecasting.series import Series
from scaler.api.predictive_scaler import to_service
from scaler.fits import fitted_by, in_background
from scaler.policies import find_policy
from scaler.predictive import MakePredictive
from scaler.telemetry import Telemetry
from scaler.warm import EXAMPLE


def test_a_policy_that_fits_nothing_stays_as_it_is() -> None:
    make = find_policy("keda_lag", {})
    assert fitted_by(make, InPlace()) is make
    with in_background(make, 1) as made:
        assert made is make


def test_fits_are_told_by_the_name_of_the_scaler_and_counted() -> None:
    begun: list[FitJob] = []

    class Noting:
        def start(self, job: FitJob) -> None:
            begun.append(job)

    policy = MakePredictive(Noting())(EXAMPLE, to_service(EXAMPLE, 15.0))
    fitter = policy._fitter  # type: ignore[attr-defined]
    fitter.start(FitJob(EXAMPLE.uid, LevelSeason(60.0), None))
    assert [job.of for job in begun] == ["default/warm-up"]

    telemetry = Telemetry()
    telemetry.fitted(2.0, "")
    telemetry.fitted(120.0, "it took longer than 120 s and was stopped")
    shown = generate_latest(telemetry.registry).decode()
    assert "lagcast_fit_seconds_count 2.0" in shown
    assert "lagcast_fit_seconds_sum 122.0" in shown
    assert "lagcast_failed_fits_total 1.0" in shown


def test_the_pool_tells_of_each_fit() -> None:
    told: list[tuple[float, str]] = []
    history = Series(0.0, 60.0, np.full(3000, 5.0))
    with in_background(MakePredictive(), 1, lambda took, error: told.append((took, error))) as make:
        policy = make(EXAMPLE, to_service(EXAMPLE, 15.0))
        run = policy._fitter.start(FitJob("a uid", LevelSeason(60.0), history))  # type: ignore[attr-defined]
        end = time.monotonic() + 30.0
        while not told and time.monotonic() < end:
            time.sleep(0.01)
    assert run.outcome.forecaster is not None
    ((took, error),) = told
    assert took > 0
    assert error == ""
