"""Clocks, dates and lists of a scaler: what only this side can know, and how they are read."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.calendar import Calendar
from scaler.api.config import load
from scaler.api.events import to_events
from scaler.api.moments import DAY, MOMENT, to_seconds, to_unix
from scaler.api.objects import parse
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.api.yamlfile import read_documents
from scaler.plan.fallback import FallbackRule
from tests.configuration.objects import GOOD, OFFICE, SALE, spoil


def read(field: str, value: object) -> PredictiveScaler:
    parsed = parse(spoil(GOOD, field, value))
    assert parsed.faults == ()
    assert isinstance(parsed.resource, PredictiveScaler)
    return parsed.resource


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("spec.forecast.timeZone", "Europe/Nowhere", "spec.forecast.timeZone"),
        ("spec.forecast.timeZone", "EuropeBerlin", "spec.forecast.timeZone"),
        ("spec.replicas.schedule", [{**OFFICE, "timeZone": "Mars/Olympus"}], "spec.replicas.schedule[0].timeZone"),
    ],
)
def test_a_zone_that_does_not_exist_is_refused_here_with_its_field(field: str, value: object, path: str) -> None:
    """The API server has its spelling only; the scaler's condition Ready says this then."""
    (fault,) = parse(spoil(GOOD, field, value)).faults
    assert fault.startswith(f"{path}: found ")
    assert fault.endswith("allowed: a time zone by its IANA name, as Europe/Berlin or UTC")


def test_dates_and_times_may_stand_without_quotes_as_kubectl_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "scalers.yaml"
    path.write_text(
        """
apiVersion: lagcast.io/v1alpha1
kind: PredictiveScaler
metadata: {name: chat}
spec:
  target: {name: chat}
  kafka: {bootstrapServers: "kafka:9092", topic: requests, consumerGroup: chat}
  objective: {within: 10s, share: 99%}
  replicas:
    min: 1
    max: 10
    serviceRate: "0.3"
    schedule: [{name: night, begin: 22:30, end: 06:00, max: 2}]
  forecast: {holidays: [{date: 2026-12-25}]}
  plannedEvents: [{name: sale, begin: 2026-11-27T09:00:00Z, end: 2026-11-27T18:00:00Z, factor: "2"}]
"""
    )
    (scaler,) = load(path)
    assert scaler.spec.forecast.holidays[0].date == "2026-12-25"
    assert scaler.spec.planned_events[0].begin == "2026-11-27T09:00:00Z"
    assert scaler.spec.replicas.schedule[0].begin == "22:30"


def test_a_null_in_an_entry_is_a_field_that_was_left_out() -> None:
    left_out = {key: value for key, value in OFFICE.items() if key != "days"}
    assert (
        read("spec.replicas.schedule", [{**OFFICE, "days": None}]).spec
        == read("spec.replicas.schedule", [left_out]).spec
    )


def test_the_likely_name_of_a_field_of_an_entry() -> None:
    (fault,) = parse(spoil(GOOD, "spec.plannedEvents", [{**SALE, "facter": "2"}])).faults
    assert fault.startswith("spec.plannedEvents[0].facter: found an unknown field; allowed here: name, begin, end")
    assert fault.endswith('did you mean "factor"?')


def test_the_service_as_the_plan_sees_it() -> None:
    service = to_service(read("spec.replicas", {"min": 1, "max": 10, "serviceRate": "2", "concurrency": 4}), 15.0)
    assert (service.concurrency, service.service_time, service.schedule, service.fallback) == (4.0, 2.0, (), None)
    held = read("spec.fallback", {"policy": "static", "replicas": 7, "after": "90s"})
    assert to_service(held, 15.0).fallback == FallbackRule(90.0, 7)
    assert to_service(read("spec.fallback", {"policy": "reactive"}), 15.0).fallback == FallbackRule(120.0, None)
    berlin = {
        "min": 1,
        "max": 10,
        "serviceRate": "0.3",
        "schedule": [OFFICE, {**OFFICE, "name": "b", "timeZone": "UTC"}],
    }
    made = parse(spoil(spoil(GOOD, "spec.replicas", berlin), "spec.forecast.timeZone", "Europe/Berlin")).resource
    assert isinstance(made, PredictiveScaler)
    assert [window.time_zone for window in to_service(made, 15.0).schedule] == ["Europe/Berlin", "UTC"]


def test_events_in_unix_seconds() -> None:
    berlin = Calendar("Europe/Berlin")
    declared = read(
        "spec.plannedEvents",
        [
            SALE,
            {**SALE, "name": "utc", "begin": "2026-11-27T09:00Z", "end": "2026-11-27T10:00:30Z", "ramp": "1m"},
            # 02:00 to 03:00 does not exist on that night.
            {**SALE, "name": "gone", "begin": "2026-03-29T02:10", "end": "2026-03-29T02:50"},
            {**SALE, "name": "rest", "begin": "2026-03-29T02:50", "end": "2026-03-29T03:20"},
            {**SALE, "name": "over", "begin": "2026-03-29T01:50", "end": "2026-03-29T02:20"},
        ],
    ).spec.planned_events
    sale, utc, rest, over = to_events(declared, berlin)
    assert sale.begin == datetime(2026, 11, 27, 8, tzinfo=UTC).timestamp()
    assert (sale.factor, sale.rate, sale.like, sale.name) == (2.5, None, None, "sale")
    assert (utc.begin, utc.end - utc.begin, utc.ramp) == (sale.begin + 3600.0, 3630.0, 60.0)
    change = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()
    assert (rest.begin, rest.end) == (change, change + 1200.0)
    assert (over.begin, over.end) == (change - 600.0, change)


@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 36_600))
def test_the_pattern_of_a_date_is_the_calendar_s(number: int) -> None:

    day = date(2000, 1, 1) + timedelta(days=number)
    assert (re.fullmatch(DAY, day.isoformat(), re.ASCII) is not None) == (day.year <= 2099)
    beyond = f"{day.year}-{day.month:02d}-{day.day + 1:02d}"  # a date on all days but a month's last
    last = (day + timedelta(days=1)).month != day.month
    assert (re.fullmatch(DAY, beyond, re.ASCII) is not None) == (not last and day.year <= 2099)
    assert re.fullmatch(MOMENT, f"{beyond}T09:00", re.ASCII) is None or not last


@settings(max_examples=100, deadline=None)
@given(
    moment=st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2099, 12, 30)),  # noqa: DTZ001 - without one
    offset=st.integers(-14 * 60, 14 * 60),
)
def test_a_moment_is_what_python_reads(moment: datetime, offset: int) -> None:
    sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset), 60)
    spelled = f"{moment:%Y-%m-%dT%H:%M:%S}"
    zoned = datetime.fromisoformat(f"{spelled}{sign}{hours:02d}:{minutes:02d}")
    assert to_unix(f"{spelled}{sign}{hours:02d}:{minutes:02d}", Calendar("Asia/Tokyo")) == zoned.timestamp()
    assert to_unix(spelled, Calendar("Asia/Tokyo")) == datetime.fromisoformat(f"{spelled}+09:00").timestamp()


def test_a_time_of_day() -> None:
    assert [to_seconds(t) for t in ("00:00", "08:30", "24:00")] == [0.0, 30_600.0, 86_400.0]


def test_the_examples_of_the_page_are_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "planned.md").read_text(encoding="utf-8")
    fragments = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(fragments) == 5
    for fragment in fragments:
        (made,) = read_documents(fragment.encode())
        assert isinstance(made, dict)
        item = spoil(GOOD, "spec.replicas.max", 40)
        for part, value in made["spec"].items():
            below = item["spec"].get(part)
            item["spec"][part] = {**below, **value} if isinstance(below, dict) else value
        assert parse(item).faults == (), fragment
