"""Days, times of day, moments and time zones as a user writes them: strings, checked alike by Python and by CEL.

What a date is, leap years included, is in its pattern, so that CEL's ``timestamp`` never meets one that it cannot read.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import numpy as np
from pydantic import Field

from forecasting.calendar import Calendar
from scaler.api.cel import Checked, text
from scaler.api.describe import found
from scaler.api.model import matches

# Years 2000 to 2099: in those, every fourth is a leap year.
DAY = (
    r"20[0-9]{2}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))|20(?:[02468][048]|[13579][26])-02-29"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
MOMENT = rf"(?:{DAY})T{_CLOCK}(?::[0-5][0-9])?{_ZONE}?"


class Weekday(StrEnum):
    """Days of the week."""

    MONDAY = "Mon"
    TUESDAY = "Tue"
    WEDNESDAY = "Wed"
    THURSDAY = "Thu"
    FRIDAY = "Fri"
    SATURDAY = "Sat"
    SUNDAY = "Sun"

    @property
    def number(self) -> int:
        """Monday is 0."""
        return list(Weekday).index(self)


def _known(zone: str) -> str:
    """Which zones there are only this side knows; CEL has their spelling."""
    try:
        Calendar(zone)
    except ValueError:
        raise ValueError(
            f"found {found(zone)}; allowed: a time zone by its IANA name, as Europe/Berlin or UTC"
        ) from None
    return zone


TimeZone = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=64),
    matches(
        r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z][A-Za-z0-9_+-]*){0,2}",
        "a time zone by its IANA name, as Europe/Berlin or UTC",
    ),
    Checked(_known, ()),
]
Day = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=10),
    matches(DAY, 'a date of the years 2000 to 2099, such as "2026-12-25"'),
]
DayOrWeekday = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=10),
    matches(rf"{DAY}|{'|'.join(Weekday)}", f'a date, such as "2026-12-25", or one of {", ".join(Weekday)}'),
]
TimeOfDay = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=5),
    matches(rf"{_CLOCK}|24:00", 'a time of day from "00:00" to "24:00"'),
]
Moment = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=25),
    matches(
        MOMENT,
        'date and time, such as "2026-11-27T09:00" by the clock of forecast.timeZone, or with an offset from UTC, such '
        'as "2026-11-27T09:00:00+01:00" or "2026-11-27T08:00Z"',
    ),
]


def to_day(spelled: str) -> date:
    """A :data:`Day` as a date."""
    return date.fromisoformat(spelled)


def to_seconds(spelled: str) -> float:
    """A :data:`TimeOfDay` in s after midnight."""
    hours, minutes = spelled.split(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0


def has_offset(spelled: str) -> bool:
    """Whether a :data:`Moment` says how far from UTC it is."""
    return re.search(rf"{_ZONE}$", spelled) is not None


def to_unix(spelled: str, calendar: Calendar) -> float:
    """A :data:`Moment` in unix s; without an offset it is by the clock of ``calendar``."""
    moment = datetime.fromisoformat(spelled)
    if moment.tzinfo is not None:
        return moment.timestamp()
    local = datetime.fromisoformat(f"{spelled}+00:00").timestamp()
    return float(calendar.to_unix(np.array([local]))[0])


def instant(subject: str) -> str:
    """CEL for a moment as a timestamp; one without an offset as if its clock were UTC's."""
    seconds = f"({subject}.matches({text('^.{16}:')}) ? {subject}.substring(16, 19) : ':00')"
    zone = offset(subject)
    return f"timestamp({subject}.substring(0, 16) + {seconds} + ({zone} == '' ? 'Z' : {zone}))"


def offset(subject: str) -> str:
    """CEL for the offset that a moment states; empty without one."""
    return f"{subject}.find({text('(Z|[+-][0-9]{2}:[0-9]{2})$')})"
