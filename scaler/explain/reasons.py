"""Each reason in one plain sentence, and the stage of the explanation to which it belongs."""

from __future__ import annotations

from collections.abc import Iterable

from scaler.explain.explanation import Said, StageName
from scaler.plan.reasons import Reason

_I, _D, _F, _S, _L, _O = (
    StageName.INPUTS,
    StageName.DEMAND,
    StageName.FLOOR,
    StageName.SCALE_IN,
    StageName.LIMITS,
    StageName.OUTCOME,
)

REASONS: dict[Reason, tuple[StageName, str]] = {
    Reason.FORECAST: (_D, "The count is the cheapest one over the forecast's sample paths."),
    Reason.REACTIVE_FLOOR: (_F, "What is there already needs more replicas than the forecast asks for."),
    Reason.NO_FORECAST: (StageName.FORECAST, "There is no forecast (yet): the plan goes by the present level alone."),
    Reason.EXPERIMENT: (_D, "Fewer replicas than planned are kept for a while, where safe, to learn what one serves."),
    Reason.FALLBACK: (_D, "The load has been unknown for a while: what spec.fallback says stands in for the plan."),
    Reason.HISTORY_REFUSED: (
        StageName.FORECAST,
        "The history was refused: its steps stand in no order, or the first hour of load was far below any hour of it; "
        "forecasts begin with eight hours of what is seen live. See where the topic's timestamps come from.",
    ),
    Reason.FORECAST_DEMOTED: (
        StageName.FORECAST,
        "What came has shown the models to be worse than the newest level, or wrong: the plan goes without them until "
        "they have proven themselves again. `lagcast backtest` shows how they do on the load of the last days.",
    ),
    Reason.EVENT_WITHOUT_SIZE: (
        StageName.FORECAST,
        "The day that a planned event or holiday is to be like is not in the history, or no usual load is: it is "
        "planned as usual load.",
    ),
    Reason.STEADY: (_D, "The count that stands is the right one."),
    Reason.SCALE_IN_UNSAFE: (_S, "With one replica fewer, too many requests would be late over the same paths."),
    Reason.SCALE_IN_DELAYED: (_S, "A lower count was not yet the answer for the whole of the scale-in hold."),
    Reason.HELD_NEED: (_S, "What the load needed within the last four lead times is not given back yet."),
    Reason.INPUT_ABSENT: (_I, "A source answered that it has no such thing; nothing is taken away meanwhile."),
    Reason.INPUT_STALE: (_I, "A source's newest value is too old; nothing is taken away meanwhile."),
    Reason.INPUT_ERROR: (_I, "A source did not answer, or answered nonsense; nothing is taken away meanwhile."),
    Reason.CONSUMERS_NOT_PROGRESSING: (
        _S,
        "There is backlog and there are ready replicas, but committed offsets do not move: that is not load, so the "
        "count is held and nothing is learned.",
    ),
    Reason.REBALANCING: (_S, "Consumers joined or left just now; nothing is taken away while the group may rebalance."),
    Reason.ROLLING_UPDATE: (_S, "A rolling update is under way; nothing is taken away before it has ended."),
    Reason.TOPIC_RECREATED: (_S, "An end offset went backwards: the topic was made anew, and this tick says nothing."),
    Reason.TARGET_UNKNOWN: (_I, "The target's replica count has never been read, so no count may be written."),
    Reason.MIN_REPLICAS: (_L, "replicas.min raised the count."),
    Reason.MAX_REPLICAS: (_L, "replicas.max bounds the count: more would be wanted."),
    Reason.SCHEDULED_MIN: (_L, "A minimum of replicas.schedule raised the count: it holds now, or within a lead time."),
    Reason.SCHEDULED_MAX: (_L, "A maximum of replicas.schedule bounds the count at this time: more would be wanted."),
    Reason.SCALE_OUT_LIMIT: (_L, "replicas.maxScaleOut bounds what is added at one tick."),
    Reason.SCALE_IN_LIMIT: (_L, "replicas.maxScaleIn bounds what is removed at one tick."),
    Reason.PARTITIONS: (_L, "More replicas could not be given work: the partitions, their split, or a hot one bind."),
    Reason.POOL_FULL: (_L, "The GPU pool has all the nodes it may have; its GPUs go where one is worth most."),
    Reason.POOL_UNKNOWN: (
        _L,
        "The GPU pool that the scaler names is not there, or cannot hold it: the service is planned alone, and nodes "
        "come for pending pods.",
    ),
    Reason.NODES_UNSEEN: (
        _I,
        "More pods serve than the GPU pool's Ready nodes hold: they stand on other nodes, or nodes were lost just now. "
        "Nothing is given up for it.",
    ),
    Reason.MIN_NODES: (_L, "nodes.min of the GPU pool keeps its count up."),
    Reason.MAX_NODES: (_L, "nodes.max of the GPU pool bounds its count: more would be wanted."),
    Reason.GPU_BUDGET: (_L, "The GPU pool's budget.gpus bounds its nodes: more would be wanted."),
    Reason.COST_BUDGET: (_L, "The GPU pool's budget.costPerHour bounds its nodes: more would be wanted."),
    Reason.NODES_IN_USE: (_L, "The GPU pool is lowered by its empty nodes only, and not so many are empty."),
    Reason.PAUSED: (_O, "An annotation asks that nothing be changed: the count is reported only."),
    Reason.APPLIED: (_O, "The target was patched, or in mode Floor its autoscaler."),
    Reason.UNCHANGED: (_O, "The count that stands is the desired one; nothing was written."),
    Reason.RECOMMENDED: (_O, "The mode is Recommend: the count is reported, and nothing was changed."),
    Reason.STANDBY: (_O, "Another replica leads and carries decisions out; this one watches and changes nothing."),
    Reason.CONFLICT: (_O, "Somebody else changed the count since it was read; it is decided anew at the next tick."),
    Reason.PATCH_FAILED: (_O, "The API server did not take the count; it is tried again at the next tick."),
    Reason.TARGET_WITHOUT_SCALE: (_O, "The target's kind has no /scale, so its count cannot be written."),
    Reason.TARGET_NOT_FOUND: (_O, "The target does not exist."),
    Reason.OWNED_BY_ANOTHER: (_O, "Another autoscaler owns the count, so nothing is written."),
    Reason.CONTESTED_TARGET: (
        _O,
        "Somebody else put back what was written, time and again; nothing is written for a while.",
    ),
    Reason.NO_AUTOSCALER: (_O, "The mode is Floor, and no autoscaler scales the target: there is no minimum to raise."),
    Reason.SEVERAL_AUTOSCALERS: (_O, "More than one autoscaler scales the target; which minimum counts is not clear."),
    Reason.FLOOR_ABOVE_MAX: (_L, "The autoscaler's own maximum bounds the floor: more would be wanted."),
    Reason.FORBIDDEN: (_O, "The controller's account may not read or scale the target."),
    Reason.INTERNAL_ERROR: (_O, "A fault of Lagcast itself; the count is held. Please report it with the log's line."),
    Reason.TOPIC_NOT_FOUND: (_I, "The broker has no such topic."),
    Reason.GROUP_NOT_FOUND: (_I, "The broker knows no such consumer group."),
    Reason.BROKER_UNREACHABLE: (_I, "The Kafka brokers did not answer in time."),
    Reason.PROMETHEUS_UNREACHABLE: (_I, "Prometheus did not answer in time."),
    Reason.KUBERNETES_UNREACHABLE: (_I, "The Kubernetes API server did not answer in time."),
    Reason.METRIC_INVALID: (_I, "A metric is a number that cannot be: NaN, infinite or negative."),
}


def said(reason: Reason) -> Said:
    """The reason with its sentence."""
    return Said(reason, REASONS[reason][1])


def of_stage(stage: StageName, reasons: Iterable[Reason | None]) -> tuple[Said, ...]:
    """Those of ``reasons`` that belong to a stage, each once, in their order."""
    here = dict.fromkeys(r for r in reasons if r is not None and REASONS[r][0] is stage)
    return tuple(said(reason) for reason in here)
