"""Outcomes with the figures that a test names."""

from __future__ import annotations

import math

from simulations.compare import Job, Outcome
from simulations.measures import Elasticity, Measures

NO_ELASTICITY = Elasticity(math.nan, math.nan, math.nan, math.nan, math.nan)


def measures(attainment: float, hours: float, uid: str = "chat", requests: float = 1000.0) -> Measures:
    late = 0.0 if math.isnan(attainment) else (1 - attainment) * requests
    return Measures(
        uid=uid,
        requests=requests,
        late=late,
        attainment=attainment,
        replica_hours=hours,
        gpu_hours=hours,
        cost=hours,
        p50=0.2,
        p95=0.3,
        p99=math.nan,
        p999=2.0,
        longest_time_lag=3.0,
        changes=5,
        rebalances=4,
        pending_replica_hours=0.5,
        elasticity=NO_ELASTICITY,
    )


def outcome(attainment: float, hours: float, policy: str = "hpa_rate", value: float | None = None) -> Outcome:
    options = () if value is None else (("utilization", f"{value:g}"),)
    return Outcome(Job(policy, options, value), (measures(attainment, hours),))
