"""The series of pools of GPU nodes, and their life with the pool."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.api.gpu_node_pool import GpuNodePool
from scaler.metrics.catalog import POOL, POOL_METRICS
from scaler.metrics.labelled import Labelled
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason
from scaler.pools.limits import cost_per_hour, most_nodes
from scaler.pools.row import PoolRow

WRITES = (
    Reason.APPLIED,
    Reason.CONFLICT,
    Reason.PATCH_FAILED,
    Reason.TARGET_NOT_FOUND,
    Reason.TARGET_WITHOUT_SCALE,
    Reason.OWNED_BY_ANOTHER,
    Reason.CONTESTED_TARGET,
    Reason.FORBIDDEN,
)


class PoolSeries:
    """What is shown of pools. A value that is not known is NaN, never 0."""

    def __init__(self, series: Mapping[str, Labelled]) -> None:
        """``series`` by the metrics' names."""
        self._series = series
        self._reasons: dict[str, frozenset[str]] = {}
        self._info: dict[str, tuple[str, str]] = {}

    def decided(self, row: PoolRow) -> None:
        """Publish one tick of one pool."""
        pool = row.resource
        name, state = pool.metadata.name, row.seen.observation.state
        if name not in self._info:
            for outcome in WRITES:  # they begin at zero, so that the first one is seen as an increase
                self._series["pool_writes"].begin(name, outcome)
            self._series["node_lead_time_seconds"].begin(name)
        self._declared(pool)
        now = state.value if state.fresh else None
        paid = None if now is None else now.ready + len(now.pending_since)
        oldest = None
        if now is not None:
            oldest = max(state.time - min(now.pending_since), 0.0) if now.pending_since else 0.0
        for metric, value in (
            ("pool_desired_nodes", row.nodes),
            ("pool_current_nodes", None if now is None else now.floor),
            ("pool_ready_nodes", None if now is None else now.ready),
            ("pool_pending_nodes", None if now is None else len(now.pending_since)),
            ("pool_empty_nodes", None if now is None else now.empty),
            ("pool_oldest_pending_seconds", oldest),
            ("pool_lead_time_seconds", None if row.decision is None else row.decision.lead_time),
            ("pool_cost_per_hour", None if paid is None else cost_per_hour(pool, paid)),
            ("pool_services", row.services),
        ):
            self._series[metric].set(value, name)
        for status in Freshness:
            self._series["pool_input_status"].set(state.freshness is status, name, status)
        for seconds in row.seen.observation.lead_times:
            self._series["node_lead_time_seconds"].observe(seconds, name)
        if row.outcome.reason in WRITES:
            self._series["pool_writes"].add(1, name, row.outcome.reason)
        decided = () if row.decision is None else row.decision.reasons
        reasons = frozenset(str(reason) for reason in (*decided, row.outcome.reason))
        for reason in self._reasons.get(name, frozenset()) - reasons:
            self._series["pool_reason"].remove(pool=name, reason=reason)
        for reason in reasons:
            self._series["pool_reason"].set(1, name, reason)
        self._reasons[name] = reasons

    def gone(self, name: str) -> None:
        """Remove every series of a pool that is no longer there."""
        for metric in POOL_METRICS:
            self._series[metric.name].remove(**{POOL: name})
        self._reasons.pop(name, None)
        self._info.pop(name, None)

    def _declared(self, pool: GpuNodePool) -> None:
        name, info = pool.metadata.name, (pool.spec.provider.name, str(pool.spec.mode))
        if self._info.get(name) not in (None, info):
            self._series["pool_info"].remove(pool=name)
        self._info[name] = info
        self._series["pool_info"].set(1, name, *info)
        self._series["pool_min_nodes"].set(pool.spec.nodes.min, name)
        self._series["pool_max_nodes"].set(most_nodes(pool).nodes, name)
        self._series["pool_node_gpus"].set(pool.spec.node.gpus, name)
