"""The GPUs that the services' sample paths keep busy, made as far ahead as somebody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaler.plan import nodes_kernel as kernel
from scaler.plan.nodes_leads import Ahead
from scaler.plan.nodes_need import ServiceNeed
from scaler.plan.paths import Futures
from scaler.plan.settings import NodeSettings

Floats = NDArray[np.float64]

_AT_ONCE = 8  # steps: who looks at a step often looks at the next ones, too


def at_once(steps: int, ahead: Ahead) -> int:
    """How many steps are made for one who looks ``steps`` ahead."""
    return min(-(-steps // _AT_ONCE) * _AT_ONCE, ahead.end)


class Needed:
    """Of one tick. Where a service has the pool to itself, most ticks look no further than a new node takes to come,
    half as far as the paths can go."""

    def __init__(
        self, needs: Sequence[ServiceNeed], inverses: Sequence[Floats], ahead: Ahead, settings: NodeSettings
    ) -> None:
        """``inverses`` as :meth:`scaler.plan.nodes_present.Inverses.of` has them, of each service."""
        self._needs, self._inverses, self._ahead, self._settings = needs, inverses, ahead, settings
        self._count = max([len(need.futures.rates) for need in needs])
        self._needed = np.empty((len(needs), self._count, ahead.end))
        self.made = 0  # steps: how far somebody looked
        self._futures = [self._as_many(need.futures) for need in needs]

    def until(self, steps: int) -> Floats:
        """[S, N, at least ``steps``] GPUs, as the kernel wants them. What is behind ``steps`` is not to be read."""
        if steps > self.made:
            made = at_once(steps, self._ahead)
            for s in range(len(self._needs)):
                self._fill(s, self._farther(s, made), made)
            self.made = made
        return self._needed

    def _as_many(self, futures: Futures) -> Futures:
        """As many paths as of the others: fewer are taken again."""
        rates = futures.rates
        if len(rates) == self._count:
            return futures
        return replace(futures, rates=rates[np.arange(self._count) % len(rates)])

    def _farther(self, s: int, end: int) -> int:
        """Have paths that reach ``end`` if they can be had; the first step that is to be filled from them."""
        futures = self._futures[s]
        lacking = futures.rates.shape[1] * futures.step < futures.age + end * self._ahead.dt - 1e-9
        drawn = futures.farther() if lacking and futures.farther is not None else None
        if drawn is None or drawn.rates.shape[1] <= futures.rates.shape[1]:
            return self.made
        self._futures[s] = self._as_many(drawn)
        return 0  # a path is to be one and the same from its begin

    def _fill(self, s: int, begin: int, end: int) -> None:
        need, inverse, dt, settings = self._needs[s], self._inverses[s], self._ahead.dt, self._settings
        rates, step, age = self._futures[s].rates, self._futures[s].step, self._futures[s].age
        kernel.gpus_needed(
            rates,
            step,
            age,
            dt,
            self._futures[s].medians.upper(min(rates.shape[1], math.ceil((age + end * dt) / step) + 1)),
            settings.near,
            settings.far,
            1.0 + (settings.inflation_near - 1.0) * need.caution,
            _far(settings.inflation_far, need.caution),
            inverse,
            max(need.highest, 1e-9) / (len(inverse) - 1),
            begin,
            end,
            self._needed[s],
        )


def _far(inflation: float, caution: float) -> float:
    """The factor on the residuals by which nodes are ordered. Where more is attained than was declared (``caution``
    below 1) it falls below 1, too: that far ahead next to nothing is added to them that could be left out."""
    return inflation * caution if caution < 1.0 else 1.0 + (inflation - 1.0) * caution
