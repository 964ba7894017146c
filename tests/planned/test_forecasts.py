"""What a resource says of people's clocks, holidays and events, in the forecaster that is made for it."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from forecasting.calendar import Calendar
from forecasting.calendar_time import LocalTime
from forecasting.events_planned import Planned
from forecasting.forecaster import Judged, Studying
from forecasting.models.seasonal_naive import SeasonalNaive
from forecasting.series import Arrivals, Series
from scaler.api.objects import parse
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.plan.reasons import Reason
from scaler.predictive import make_forecaster
from simulations.declared import Declared
from simulations.run import simulate
from simulations.setting import Between, Fault, FaultKind, Load, ServiceSetting, Setting, Shared
from simulations.tune_space import fields, with_values
from tests.configuration.objects import GOOD

DAY, HOUR, STEP = 86_400.0, 3600.0, 300.0
BERLIN = ZoneInfo("Europe/Berlin")


def scaler(**spec: Any) -> PredictiveScaler:
    made = copy.deepcopy(GOOD)
    del made["spec"]["latency"]
    for part, value in spec.items():
        made["spec"][part] = {**made["spec"].get(part, {}), **value} if isinstance(value, dict) else value
    read = parse(made)
    assert read.faults == ()
    assert isinstance(read.resource, PredictiveScaler)
    return read.resource


def local(*when: int) -> float:
    return datetime(*when, tzinfo=BERLIN).timestamp()


def office(times: np.ndarray) -> np.ndarray:
    """20 requests/s from 09:00 to 17:00 by the clock of Berlin, 2 at other times."""
    hours = np.array([datetime.fromtimestamp(t, BERLIN).hour for t in times])
    return np.where((hours >= 9) & (hours < 17), 20.0, 2.0)


def history(end: float, days: float = 7.0) -> Series:
    starts = np.arange(end - days * DAY, end, STEP)
    return Series(float(starts[0]), STEP, office(starts + STEP / 2))


def median(forecaster: Any, at: float) -> float:
    """Requests/s that are foreseen for unix s ``at``."""
    steps = int((at - forecaster.end) / forecaster.step) + 1
    return float(np.median(forecaster.paths(steps, 100, np.random.default_rng(0))[:, -1]))


SEASONAL = {"model": "seasonalNaive", "step": "5m", "season": "24h", "history": "7d"}


def test_without_a_clock_and_a_plan_nothing_stands_around_the_model() -> None:
    assert not isinstance(make_forecaster(scaler(forecast=SEASONAL)), LocalTime | Planned)
    assert make_forecaster(scaler(forecast={"model": "none", "timeZone": "Europe/Berlin"})) is None


@pytest.mark.parametrize(("zone", "early", "late"), [("Europe/Berlin", 2.0, 20.0), ("UTC", 2.0, 2.0)])
def test_the_season_follows_the_clock_over_daylight_saving(zone: str, early: float, late: float) -> None:
    """In the night to Sunday 29 March 2026 the clock went an hour ahead: 09:30 came 23 hours after 09:30."""
    forecaster = make_forecaster(scaler(forecast={**SEASONAL, "timeZone": zone}))
    now = local(2026, 3, 29, 6)
    assert forecaster is not None
    forecaster.fit(history(now))
    forecaster.update(Arrivals(now + STEP, STEP, 2.0 * STEP))
    steps = int((local(2026, 3, 29, 9, 30) - now) / STEP)
    paths = np.median(forecaster.paths(steps, 100, np.random.default_rng(0)), axis=0)
    assert paths[-1] == pytest.approx(late, rel=0.1)
    assert paths[-13] == pytest.approx(early, rel=0.1)


def planned(*events: dict[str, Any], **forecast: Any) -> Planned:
    made = make_forecaster(
        scaler(forecast={**SEASONAL, "timeZone": "Europe/Berlin", **forecast}, plannedEvents=list(events))
    )
    assert isinstance(made, Planned)
    return made


def follow(forecaster: Planned, now: float) -> Planned:
    forecaster.fit(history(now - HOUR))
    for end in np.arange(now - HOUR, now, STEP) + STEP:
        forecaster.update(Arrivals(float(end), STEP, float(office(np.array([end - 1]))[0]) * STEP))
    return forecaster


def test_an_event_by_the_clock_and_one_with_an_offset_are_in_the_paths() -> None:
    by_clock = {"name": "a", "begin": "2026-03-24T11:00", "end": "2026-03-24T12:00", "factor": "3"}
    in_utc = {"name": "b", "begin": "2026-03-24T12:00:00Z", "end": "2026-03-24T15:00+02:00", "rate": "50"}
    found = follow(planned(by_clock, in_utc), local(2026, 3, 24, 10))
    wanted = {(10, 50): 20.0, (11, 10): 60.0, (11, 50): 60.0, (12, 30): 20.0, (13, 30): 50.0, (14, 10): 20.0}
    for (hour, minute), rate in wanted.items():
        assert median(found, local(2026, 3, 24, hour, minute)) == pytest.approx(rate, rel=0.1), (hour, minute)


def test_an_event_like_a_day_that_was() -> None:
    def load(times: np.ndarray) -> np.ndarray:
        return office(times) * np.where((times >= local(2026, 3, 20)) & (times < local(2026, 3, 21)), 2.0, 1.0)

    again = {"name": "a", "begin": "2026-03-24T00:00", "end": "2026-03-25T00:00", "like": "2026-03-20"}
    found = planned(again)
    now = local(2026, 3, 24, 10)
    starts = np.arange(now - 7 * DAY, local(2026, 3, 24), STEP)
    found.fit(Series(float(starts[0]), STEP, load(starts + STEP / 2)))
    for end in np.arange(local(2026, 3, 24), now, STEP) + STEP:
        found.update(Arrivals(float(end), STEP, 2.0 * float(office(np.array([end - 1]))[0]) * STEP))
    assert median(found, local(2026, 3, 24, 14)) == pytest.approx(40.0, rel=0.15)
    assert not found.sizeless
    other = follow(planned({**again, "like": "2026-01-05"}), now)
    assert other.sizeless
    assert not follow(planned({**again, "like": "2026-01-05"}), local(2026, 3, 25, 10)).sizeless  # it is over


def test_a_holiday_like_a_weekday_also_on_a_weekend() -> None:
    def load(times: np.ndarray) -> np.ndarray:
        """Nothing but 2 requests/s on Saturday and Sunday."""
        weekend = np.array([datetime.fromtimestamp(t, BERLIN).weekday() >= 5 for t in times])
        return np.where(weekend, 2.0, office(times))

    def at_noon(holidays: list[dict[str, Any]], *day: int, comes: float) -> float:
        """What is foreseen for noon at 10:05, when ``comes`` requests/s have come for five minutes."""
        forecast = {**SEASONAL, "season": "168h", "history": "14d", "timeZone": "Europe/Berlin", "holidays": holidays}
        made = make_forecaster(scaler(forecast=forecast))
        assert made is not None
        now = local(*day, 10)
        starts = np.arange(now - 14 * DAY, now, STEP)
        made.fit(Series(float(starts[0]), STEP, load(starts + STEP / 2)))
        made.update(Arrivals(now + STEP, STEP, comes * STEP))
        return float(np.median(made.paths(24, 100, np.random.default_rng(0))[:, -1]))

    tuesday, sunday = (2026, 3, 24), (2026, 3, 22)
    assert at_noon([], *tuesday, comes=20.0) == pytest.approx(20.0, rel=0.1)
    assert at_noon([{"date": "2026-03-24", "like": "Sat"}], *tuesday, comes=2.0) < 5.0
    assert at_noon([{"date": "2026-03-24", "like": "2026-03-15"}], *tuesday, comes=2.0) < 5.0
    assert at_noon([], *sunday, comes=2.0) == pytest.approx(2.0, rel=0.1)
    assert at_noon([{"date": "2026-03-22"}], *sunday, comes=2.0) == pytest.approx(2.0, rel=0.1)
    assert at_noon([{"date": "2026-03-22", "like": "Tue"}], *sunday, comes=20.0) > 15.0


def test_an_event_that_is_near_is_trusted_whatever_the_models_are_worth() -> None:
    event = {"name": "a", "begin": "2026-03-24T14:00", "end": "2026-03-24T15:00", "factor": "3"}
    auto = {"model": "auto", "step": "5m", "season": "24h", "history": "7d"}
    made = make_forecaster(scaler(forecast={**auto, "timeZone": "Europe/Berlin"}, plannedEvents=[event]))
    assert isinstance(made, Planned)
    for member in made.forecaster.members:  # through the clock, to the competition
        member.fail("it says so")
    far = local(2026, 3, 24, 10)
    made.update(Arrivals(far, STEP, 100.0))
    assert isinstance(made, Judged)
    assert not made.trusted
    assert "no model beats" in str(made.why)
    made.update(Arrivals(local(2026, 3, 24, 13, 10), STEP, 100.0))
    assert made.trusted
    assert made.why is None


@pytest.mark.parametrize("model", ["auto", "direct", "levelSeason", "seasonalNaive", None])
def test_what_is_around_a_model_can_be_refitted_as_far_as_it_can(model: str | None) -> None:
    """None: a model without a referee, that cannot learn in the background."""
    event = {"name": "a", "begin": "2026-03-24T11:00", "end": "2026-03-24T12:00", "factor": "3"}
    spec = {"model": model or "auto", "step": "5m", "season": "24h", "history": "7d", "timeZone": "Europe/Berlin"}
    made, studies = make_forecaster(scaler(forecast=spec, plannedEvents=[event])), model is not None
    if model is None:
        made = Planned(LocalTime(partial(SeasonalNaive, STEP, DAY), Calendar("Europe/Berlin")))
    assert isinstance(made, Studying) == studies
    # As Python 3.12 looks at a protocol's members, and after a pickle, as a fit in another process needs.
    for one in (made, pickle.loads(pickle.dumps(made))):
        static = [inspect.getattr_static(one, name, None) is not None for name in ("kept", "study", "adopt")]
        assert all(static) == studies


def test_it_survives_a_pickle_and_a_refit() -> None:
    event = {"name": "a", "begin": "2026-03-24T11:00", "end": "2026-03-24T12:00", "factor": "3"}
    auto = {"model": "auto", "step": "5m", "season": "24h", "history": "7d"}
    made = make_forecaster(scaler(forecast={**auto, "timeZone": "Europe/Berlin"}, plannedEvents=[event]))
    assert isinstance(made, Planned)
    follow(made, local(2026, 3, 24, 10))
    other = pickle.loads(pickle.dumps(made))
    for one in (made, other):
        one.adopt(one.study(one.kept()))
    at = local(2026, 3, 24, 11, 30)
    assert median(other, at) == median(made, at)
    assert median(made, at) > 35.0


# --- the same in a simulation: what a resource declares reaches the plan

START = datetime(2026, 3, 24, 9, tzinfo=UTC).timestamp()


def run(
    resource: PredictiveScaler, seconds: int, rate: float | np.ndarray, *faults: Fault, history: Series | None = None
) -> Any:
    service = to_service(resource, 15.0)
    one = ServiceSetting(service, 1.0, 0.5, Shared(64), Between(60.0, 60.0), replicas=4)
    arrivals = np.random.default_rng(0).poisson(rate, seconds).astype(np.float64)
    setting = Setting((one,), tick=15.0, seed=0, faults=faults)
    load = Load(START, arrivals, history)
    return simulate(setting, [load], Declared(resource)([service]), name="lagcast", keep_decisions=True)


REPLICAS = {"min": 1, "max": 30, "serviceRate": "1", "serviceTime": "500ms", "leadTime": "1m"}


def desired(record: Any) -> np.ndarray:
    return np.asarray(record.services[0].desired)


def test_a_schedule_in_a_simulation() -> None:
    later = {"name": "later", "begin": "10:30", "end": "10:45", "timeZone": "Europe/Berlin", "min": 12}
    record = run(scaler(replicas={**REPLICAS, "schedule": [later]}, forecast={"model": "none"}), 3600, 3.0)
    counts = desired(record)
    at = record.ticks  # 09:00 UTC is 10:00 in Berlin
    assert counts[at < 1680].max() < 10
    assert counts[(at >= 1740) & (at < 2700)].min() == 12
    assert counts[-1] < 10
    assert "ScheduledMin" in record.services[0].reasons[int(1770 / 15)]
    assert np.asarray(record.services[0].ready)[1805:2690].min() == 12


def test_a_planned_event_in_a_simulation() -> None:
    event = {"name": "sale", "begin": "2026-03-24T09:30:00Z", "end": "2026-03-24T09:45:00Z", "factor": "4"}
    steps = np.arange(START - 2 * DAY, START, STEP)
    past = Series(float(steps[0]), STEP, np.full(len(steps), 3.0))
    with_it = scaler(replicas=REPLICAS, forecast={**SEASONAL, "history": "48h"}, plannedEvents=[event])
    without = scaler(replicas=REPLICAS, forecast={**SEASONAL, "history": "48h"})
    planned_for, usual = (desired(run(one, 2700, 3.0, history=past)) for one in (with_it, without))
    when = int(1770 / 15)
    assert planned_for[when] >= 11
    assert usual[when] <= 8
    assert planned_for[int(1200 / 15)] <= 8


@pytest.mark.slow
def test_replicas_are_back_when_a_planned_pause_ends() -> None:
    pause = {"name": "pause", "begin": "2026-03-24T09:20:00Z", "end": "2026-03-24T09:45:00Z", "rate": "0"}
    second = np.arange(3600)
    load = np.where((second >= 1200) & (second < 2700), 0.0, 8.0)
    steps = np.arange(START - 2 * DAY, START, STEP)
    past = Series(float(steps[0]), STEP, np.full(len(steps), 8.0))
    resource = scaler(replicas=REPLICAS, forecast={**SEASONAL, "model": "auto"}, plannedEvents=[pause])
    record = run(resource, 3600, load, history=past)
    ready = np.asarray(record.services[0].ready)
    assert ready[2500] <= 2
    assert ready[2699:].min() >= 8


@pytest.mark.parametrize(("fallback", "count"), [({}, None), ({"policy": "static", "replicas": 15, "after": "2m"}, 15)])
def test_an_outage_in_a_simulation(fallback: dict[str, Any], count: int | None) -> None:
    down = Fault(FaultKind.BROKER_DOWN, 600.0, 900.0)
    record = run(scaler(replicas=REPLICAS, forecast={"model": "none"}, fallback=fallback), 2700, 3.0, down)
    counts, before = desired(record), desired(record)[39]
    assert counts[int(705 / 15)] == before
    assert counts[int(1485 / 15)] == (before if count is None else count)
    assert (Reason.FALLBACK in record.services[0].reasons[int(1485 / 15)]) == (count is not None)


def test_the_calendar_of_a_resource() -> None:
    holidays = [{"date": "2026-12-24", "last": "2026-12-26", "like": "Sun"}, {"date": "2027-01-01"}]
    calendar = scaler(forecast={"timeZone": "Europe/Berlin", "holidays": holidays}).spec.forecast.calendar
    assert calendar.time_zone == "Europe/Berlin"
    assert [h.like for h in calendar.holidays] == [6, None]
    assert Calendar("Europe/Berlin").bounds(calendar.holidays[1].first)[0] == local(2027, 1, 1)


def test_what_is_tuned_keeps_to_what_is_planned() -> None:
    """No minimum above a scheduled one, and no plan without a forecast where something is planned."""
    night = {"name": "night", "max": 4, "min": 3}
    event = {"name": "a", "begin": "2026-03-24T11:00", "end": "2026-03-24T12:00", "factor": "3"}
    resource = scaler(replicas={**REPLICAS, "schedule": [night]}, plannedEvents=[event])
    ranges = {field.name: field.distribution(resource) for field in fields()}
    assert (ranges["replicas.min"].low, ranges["replicas.min"].high) == (1, 3)
    for model in ranges["forecast.model"].choices:
        assert with_values(resource, {"replicas.min": 3, "forecast.model": model}).spec.replicas.min == 3
    assert "none" in fields(["forecast.model"])[0].distribution(scaler()).choices
