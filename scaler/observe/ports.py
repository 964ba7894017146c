"""The ports through which the controller sees the world. No method raises for an outage: the reading says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from forecasting.series import Series
from scaler.plan.observation import LatencySample, LeadTime, Reading, ReplicaState, TopicOffsets


@dataclass(frozen=True, slots=True)
class GroupTopic:
    """One consumer group on one topic."""

    group: str
    topic: str


@dataclass(frozen=True, slots=True)
class TargetRef:
    """An object with a /scale subresource."""

    api_version: str  # "apps/v1"
    kind: str  # "Deployment"
    namespace: str  # empty: its kind has none
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class LatencyQuery:
    """Where one service's latency histogram is found."""

    metric: str  # histogram name without suffix, "inference_latency_seconds"
    selector: str  # label matchers without braces, 'app="chat"'
    window: float  # s


class Served(NamedTuple):
    """One scrape of one pod's counter."""

    time: float  # unix s
    requests: float  # since its process began


class OffsetSource(Protocol):
    """One Kafka cluster."""

    def sample(self, now: float, wanted: Sequence[GroupTopic]) -> Mapping[GroupTopic, Reading[TopicOffsets]]:
        """All groups and partitions in one pass, within the source's own time limit. One reading for each wanted."""
        ...

    def history(self, topic: str, start: float, end: float, step: float) -> Reading[Series]:
        """Past arrival rates of a topic over [start, end) (unix s), from its own timestamps.

        Steps before the earliest retained message are NaN. May take seconds: call it in the background.
        """
        ...

    def close(self) -> None: ...


class LatencySource(Protocol):
    """One Prometheus."""

    def sample(self, now: float, wanted: Sequence[LatencyQuery]) -> Mapping[LatencyQuery, Reading[LatencySample]]:
        """One reading for each wanted, within the source's own time limit."""
        ...

    def served(self, query: LatencyQuery, pods: Sequence[str], span: float) -> Mapping[str, Sequence[Served]]:
        """What each of the pods had served at each scrape of the last ``span`` s, in order of time.

        Without an answer, or where pods are not told apart, they are left out. May take a while: call it aside.
        """
        ...

    def close(self) -> None: ...


class ClusterSource(Protocol):
    """Replicas and pods of the targets, kept current by watch."""

    def sample(self, now: float, wanted: Sequence[TargetRef]) -> Mapping[TargetRef, Reading[ReplicaState]]:
        """One reading for each wanted; begins to watch a target at its first mention, and ends when it is no longer."""
        ...

    def lead_times(self, target: TargetRef) -> Sequence[LeadTime]:
        """Pods of the target that became Ready since the last call; each pod is told once."""
        ...

    def asked(self, target: TargetRef, replicas: int, at: float) -> None:
        """Act patched the target to ``replicas`` at unix time ``at``: the start of the next pods' lead times."""
        ...

    def close(self) -> None: ...
