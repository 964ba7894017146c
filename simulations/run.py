"""One run: a policy over a simulated cluster, tick by tick, and what it left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from scaler.plan.decision import GroupDecision, Policy, ServiceDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.reasons import Reason
from simulations.cluster import Cluster, ServiceColumns
from simulations.record import Record, ServiceRecord
from simulations.setting import Load, Setting, uids

Told = Callable[[GroupObservation, GroupDecision], None]
"""Told of each tick: what was observed, and what was decided."""

_SHOWN = 100  # times that progress is told at most


def simulate(
    setting: Setting,
    loads: Sequence[Load],
    policy: Policy,
    *,
    name: str,
    keep_decisions: bool = False,
    progress: Callable[[float], None] | None = None,
    told: Told | None = None,
) -> Record:
    """Run ``policy``, called ``name`` in the record, under ``loads``: one for each service, of one start and length.

    ``progress`` is called with the share done, at most 100 times; ``told`` with each tick. The same setting, loads and
    policy give the same record. Raises BadSetting.
    """
    cluster = Cluster(setting, tuple(loads))
    ticks = -(-cluster.seconds // int(setting.tick))
    journals = [Journal(ticks) for _ in setting.services]
    kept: list[GroupDecision] = []
    every = -(-ticks // _SHOWN)
    for tick in range(ticks):
        observed = cluster.observe()
        decision = policy.step(cluster.now, observed)
        cluster.apply(decision)
        for journal, one in zip(journals, decision.services, strict=True):
            journal.note(tick, one)
        if told is not None:
            told(observed, decision)
        if keep_decisions:
            kept.append(decision)
        cluster.advance()
        if progress is not None and (tick + 1) % every == 0:
            progress((tick + 1) / ticks)
    made = zip(uids(setting.services), journals, cluster.columns(), strict=True)
    return Record(
        setting=setting,
        policy=name,
        start=cluster.start,
        ticks=np.arange(ticks, dtype=np.float64) * setting.tick,
        services=tuple(journal.record(uid, columns) for uid, journal, columns in made),
        pool=cluster.pool(),
        decisions=tuple(kept) if keep_decisions else None,
    )


class Journal:
    """One service's decisions as columns by tick."""

    def __init__(self, ticks: int) -> None:
        self._desired = [0] * ticks
        self._rate = [math.nan] * ticks
        self._forecast_at = [math.nan] * ticks
        self._forecast: list[tuple[float, float, float, float]] = [(math.nan,) * 4] * ticks
        self._reasons = [""] * ticks
        self._texts: dict[tuple[Reason, ...], str] = {}
        self._last = 0
        self._changes = 0

    def note(self, tick: int, decision: ServiceDecision) -> None:
        """Take down the decision of a tick; one without a count holds the one before."""
        current, desired, seen = decision.current, decision.desired, decision.numbers
        if desired is not None:
            self._last = desired
            self._changes += current is not None and desired != current
        elif current is not None:
            self._last = current
        self._desired[tick] = self._last
        if seen.arrival_rate is not None:
            self._rate[tick] = seen.arrival_rate
        if seen.forecast is not None:
            forecast = seen.forecast
            self._forecast_at[tick] = forecast.at
            self._forecast[tick] = (forecast.p05, forecast.p50, forecast.p95, forecast.p99)
        text = self._texts.get(decision.reasons)
        if text is None:
            text = self._texts[decision.reasons] = " ".join(decision.reasons)
        self._reasons[tick] = text

    def record(self, uid: str, columns: ServiceColumns) -> ServiceRecord:
        """All that is known of the service's run."""
        return ServiceRecord(
            uid=uid,
            arrived=columns.arrived,
            late=columns.late,
            backlog=columns.backlog,
            time_lag=columns.time_lag,
            ready=columns.ready,
            pending=columns.pending,
            desired=np.array(self._desired, np.int64),
            rate=np.array(self._rate),
            forecast_at=np.array(self._forecast_at),
            forecast=np.array(self._forecast),
            reasons=tuple(self._reasons),
            latency=columns.latency,
            changes=self._changes,
            rebalances=columns.rebalances,
            unserved=columns.unserved,
            undecided=columns.undecided,
        )
