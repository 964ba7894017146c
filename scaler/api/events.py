"""Load that people know of beforehand: the part ``plannedEvents`` of the resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from forecasting.calendar import Calendar
from forecasting.events import PlannedEvent as Planned
from scaler.api.cel import Rule, milliseconds, whole
from scaler.api.model import FieldErrors, Model, Name, rules
from scaler.api.moments import DAY, MOMENT, Day, Moment, has_offset, instant, offset, to_day, to_unix
from scaler.api.quantities import Duration, Fraction, between, duration_between

MOST_EVENTS = 32
LONGEST = Duration.parse("31d")
_LEAST_FACTOR, _MOST_FACTOR = Fraction.parse("0.001"), Fraction.parse("1000")
_NO_RATE, _MOST_RATE = Fraction.parse("0"), Fraction.parse("1000M")
_SIZES = ("factor", "rate", "like")


def _rules() -> tuple[Rule, ...]:
    spelled = " && ".join(whole(MOMENT, f"self.{name}") for name in ("begin", "end"))
    alike = f"({offset('self.begin')} == '') == ({offset('self.end')} == '')"
    lasts = f"({instant('self.end')} - {instant('self.begin')})"
    ramp = f"!{whole(Duration.spelling, 'self.ramp')}"
    return (
        Rule(
            f"[{', '.join(f'has(self.{name})' for name in _SIZES)}].filter(x, x).size() == 1",
            f"exactly one of {', '.join(_SIZES)}",
        ),
        Rule(f"!({spelled}) || {alike}", "an offset from UTC in both of begin and end, or in neither", field=".end"),
        Rule(f"!({spelled}) || !({alike}) || {lasts} > duration('0s')", "after begin", field=".end"),
        Rule(
            f"!({spelled}) || !({alike}) || {lasts} <= duration('{round(LONGEST)}s')",
            f"at most {LONGEST} after begin",
            field=".end",
        ),
        Rule(
            f"!({spelled}) || !({alike}) || {ramp} || {lasts} <= duration('0s') || "
            f"{milliseconds('self.ramp')} * 2 <= {lasts}.getMilliseconds()",
            "at most half of the event, since it comes and goes",
            field=".ramp",
        ),
        Rule(
            f"!has(self.like) || !{whole(DAY, 'self.like')} || !{whole(MOMENT, 'self.begin')} || {_before_begin()}",
            "a day before begin",
            field=".like",
        ),
    )


def _before_begin() -> str:
    """CEL for ``like``; where begin has an offset, the clock of forecast.timeZone may show the day after already."""
    own = "self.begin.substring(0, 10)"
    return f"self.like < {own} || ({offset('self.begin')} != '' && self.like == {own})"


class PlannedEvent(Model):
    """From `begin` to `end` load is not as usual."""

    model_config = rules(*_rules())

    name: Name = Field(description="What it is called; used once.")
    begin: Moment = Field(description="When it begins: by the clock of forecast.timeZone, or with an offset from UTC.")
    end: Moment = Field(description="When it ends, spelled in the same way: at most 31 days later.")
    factor: Annotated[Fraction, between(_LEAST_FACTOR, _MOST_FACTOR)] | None = Field(
        default=None, description="Its size as a factor of what would come without it: `2` is twice as much."
    )
    rate: Annotated[Fraction, between(_NO_RATE, _MOST_RATE)] | None = Field(
        default=None, description="Its size as the requests/s that come in all."
    )
    like: Day | None = Field(
        default=None,
        description="Its size as that of a past day: as much above or below the usual at each time of day. The history "
        "must hold that day.",
    )
    ramp: Annotated[Duration, duration_between("0s", "24h")] = Field(
        default=Duration.parse("0s"),
        description="Time over which it comes, and again over which it goes. Default: it comes and goes at once.",
    )

    @model_validator(mode="after")
    def _one_size_and_an_end_after_its_begin(self) -> PlannedEvent:
        given = [name for name in _SIZES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"found {' and '.join(given) or 'none'}; allowed: exactly one of {', '.join(_SIZES)}")
        if has_offset(self.begin) != has_offset(self.end):
            rule = "an offset from UTC in both of begin and end, or in neither"
            raise FieldErrors(("end", f"found {self.end}, and begin {self.begin}; allowed: {rule}"))
        clock = Calendar()
        lasts = to_unix(self.end, clock) - to_unix(self.begin, clock)
        if lasts <= 0:
            raise FieldErrors(("end", f"found {self.end}; allowed: after begin, which is {self.begin}"))
        if lasts > LONGEST:
            raise FieldErrors(("end", f"found {self.end}; allowed: at most {LONGEST} after begin, {self.begin}"))
        if 2 * self.ramp.milliseconds > 1000 * lasts:
            rule = "at most half of the event, since it comes and goes"
            raise FieldErrors(("ramp", f"found {self.ramp}; allowed: {rule}"))
        own = self.begin[:10]
        if self.like is not None and (self.like > own or (self.like == own and not has_offset(self.begin))):
            raise FieldErrors(("like", f"found {self.like}; allowed: a day before begin, which is {self.begin}"))
        return self


def to_events(declared: Sequence[PlannedEvent], calendar: Calendar) -> tuple[Planned, ...]:
    """The events in unix s.

    Of one by the clock, what falls into an hour that the clock leaves out is left out, and with it an event of nothing
    else.
    """
    made = []
    for one in declared:
        begin, end = (to_unix(spelled, calendar) for spelled in (one.begin, one.end))
        if end > begin:
            made.append(
                Planned(
                    begin,
                    end,
                    factor=None if one.factor is None else float(one.factor),
                    rate=None if one.rate is None else float(one.rate),
                    like=None if one.like is None else to_day(one.like),
                    ramp=min(float(one.ramp), (end - begin) / 2),
                    name=one.name,
                )
            )
    return tuple(made)
