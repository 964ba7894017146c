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


class ScalerName(click.ParamType[tuple[str, str]]):
    """ "shop/chat": the namespace and the name of a PredictiveScaler."""

    name = "namespace/name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        namespace, slash, name = str(value).partition("/")
        if not (namespace and slash and name) or "/" in name:
            self.fail(f"found {value!r}; allowed: NAMESPACE/NAME, such as shop/chat", param, ctx)
        return namespace, name


DURATION = Duration()
SCALER = ScalerName()
