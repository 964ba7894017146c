"""Click parameter types for the units that resources use."""

from __future__ import annotations

import click

from scaler.api.quantities import parse_duration


class Duration(click.ParamType[float]):
    """ "15s", "2m": seconds as a float."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()
