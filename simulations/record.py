"""What a run leaves behind: columns by tick and by second, from which measures, pictures and the report are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaler.plan.decision import GroupDecision
from simulations.setting import Setting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LatencyHistogram:
    """Requests by latency. ``edges`` (s) has one more entry than ``requests``; the last edge is infinite."""

    edges: Floats
    requests: Floats


@dataclass(frozen=True, slots=True, eq=False)
class ServiceRecord:
    """One service. Columns by second have shape [seconds], by tick [ticks]; a tick's row is what held at its begin."""

    uid: str
    # by second
    arrived: Floats  # requests; NaN in a gap of the data
    late: Floats  # of the requests that arrived in this second, those that did not leave within the objective
    backlog: Floats  # requests waiting at its end
    time_lag: Floats  # s, age of the oldest request that waits at its end; 0 when none does
    ready: Ints
    pending: Ints  # asked for and not ready
    # by tick
    desired: Ints  # what the decision asked for
    rate: Floats  # arrival rate the policy saw, requests/s; NaN where it saw none
    forecast_at: Floats  # s ahead; NaN without a forecast
    forecast: Floats  # [ticks, 4]: quantiles .05, .5, .95, .99 of the rate at that time
    reasons: tuple[str, ...]  # one text a tick: the codes, the decisive one first, joined by a blank
    # of the whole run
    latency: LatencyHistogram
    changes: int  # decisions that changed the count
    rebalances: int  # changes of the group's membership
    unserved: float  # requests that still waited at the end
    undecided: float = 0.0  # of these, those not yet too old to leave within the objective

    @property
    def requests(self) -> float:
        """All that arrived."""
        return float(np.nansum(self.arrived))


@dataclass(frozen=True, slots=True, eq=False)
class PoolRecord:
    """The nodes, by second: asked for (paid), Ready, and without a pod."""

    uid: str
    asked: Ints
    ready: Ints
    empty: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A whole run under one policy. ``ticks`` are seconds since the run's first second; ``start`` is unix seconds."""

    setting: Setting
    policy: str
    start: float
    ticks: Floats
    services: tuple[ServiceRecord, ...]
    pool: PoolRecord | None
    decisions: tuple[GroupDecision, ...] | None = None  # kept only when asked for
