"""An HPA's options as text: its controller's periods, and the whole of ``spec.behavior``."""

# ruff: noqa: RUF009 - a Duration is an immutable float

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from scaler.api.quantities import Duration
from simulations.policies.hpa import Behavior, Rate, Rules, Select
from simulations.policies.hpa_metrics import TOLERANCE, Tolerance

_RATE = re.compile(r"(\d+)/(.+)")
_RULES = (
    'write as "window=60s pods=4/15s percent=100/15s select=Max tolerance=0.05": '
    "each may be left out, pods and percent may be repeated"
)
# What the API server admits.
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600.0, 1800.0


class HpaBehavior(StrEnum):
    """The ``behavior`` of an HPA: none, as KEDA makes it, or the defaults of autoscaling/v2 written out."""

    NONE = "none"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class HpaSettings:
    """One HPA and its controller.

    ``scale_up`` and ``scale_down``: one direction of ``behavior`` as text, such as ``window=60s percent=50/1m
    select=Max tolerance=0.05``; what it leaves out has autoscaling/v2's defaults, and so has the other direction.
    ``time_scale`` multiplies every period: 0.1 is ten times faster, for compressed time.
    """

    sync_period: Duration = Duration(15)  # the HPA controller's
    stabilization: Duration = Duration(300)  # the HPA controller's, downscale
    tolerance: float = TOLERANCE  # the HPA controller's
    behavior: HpaBehavior = HpaBehavior.NONE
    scale_up: str = ""
    scale_down: str = ""
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.sync_period > 0:
            raise ValueError("sync_period: found 0s; allowed: more")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: found {self.tolerance}; allowed: 0 <= tolerance < 1")
        if not self.time_scale > 0:
            raise ValueError(f"time_scale: found {self.time_scale}; allowed: more than 0")
        self.rules()

    def rules(self) -> Behavior | None:
        """``spec.behavior`` in this time scale; None: there is none. Raises ValueError for text that is no rule."""
        if self.behavior is HpaBehavior.NONE and not self.scale_up and not self.scale_down:
            return None
        default = Behavior()
        down = replace(default.down, window=float(self.stabilization))
        behavior = Behavior(_rules("scale_up", self.scale_up, default.up), _rules("scale_down", self.scale_down, down))
        return behavior.scaled(self.time_scale)

    def tolerances(self) -> Tolerance:
        """By direction."""
        behavior = self.rules()
        return Tolerance(self.tolerance, self.tolerance) if behavior is None else behavior.tolerance(self.tolerance)


def _rules(name: str, text: str, rules: Rules) -> Rules:
    """``rules`` with what ``text`` says instead."""
    rates: list[Rate] = []
    seen: set[str] = set()
    for word in text.split():
        key, _, given = word.partition("=")
        try:
            if key in seen and key not in ("pods", "percent"):
                raise ValueError(f"found {key} twice; allowed: once")
            seen.add(key)
            match key:
                case "window":
                    rules = replace(rules, window=_between(Duration.parse(given), 0.0, _LONGEST_WINDOW))
                case "pods" | "percent":
                    rates.append(_rate(given, percent=key == "percent"))
                case "select":
                    if given not in list(Select):
                        raise ValueError(f'found "{given}"; allowed: {", ".join(Select)}')
                    rules = replace(rules, select=Select(given))
                case "tolerance":
                    rules = replace(rules, tolerance=_between(_number(given), 0.0, 1.0))
                case _:
                    raise ValueError(f'found "{word}"; {_RULES}')
        except ValueError as error:
            raise ValueError(f"{name}: {key}: {error}") from None
    return replace(rules, rates=tuple(rates)) if rates else rules


def _rate(text: str, *, percent: bool) -> Rate:
    match = _RATE.fullmatch(text)
    if match is None or int(match[1]) < 1:
        raise ValueError(f'found "{text}"; allowed: a whole number of at least 1, a slash and a period, such as 4/15s')
    period = _between(Duration.parse(match[2]), 1.0, _LONGEST_PERIOD)
    return Rate(int(match[1]), period, percent=percent)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'found "{text}"; allowed: a number') from None


def _between(found: float, least: float, most: float) -> float:
    if not least <= found <= most:
        raise ValueError(f"found {found:g}; allowed: {least:g} to {most:g}")
    return float(found)
