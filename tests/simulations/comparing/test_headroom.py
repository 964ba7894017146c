"""Lagcast without forecasts has one parameter that buys attainment with replicas."""

from __future__ import annotations

import numpy as np

from scaler.plan.service import Service
from simulations.compare import Work, sweep
from simulations.setting import Between, Load, Partitioned, ServiceSetting, Setting


def test_headroom_takes_the_reactive_plan_from_the_least_to_many_times_as_many() -> None:
    service = Service(
        uid="chat",
        within=10.0,
        share=0.99,
        min_replicas=1,
        max_replicas=200,
        service_rate=2.0,
        service_time=0.2,
        lead_time=60.0,
        tick=15.0,
        step=60.0,
        scale_in_hold=300.0,
    )
    setting = Setting((ServiceSetting(service, 2.0, 0.2, Partitioned(200), Between(30.0, 60.0), replicas=20),), seed=4)
    load = Load(0.0, np.random.default_rng(1).poisson(np.full(1800, 36.0)).astype(np.float64))
    outcomes = [Work(setting, (load,))(job) for job in sweep("lagcast_reactive")]
    hours = [o.gpu_hours for o in outcomes]
    assert hours == sorted(hours)
    # 36 requests/s are 18 replicas' work for half an hour.
    assert 9.0 <= hours[0] <= 12.0
    assert hours[-1] > 5 * hours[0]
    assert outcomes[-1].attainment >= outcomes[0].attainment
