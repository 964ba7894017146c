"""Lagcast where services share a fixed number of replicas and answer each request within about a second.

For Faro's setting (docs/benchmarks.md), in which nothing is saved by leaving replicas out: all of them are given away
by what another one is worth to each service (scaler/plan/shared_total.py), over Lagcast's sample paths of the newest
level, which need no history. The total is the pool of that name; without one, the counts that there are.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecasting.competition_naive import NewestLevel
from forecasting.series import Arrivals
from scaler.plan.decision import GroupDecision, PoolDecision, ServiceDecision
from scaler.plan.observation import GroupObservation, ReplicaState, ServiceObservation
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.plan.shared_total import Floats, SharedSettings, divide, late_rates
from simulations.policies.lagcast import without_options
from simulations.policies.peers import fault, held, in_controller, numbers, without_target
from simulations.policies.windows import backlog
from simulations.request_level.setting import TOTAL

if TYPE_CHECKING:
    from scaler.controller import MakePolicy
    from simulations.policies.catalog import PolicyMaker

_KIND, _VERSION = "lagcast_shared", 2


class _Shared:
    """What is known of one service: its arrivals so far, and the forecaster of those to come."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.forecaster = NewestLevel(service.tick)
        self.seen: tuple[float, float] | None = None  # unix s, requests that had arrived by then

    def take(self, observed: ServiceObservation) -> float | None:
        """Requests that wait or are served; None where that is not known now."""
        offsets = observed.offsets.value if observed.offsets.fresh else None
        if offsets is None:
            return None
        time, arrived = observed.offsets.time, float(offsets.end.sum())
        if self.seen is not None and time > self.seen[0]:
            since, before = self.seen
            if arrived >= before:
                self.forecaster.update(Arrivals(time, time - since, arrived - before))
        if self.seen is None or time > self.seen[0]:
            self.seen = (time, arrived)
        return backlog(offsets)

    def late(self, waiting: float, replicas: int, most: int, settings: SharedSettings) -> Floats:
        """Late requests/s by the number of replicas.

        What waits beyond what is answered in time is to be gone in a lead time. Before any arrivals are known, a
        replica's work is taken for them, so that services begin alike.
        """
        s = self.service
        if not self.forecaster.ready:
            return late_rates(np.array([s.service_rate]), most, s.service_rate, s.within, settings.variation)
        window = max(int(s.lead_time / s.tick), 1)
        rng = np.random.default_rng(1)  # the same chances at every tick
        paths = self.forecaster.paths(window * settings.windows, settings.paths, rng).astype(np.float64)
        means = paths.reshape(settings.paths, settings.windows, window).mean(axis=2)
        overdue = max(waiting - s.service_rate * s.within * replicas, 0.0) / max(s.lead_time, s.tick)
        return late_rates(means + overdue, most, s.service_rate, s.within, settings.variation)


class SharedPolicy:
    """A Policy for all services that share a total."""

    def __init__(self, services: Sequence[Service], settings: SharedSettings | None = None) -> None:
        self._settings = settings or SharedSettings()
        self._shared = {service.uid: _Shared(service) for service in services}

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``. A service of which anything is not known keeps what it has.

        Raises KeyError for a service that the policy was not made for.
        """
        seen = [(one, self._shared[one.uid], self._shared[one.uid].take(one)) for one in observed.services]
        total = _total(observed)
        known: list[tuple[ServiceObservation, ReplicaState, Floats]] = []
        kept = 0
        for one, shared, waiting in seen:
            replicas = one.replicas.value
            if replicas is not None and one.replicas.fresh and waiting is not None and total is not None:
                late = shared.late(waiting, replicas.desired, min(total, shared.service.max_replicas), self._settings)
                known.append((one, replicas, late))
            else:
                kept += 0 if replicas is None else replicas.desired
        given = self._divide(total - kept, known) if total is not None and known else {}
        decisions = tuple(_decision(now, one, given.get(one.uid)) for one, _, _ in seen)
        pools = tuple(PoolDecision(pool.uid, now, None, (Reason.STEADY,)) for pool in observed.pools)
        return GroupDecision(decisions, pools)

    def _divide(self, total: int, known: Sequence[tuple[ServiceObservation, ReplicaState, Floats]]) -> dict[str, int]:
        services = [self._shared[one.uid].service for one, _, _ in known]
        most = [len(late) - 1 for _, _, late in known]
        counts = divide(
            total,
            [replicas.desired for _, replicas, _ in known],
            [min(service.min_replicas, high) for service, high in zip(services, most, strict=True)],
            most,
            [late for _, _, late in known],
            self._settings.moves,
            self._settings.least_gain,
        )
        return {one.uid: count for (one, _, _), count in zip(known, counts, strict=True)}

    def snapshot(self) -> bytes:
        """All state. To be restored only from where nobody else can write: it is a pickle."""
        return pickle.dumps((_KIND, _VERSION, self._shared), protocol=5)

    def restore(self, saved: bytes) -> None:
        """Take over a snapshot of the same services. Raises ValueError for anything else, and changes nothing then."""
        try:
            kind, version, shared = pickle.loads(saved)  # noqa: S301 - see snapshot
            same = (kind, version) == (_KIND, _VERSION) and {u: s.service for u, s in shared.items()} == {
                uid: one.service for uid, one in self._shared.items()
            }
        except Exception as error:  # foreign bytes fail in any way
            raise ValueError(f"not a snapshot of {_KIND}: start without it") from error
        if not same:
            raise ValueError(f"a snapshot of {kind!r} version {version}, or of other services")
        self._shared = shared


def make(options: Mapping[str, str]) -> PolicyMaker:
    """The policy; it takes no options. Raises ConfigError for any."""
    without_options("lagcast_shared", options)
    return SharedPolicy


def lagcast_shared(options: Mapping[str, str]) -> MakePolicy:
    """Entry point ``lagcast_shared`` of the group ``lagcast.policies``."""
    return in_controller(make(options))


def _decision(now: float, observed: ServiceObservation, count: int | None) -> ServiceDecision:
    replicas = observed.replicas.value
    if replicas is None or not observed.replicas.fresh:
        return without_target(now, observed)
    offsets = observed.offsets.value if observed.offsets.fresh else None
    if offsets is None:
        return held(now, observed, replicas, fault(observed.offsets), numbers(replicas, None))
    seen = numbers(replicas, offsets)
    if count is None or count == replicas.desired:
        return held(now, observed, replicas, (Reason.STEADY,), seen)
    return ServiceDecision(observed.uid, now, replicas.desired, count, (Reason.FORECAST,), seen)


def _total(observed: GroupObservation) -> int | None:
    """Replicas that the services share; None where that is not known."""
    for pool in observed.pools:
        if pool.uid == TOTAL:
            return pool.state.value.ready if pool.state.fresh and pool.state.value is not None else None
    return None
