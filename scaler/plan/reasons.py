"""The closed list of reasons. The same code stands in the status, the Event, the metric label and the demo."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a desired count is what it is, or which limit or fault touched it."""

    # What the number came from.
    FORECAST = "Forecast"
    """The cheapest count over the sample paths."""
    REACTIVE_FLOOR = "ReactiveFloor"
    """The present load needs more than the forecast asks for."""
    NO_FORECAST = "NoForecast"
    """No history yet (or the forecaster failed): the plan is reactive."""
    EXPERIMENT = "Experiment"
    """Fewer replicas than planned for a while, where that is safe, to learn what one serves."""
    STEADY = "Steady"
    """The count that stands is the cheapest."""

    # What held the number where it was.
    SCALE_IN_UNSAFE = "ScaleInUnsafe"
    """One replica fewer would have missed the objective over the same paths."""
    SCALE_IN_DELAYED = "ScaleInDelayed"
    """A lower count has not yet been the answer for the whole scale-in hold."""
    INPUT_ABSENT = "InputAbsent"
    INPUT_STALE = "InputStale"
    INPUT_ERROR = "InputError"
    CONSUMERS_NOT_PROGRESSING = "ConsumersNotProgressing"
    """Backlog, ready replicas, and committed offsets that do not move: not load."""
    REBALANCING = "Rebalancing"
    ROLLING_UPDATE = "RollingUpdate"
    TOPIC_RECREATED = "TopicRecreated"
    """An end offset went backwards: the topic was deleted and made anew."""
    TARGET_UNKNOWN = "TargetUnknown"
    """The replica count of the target has never been read."""

    # The limit that moved the number.
    MIN_REPLICAS = "MinReplicas"
    MAX_REPLICAS = "MaxReplicas"
    SCALE_OUT_LIMIT = "ScaleOutLimit"
    SCALE_IN_LIMIT = "ScaleInLimit"
    PARTITIONS = "Partitions"
    """More replicas could not be given work: partitions, their split, or a hot one."""
    POOL_FULL = "PoolFull"
    """The pool has all the nodes that it may have: its GPUs are shared by what another one is worth to each service."""

    # What became of the decision.
    APPLIED = "Applied"
    UNCHANGED = "Unchanged"
    """The count that stands is the desired one."""
    RECOMMENDED = "Recommended"
    """Recommend mode: reported, nothing changed."""
    PAUSED = "Paused"
    """An annotation asks that nothing be changed: reported only."""
    CONFLICT = "Conflict"
    """Somebody else changed the count since it was read; decided anew next tick."""
    PATCH_FAILED = "PatchFailed"
    TARGET_WITHOUT_SCALE = "TargetWithoutScale"
    TARGET_NOT_FOUND = "TargetNotFound"
    OWNED_BY_ANOTHER = "OwnedByAnother"
    """Another autoscaler owns the count: nothing is written."""
    CONTESTED_TARGET = "ContestedTarget"
    """Somebody else put back what was written, time and again: nothing is written for a while."""
    NO_AUTOSCALER = "NoAutoscaler"
    """Floor mode: no autoscaler scales the target, so there is no minimum to raise."""
    SEVERAL_AUTOSCALERS = "SeveralAutoscalers"
    """Floor mode: more than one autoscaler scales the target, so none of their minimums is raised."""
    FLOOR_ABOVE_MAX = "FloorAboveMax"
    """Floor mode: more is wanted than the autoscaler's own maximum, at which the floor is clipped."""
    FORBIDDEN = "Forbidden"

    INTERNAL_ERROR = "InternalError"
    """A fault of Lagcast itself on this scaler; its count is held, the others go on."""

    # Faults of a source, more exactly.
    TOPIC_NOT_FOUND = "TopicNotFound"
    GROUP_NOT_FOUND = "GroupNotFound"
    BROKER_UNREACHABLE = "BrokerUnreachable"
    PROMETHEUS_UNREACHABLE = "PrometheusUnreachable"
    KUBERNETES_UNREACHABLE = "KubernetesUnreachable"
    METRIC_INVALID = "MetricInvalid"
    """A number that cannot be: NaN, infinite or negative."""
