"""How arrivals are forecast: the part ``forecast`` of the resource."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from forecasting.calendar import Calendar
from forecasting.calendar import Holiday as LocalDays
from scaler.api.cel import Rule, milliseconds, whole
from scaler.api.model import FieldErrors, Model, Name, once, rules
from scaler.api.moments import DAY, Day, DayOrWeekday, TimeZone, Weekday, to_day
from scaler.api.quantities import Duration, duration_between, well_spelled

# History is held in memory and fitted on; with more steps both become slow.
MOST_STEPS = 50_000
MOST_HOLIDAYS = 64
LONGEST_HOLIDAY = 31  # days


class ForecastModel(StrEnum):
    """Families of forecasters."""

    AUTO = "auto"
    DIRECT = "direct"
    LEVEL_SEASON = "levelSeason"
    SEASONAL_NAIVE = "seasonalNaive"
    NONE = "none"


def _holiday_rules() -> tuple[Rule, ...]:
    skip = f"!has(self.last) || !{whole(DAY, 'self.date')} || !{whole(DAY, 'self.last')}"
    lasts = "timestamp(self.last + 'T00:00:00Z') - timestamp(self.date + 'T00:00:00Z')"
    return (
        Rule(f"{skip} || self.date <= self.last", "date or a later day", field=".last"),
        Rule(
            f"{skip} || {lasts} < duration('{LONGEST_HOLIDAY * 24}h')",
            f"at most {LONGEST_HOLIDAY} days in all",
            field=".last",
        ),
        Rule(
            f"!has(self.like) || !{whole(DAY, 'self.like')} || !{whole(DAY, 'self.date')} || self.like < self.date",
            "a day before date, or a day of the week",
            field=".like",
        ),
    )


class Holiday(Model):
    """A whole day, or several, on which load is not as on other such days of the week."""

    model_config = rules(*_holiday_rules())

    date: Day = Field(description="The day, or the first of several; used once.")
    last: Day | None = Field(default=None, description="The last day. Default: it is one day.")
    name: Name | None = Field(default=None, description="What it is called. Default: its date.")
    like: DayOrWeekday | None = Field(
        default=None,
        description='What it is like: a past day that the history holds, or the newest such day of the week (`"Sat"`). '
        "Default: from Monday to Friday, the newest holiday that is known, or else the last Sunday; on a weekend it "
        "changes nothing.",
    )

    @model_validator(mode="after")
    def _ends_after_it_begins_and_is_like_a_day_before(self) -> Holiday:
        if self.like is not None and self.like not in list(Weekday) and self.like >= self.date:
            rule = f"a day before date, which is {self.date}, or a day of the week"
            raise FieldErrors(("like", f"found {self.like}; allowed: {rule}"))
        if self.last is None:
            return self
        if self.last < self.date:
            raise FieldErrors(("last", f"found {self.last}; allowed: date or a later day, which is {self.date}"))
        if to_day(self.last) - to_day(self.date) >= timedelta(days=LONGEST_HOLIDAY):
            raise FieldErrors(("last", f"found {self.last}; allowed: at most {LONGEST_HOLIDAY} days in all"))
        return self

    @property
    def days(self) -> LocalDays:
        """As the forecaster takes it."""
        like = self.like
        return LocalDays(
            to_day(self.date),
            to_day(self.last or self.date),
            self.name or "",
            None if like is None else Weekday(like).number if like in list(Weekday) else to_day(like),
        )


def _rules() -> tuple[Rule, ...]:
    step, season, history = (milliseconds(f"self.{name}") for name in ("step", "season", "history"))
    both = f"!({well_spelled(Duration, 'self.step', 'self.season')}) || {step} == 0"
    past = f"!({well_spelled(Duration, 'self.season', 'self.history')})"
    steps = f"!({well_spelled(Duration, 'self.step', 'self.history')})"
    return (
        Rule(
            f"{both} || {season} % {step} == 0",
            "a multiple of step",
            field=".season",
            message="'allowed: a multiple of step, which is ' + self.step",
        ),
        Rule(
            f"{both} || {season} % {step} != 0 || {season} >= 2 * {step}",
            "at least two steps",
            field=".season",
            message="'allowed: at least two steps, each of ' + self.step",
        ),
        Rule(
            f"{past} || {history} == 0 || {history} >= {season}",
            "at least season, or 0s",
            field=".history",
            message="'allowed: at least season, which is ' + self.season + ', or 0s'",
        ),
        Rule(
            f"{steps} || {history} <= {MOST_STEPS} * {step}",
            f"at most {MOST_STEPS} steps",
            field=".history",
            message=f"'allowed: at most {MOST_STEPS} steps of ' + self.step",
        ),
        Rule(
            "self.model != 'none' || !has(self.holidays) || self.holidays.size() == 0",
            "none with model none, which foresees nothing",
            field=".holidays",
        ),
    )


class Forecast(Model):
    """How arrivals are forecast. The defaults suit load with a daily rhythm."""

    model_config = rules(*_rules())

    step: Annotated[Duration, duration_between("100ms", "1h")] = Field(
        default=Duration.parse("15s"),
        description="Step of the forecast. History is read in at most 13,000 steps, of a multiple of it. Default: a "
        "tick, so that nothing of a jump is averaged away.",
    )
    season: Annotated[Duration, duration_between("1s", "28d")] = Field(
        default=Duration.parse("24h"),
        validate_default=True,
        description="Period in which load repeats; a multiple of step. Default: a day.",
    )
    history: Annotated[Duration, duration_between("0s", "90d")] = Field(
        default=Duration.parse("7d"),
        validate_default=True,
        description="Past that is read back on start: at least one season, or `0s` to read none. Default: a week, "
        "which is also how long Kafka keeps messages unless told otherwise; that weekdays differ is found in `28d`, "
        "with a `step` of `1m`. What comes live is remembered as long, and a week at least, or 50,000 steps.",
    )
    model: ForecastModel = Field(
        default=ForecastModel.AUTO,
        description="Forecaster: `direct` (regression on level, day and short periods), `levelSeason` (newest level "
        "times a seasonal ratio), `seasonalNaive` (the last season again), `none` (reactive only) or `auto`: "
        "`direct`, beside it `levelSeason` where the season is no day, and past cycles of a load that is found to have "
        "its own (a cron job's, a week), each as far as it was right. What is worse than the newest level is left out; "
        "the plan is reactive while there is nothing else. Default: what needs no knowledge of the load.",
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="IANA name of the zone whose clock people's days follow, such as `Europe/Berlin`: the season "
        "follows it over daylight saving time, and holidays are its days. Default: load that follows no clock on a "
        "wall.",
    )
    holidays: Annotated[
        tuple[Holiday, ...], Field(max_length=MOST_HOLIDAYS, json_schema_extra={"x-kubernetes-list-type": "map"})
    ] = Field(
        default=(),
        description="Days that are not like others of their kind, past ones too: those are left out of what is usual. "
        "A past one shows what the next is like.",
        json_schema_extra={"x-kubernetes-list-map-keys": ["date"]},
    )

    @field_validator("season")
    @classmethod
    def _whole_steps(cls, season: Duration, info: ValidationInfo) -> Duration:
        step: Duration | None = info.data.get("step")
        if step is not None and season.milliseconds % step.milliseconds:
            raise ValueError(f"found {season}; allowed: a multiple of step, which is {step}")
        if step is not None and season.milliseconds < 2 * step.milliseconds:
            raise ValueError(f"found {season}; allowed: at least two steps, each of {step}")
        return season

    @field_validator("history")
    @classmethod
    def _long_and_short_enough(cls, history: Duration, info: ValidationInfo) -> Duration:
        step: Duration | None = info.data.get("step")
        season: Duration | None = info.data.get("season")
        if season is not None and 0 < history < season:
            raise ValueError(f"found {history}; allowed: at least season, which is {season}, or 0s")
        if step is not None and history.milliseconds > MOST_STEPS * step.milliseconds:
            longest = Duration.of_milliseconds(MOST_STEPS * step.milliseconds)
            raise ValueError(f"found {history}; allowed: at most {MOST_STEPS} steps of {step}, which is {longest}")
        return history

    @field_validator("holidays")
    @classmethod
    def _each_once(cls, holidays: tuple[Holiday, ...], info: ValidationInfo) -> tuple[Holiday, ...]:
        if info.data.get("model") is ForecastModel.NONE and holidays:
            raise ValueError(f"found {len(holidays)}; allowed: none with model none, which foresees nothing")
        return once(holidays, "date")

    @property
    def calendar(self) -> Calendar:
        """The clock and the holidays of the people whose load it is."""
        return Calendar(self.time_zone, tuple(holiday.days for holiday in self.holidays))
