"""A service whose requests are looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from scaler.plan.service import Service
from simulations.request_level.setting import RequestService
from simulations.request_level.station import Station
from simulations.service_times import ServiceTime

MakeService = Callable[..., RequestService]
MakeStation = Callable[..., Station]


class Listed:
    """Service times as they are listed, one by one."""

    batch = 1

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = np.array(seconds, dtype=np.float64)

    @property
    def mean(self) -> float:
        return float(self._seconds.mean())

    def draw(self, size: int, rng: np.random.Generator) -> float:
        raise NotImplementedError

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return self._seconds[:count]


def service_of(
    time: ServiceTime | Sequence[float], *, uid: str = "u", tick: float = 10.0, within: float = 1.0, **true: object
) -> RequestService:
    declared = Service(
        uid=uid,
        within=within,
        share=0.99,
        min_replicas=1,
        max_replicas=100,
        service_rate=2.0,
        service_time=0.5,
        lead_time=30.0,
        tick=tick,
        step=60.0,
        scale_in_hold=300.0,
    )
    return RequestService(declared, Listed(time) if isinstance(time, Sequence) else time, **true)  # type: ignore[arg-type]


@pytest.fixture
def service() -> MakeService:
    """``service(time, ...)``: a service time or a list of seconds, and fields of RequestService."""
    return service_of


@pytest.fixture
def station() -> MakeStation:
    """``station(arrivals, time, ...)``: the same, with its requests."""

    def make(
        arrivals: Sequence[float], time: ServiceTime | Sequence[float], *, seed: int = 1, **true: object
    ) -> Station:
        return Station(service_of(time, **true), np.array(arrivals, dtype=np.float64), np.random.default_rng(seed))

    return make
