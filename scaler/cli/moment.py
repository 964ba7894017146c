"""A moment on the command line: a date and time, unix seconds, or how long ago."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from scaler.api.quantities import parse_duration

ALLOWED = (
    'allowed: a date and time such as "2026-03-01T14:30" (UTC unless it says otherwise), unix seconds, or how long ago,'
    ' such as "10m"'
)


@dataclass(frozen=True, slots=True)
class Moment:
    """Unix seconds, or (``ago``) seconds before the newest row."""

    seconds: float
    ago: bool = False

    def unix(self, newest: float) -> float:
        """Unix seconds, where the newest row is of ``newest``."""
        return newest - self.seconds if self.ago else self.seconds


class MomentType(click.ParamType[Moment]):
    """Reads a :class:`Moment`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        if isinstance(value, Moment):
            return value
        text = str(value)
        try:
            if math.isfinite(seconds := float(text)):
                return Moment(seconds)
        except ValueError:
            pass
        try:
            return Moment(parse_duration(text), ago=True)
        except ValueError:
            pass
        try:
            read = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"found {text!r}; {ALLOWED}", param, ctx)
        return Moment((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp())


MOMENT = MomentType()


def clock_text(time: float) -> str:
    """Unix seconds as a date and time in UTC; a time of a recorded trace, which counts from 0, as seconds."""
    if time < 1e8:
        return f"second {time:.0f}"
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
