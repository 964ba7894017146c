"""One pass over all sources for all scalers: each source once, side by side, and none can hold up the tick."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

from scaler.errors import where
from scaler.observe.histories import Histories
from scaler.observe.joins import SPAN, Joins
from scaler.observe.ports import ClusterSource, LatencySource, OffsetSource, Served
from scaler.observe.watched import KafkaCluster, PrometheusServer, Watched
from scaler.plan.observation import Freshness, LeadTime, Reading, ServiceObservation
from scaler.plan.reasons import Reason

log = logging.getLogger(__name__)
CLOSE_TIME = 2.0  # s, of all sources together
K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

SourceKey = tuple[str, Hashable]
KAFKA, PROMETHEUS, KUBERNETES = "kafka", "prometheus", "kubernetes"
_UNREACHABLE = {
    KAFKA: Reason.BROKER_UNREACHABLE,
    PROMETHEUS: Reason.PROMETHEUS_UNREACHABLE,
    KUBERNETES: Reason.KUBERNETES_UNREACHABLE,
}
_REMEDY = "check that it runs and the network path to it; it is asked again as soon as that call has ended"


class Gatherer:
    """Owns the sources; makes one observation for each scaler and tick.

    ``deadline`` (s) bounds a pass. A source that has not answered by then is reported as an error and is not asked
    again before its open call has come back, so that an outage piles nothing up. What may take its time is asked
    ``aside``, on threads of its own, so that it takes none from the pass.
    """

    def __init__(
        self,
        offsets: Callable[[KafkaCluster], OffsetSource],
        latency: Callable[[PrometheusServer], LatencySource],
        cluster: ClusterSource,
        executor: Executor,
        histories: Histories,
        deadline: float,
        aside: Executor | None = None,
    ) -> None:
        self._make_offsets = offsets
        self._make_latency = latency
        self._cluster = cluster
        self._executor = executor
        self._aside = aside or executor
        self._histories = histories
        self._deadline = deadline
        self._offsets: dict[KafkaCluster, OffsetSource] = {}
        self._latency: dict[PrometheusServer, LatencySource] = {}
        self._open: dict[SourceKey, Future[Any]] = {}
        self._joins = Joins()
        self._looking: dict[str, Future[Mapping[str, Sequence[Served]]]] = {}

    def prepare(self, scalers: Sequence[Watched]) -> None:
        """Begin what takes a while to start, before the first pass needs it."""
        for cluster in {s.kafka for s in scalers}:
            self._offset_source(cluster)

    def gather(self, now: float, scalers: Sequence[Watched]) -> Mapping[str, ServiceObservation]:
        """Sample everything that ``scalers`` need; one observation for each uid."""
        self._retire(scalers)
        topics = _by(scalers, lambda s: s.kafka, lambda s: s.topic)
        queries = _by(scalers, lambda s: s.prometheus, lambda s: s.latency)
        targets = [s.target for s in scalers]

        calls: dict[SourceKey, tuple[Callable[[], Mapping[Any, Reading[Any]]], Sequence[Hashable]]] = {
            (KUBERNETES, None): (lambda: self._cluster.sample(now, targets), targets)
        }
        sources = {cluster: self._offset_source(cluster) for cluster in topics}
        for cluster, wanted_topics in topics.items():
            source = sources[cluster]
            calls[KAFKA, cluster] = (lambda s=source, w=wanted_topics: s.sample(now, w), wanted_topics)  # type: ignore[misc]
        for server, wanted_queries in queries.items():
            prometheus = self._latency_source(server)
            calls[PROMETHEUS, server] = (lambda s=prometheus, w=wanted_queries: s.sample(now, w), wanted_queries)  # type: ignore[misc]
        answers = self._ask(now, calls)

        observed = {}
        for scaler in scalers:
            latency = answers[PROMETHEUS, scaler.prometheus][scaler.latency] if scaler.latency else None
            offsets = answers[KAFKA, scaler.kafka][scaler.topic]
            observed[scaler.uid] = ServiceObservation(
                uid=scaler.uid,
                offsets=offsets,
                latency=latency,
                replicas=answers[KUBERNETES, None][scaler.target],
                lead_times=self._lead_times(now, scaler),
                history=self._histories.collect(now, scaler, sources[scaler.kafka], offsets),
            )
        return observed

    def look_back_again(self, uid: str) -> None:
        """Hand the scaler's history over once more: its policy is a new one."""
        self._histories.again(uid)

    def close(self) -> None:
        """Close every source, side by side; one that takes longer than ``CLOSE_TIME`` is left to the process's end."""
        sources: list[OffsetSource | LatencySource | ClusterSource] = [self._cluster]
        sources += self._offsets.values()
        sources += self._latency.values()
        closing = [threading.Thread(target=source.close, name="close", daemon=True) for source in sources]
        for thread in closing:
            thread.start()
        end = time.monotonic() + CLOSE_TIME
        for thread in closing:
            thread.join(max(end - time.monotonic(), 0.0))

    def _ask(
        self,
        now: float,
        calls: Mapping[SourceKey, tuple[Callable[[], Mapping[Any, Reading[Any]]], Sequence[Hashable]]],
    ) -> dict[SourceKey, Mapping[Any, Reading[Any]]]:
        asked = {}
        for key, (call, _) in calls.items():
            stuck = self._open.get(key)
            if stuck is None or stuck.done():
                asked[key] = self._open[key] = self._executor.submit(call)
        wait(asked.values(), timeout=self._deadline)

        answers: dict[SourceKey, Mapping[Any, Reading[Any]]] = {}
        for key, (_, wanted) in calls.items():
            future = asked.get(key)
            if future is None or not future.done():
                answers[key] = _missing(key, now, wanted, f"no answer within {self._deadline:g} s; {_REMEDY}")
            elif (error := future.exception()) is not None:
                # A port must not raise; if one does it is our own fault, and still no reason to scale in.
                log.error("source %s failed: %s; please report it", key[0], where(error))
                answers[key] = _missing(key, now, wanted, f"internal error: {where(error)}")
            else:
                answers[key] = future.result()
        return answers

    def _lead_times(self, now: float, scaler: Watched) -> tuple[LeadTime, ...]:
        """Pods that became Ready since the last tick, and those of which it is now known when they held partitions.

        That is looked for in the background, where there is a latency source, and found one tick later.
        """
        told = tuple(self._cluster.lead_times(scaler.target))
        if scaler.prometheus is None or scaler.latency is None:
            return told
        looking = self._looking.get(scaler.uid)
        whole: tuple[LeadTime, ...] = ()
        if looking is not None and looking.done():
            del self._looking[scaler.uid]
            if looking.exception() is None:
                whole = self._joins.learn(scaler.uid, looking.result())
            looking = None
        self._joins.follow(scaler.uid, told, now)
        pods = self._joins.pods(scaler.uid)
        if pods and looking is None:
            source = self._latency_source(scaler.prometheus)
            self._looking[scaler.uid] = self._aside.submit(source.served, scaler.latency, pods, SPAN)
        return told + whole

    def _offset_source(self, cluster: KafkaCluster) -> OffsetSource:
        return _source(self._offsets, cluster, self._make_offsets)

    def _latency_source(self, server: PrometheusServer) -> LatencySource:
        return _source(self._latency, server, self._make_latency)

    def _retire(self, scalers: Sequence[Watched]) -> None:
        """Close sources that no scaler uses any more."""
        self._histories.forget(set(scalers))
        uids = {s.uid for s in scalers}
        self._joins.forget(uids)
        self._looking = {uid: future for uid, future in self._looking.items() if uid in uids}
        clusters = {s.kafka for s in scalers}
        servers = {s.prometheus for s in scalers}
        for cluster in [c for c in self._offsets if c not in clusters]:
            self._offsets.pop(cluster).close()
            self._open.pop((KAFKA, cluster), None)
        for server in [u for u in self._latency if u not in servers]:
            self._latency.pop(server).close()
            self._open.pop((PROMETHEUS, server), None)


class _Unmade:
    """A source that could not be made: whatever it is asked, it says so. It is tried again at the next tick."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def sample(self, *_: object) -> Any:
        raise self._error

    history = served = sample

    def close(self) -> None:
        """There is nothing to close."""


def _source(made: dict[K, S], key: K, make: Callable[[K], S]) -> S | _Unmade:
    """The one that was made for ``key``, or is made now."""
    if key not in made:
        try:
            made[key] = make(key)
        except Exception as error:  # noqa: BLE001 - one that cannot be made takes no other scaler's tick
            return _Unmade(error)
    return made[key]


def _by(
    scalers: Sequence[Watched], key: Callable[[Watched], K | None], value: Callable[[Watched], Hashable]
) -> dict[K, list[Any]]:
    grouped: dict[K, dict[Hashable, None]] = defaultdict(dict)
    for scaler in scalers:
        found = key(scaler)
        if found is not None:
            grouped[found][value(scaler)] = None
    return {k: list(v) for k, v in grouped.items()}


def _missing(key: SourceKey, now: float, wanted: Sequence[Hashable], detail: str) -> dict[Hashable, Reading[Any]]:
    kind, place = key
    name = place.bootstrap_servers if isinstance(place, KafkaCluster) else place  # its properties may hold a secret
    said = f"{kind}{f' at {name}' if name else ''}: {detail}"
    return {w: Reading(None, now, Freshness.ERROR, _UNREACHABLE[kind], said) for w in wanted}
