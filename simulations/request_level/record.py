"""What a request-level run leaves behind, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.request_level.setting import RequestSetting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ServiceRequests:
    """One service. By request [requests], in order of arrival; by tick [ticks], what held when the tick was decided."""

    uid: str
    within: float  # s, its objective
    arrivals: Floats  # s since the begin
    latency: Floats  # s from arrival to answer; NaN: refused, or never served
    refused: NDArray[np.bool_]
    at_start: int  # replicas before the first decision
    desired: Ints  # by tick: what the decision asked for
    granted: Ints  # by tick, after it: replicas that start or are ready, which are what is paid for
    ready: Ints  # by tick, before it
    waiting: Ints  # by tick, before it: requests in the queue
    reasons: tuple[str, ...]  # one text a tick: the codes, the decisive one first, joined by a blank

    @property
    def late(self) -> NDArray[np.bool_]:
        """Requests that were not served within the objective; the refused and the never served are."""
        return ~(self.latency <= self.within)


@dataclass(frozen=True, slots=True, eq=False)
class RequestRecord:
    """A whole run of ``seconds`` under one policy. ``ticks``: s since the begin, which is unix second ``start``."""

    setting: RequestSetting
    start: float
    seconds: float
    ticks: Floats
    services: tuple[ServiceRequests, ...]


@dataclass(frozen=True, slots=True)
class RequestMeasures:
    """One service's run, or all together. Figures without requests are NaN; latency (s) is of those served."""

    uid: str
    requests: int
    refused: int
    late: int  # not served within the objective, the refused among them
    mean: float
    p50: float
    p95: float
    p99: float
    p999: float
    replica_hours: float  # paid from the grant to the stop, or to the run's end
    mean_replicas: float  # the same, over the run's length
    changes: int  # ticks whose decision changed the count

    @property
    def missed(self) -> float:
        """Share of requests that were not served within the objective."""
        return self.late / self.requests if self.requests else float("nan")


def measures(record: RequestRecord) -> tuple[RequestMeasures, ...]:
    """One row for each service."""
    return tuple(_row(s.uid, (s,), record) for s in record.services)


def together(record: RequestRecord) -> RequestMeasures:
    """All services' requests pooled, their replicas added."""
    return _row("all", record.services, record)


def _row(uid: str, services: tuple[ServiceRequests, ...], record: RequestRecord) -> RequestMeasures:
    latency = np.concatenate([s.latency[~np.isnan(s.latency)] for s in services])
    known = len(latency) > 0
    p50, p95, p99, p999 = np.quantile(latency, (0.5, 0.95, 0.99, 0.999)).tolist() if known else [float("nan")] * 4
    lengths = np.diff(record.ticks, append=record.seconds)  # the last tick may be cut short
    granted = sum(float(s.granted @ lengths) for s in services)
    return RequestMeasures(
        uid,
        sum(len(s.latency) for s in services),
        sum(int(s.refused.sum()) for s in services),
        sum(int(s.late.sum()) for s in services),
        float(latency.mean()) if known else float("nan"),
        p50,
        p95,
        p99,
        p999,
        replica_hours=granted / 3600,
        mean_replicas=granted / record.seconds if record.seconds > 0 else float("nan"),
        changes=sum(int(np.count_nonzero(np.diff(s.desired, prepend=s.at_start))) for s in services),
    )
