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


class Needed:
    """Of one tick. Most ticks look no further than a new node takes to come, half as far as the paths go."""

    def __init__(
        self, needs: Sequence[ServiceNeed], inverses: Sequence[Floats], ahead: Ahead, settings: NodeSettings
    ) -> None:
        """``inverses`` as :meth:`scaler.plan.nodes_present.Inverses.of` has them, of each service."""
        self._needs, self._inverses, self._ahead, self._settings = needs, inverses, ahead, settings
        self.paths = max([len(need.paths) for need in needs])
        self._needed = np.empty((len(needs), self.paths, ahead.end))
        self._made = 0  # steps
        self._middles = [self._middle(need) for need in needs]

    def until(self, steps: int) -> Floats:
        """[S, N, at least ``steps``] GPUs, as the kernel wants them. What is behind ``steps`` is not to be read."""
        if steps > self._made:
            made = min(-(-steps // _AT_ONCE) * _AT_ONCE, self._ahead.end)
            for s in range(len(self._needs)):
                self._fill(s, made)
            self._made = made
        return self._needed

    def _middle(self, need: ServiceNeed) -> tuple[Floats, Middles]:
        """Paths, as many as of the others, and their medians."""
        paths = need.paths
        if len(paths) != self.paths:
            paths = paths[np.arange(self.paths) % len(paths)]
        paths = np.ascontiguousarray(paths, dtype=np.float64)
        return paths, need.middles if paths is need.paths and need.middles is not None else Middles(paths)

    def _fill(self, s: int, end: int) -> None:
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
            self._made,
            end,
            self._needed[s],
        )
