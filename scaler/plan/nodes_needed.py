"""The GPUs that the services' sample paths keep busy, made as far ahead as somebody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scaler.plan import nodes_kernel as kernel
from scaler.plan.nodes_leads import Ahead
from scaler.plan.nodes_need import ServiceNeed
from scaler.plan.paths import Middles
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
        self.paths = max([len(need.paths) for need in needs])
        self._needed = np.empty((len(needs), self.paths, ahead.end))
        self.made = 0  # steps: how far somebody looked
        self._middles = [self._middle(need, need.paths, need.middles) for need in needs]

    def until(self, steps: int) -> Floats:
        """[S, N, at least ``steps``] GPUs, as the kernel wants them. What is behind ``steps`` is not to be read."""
        if steps > self.made:
            made = at_once(steps, self._ahead)
            for s in range(len(self._needs)):
                self._fill(s, self._farther(s, made), made)
            self.made = made
        return self._needed

    def _middle(self, need: ServiceNeed, paths: Floats, middles: Middles | None) -> tuple[Floats, Middles]:
        """Paths, as many as of the others, and their medians."""
        given = paths
        if len(paths) != self.paths:
            paths = paths[np.arange(self.paths) % len(paths)]
        paths = np.ascontiguousarray(paths, dtype=np.float64)
        return paths, middles if paths is given and middles is not None else Middles(paths)

    def _farther(self, s: int, end: int) -> int:
        """Have paths that reach ``end`` if they can be had; the first step that is to be filled from them."""
        need, (paths, _) = self._needs[s], self._middles[s]
        lacking = paths.shape[1] * need.step < need.age + end * self._ahead.dt - 1e-9
        drawn = need.farther() if lacking and need.farther is not None else None
        if drawn is None or drawn.shape[1] <= paths.shape[1]:
            return self.made
        self._middles[s] = self._middle(need, drawn, None)
        return 0  # a path is to be one and the same from its begin

    def _fill(self, s: int, begin: int, end: int) -> None:
        need, inverse, dt, settings = self._needs[s], self._inverses[s], self._ahead.dt, self._settings
        paths, middles = self._middles[s]
        kernel.gpus_needed(
            paths,
            need.step,
            need.age,
            dt,
            middles.upper(min(paths.shape[1], math.ceil((need.age + end * dt) / need.step) + 1)),
            settings.near,
            settings.far,
            1.0 + (settings.inflation_near - 1.0) * need.caution,
            1.0 + (settings.inflation_far - 1.0) * need.caution,
            inverse,
            max(need.highest, 1e-9) / (len(inverse) - 1),
            begin,
            end,
            self._needed[s],
        )
