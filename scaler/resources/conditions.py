"""A scaler's conditions, from one tick's row. Pure: what they were, and what is so now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scaler.api.pause import PAUSED, PAUSED_REPLICAS, PAUSED_SCALE_IN
from scaler.api.predictive_scaler import ForecastModel, Mode
from scaler.api.status import LONGEST_MESSAGE, Because, Condition, ConditionType, Truth
from scaler.controller import Row
from scaler.plan.decision import Numbers
from scaler.plan.reasons import Reason
from scaler.resources.declared import Place, Refused

_LIMITS: Mapping[Reason, str] = {
    Reason.MIN_REPLICAS: "spec.replicas.min keeps the count up",
    Reason.MAX_REPLICAS: "more is wanted than spec.replicas.max; raise it if the cluster can hold more",
    Reason.SCHEDULED_MIN: "a minimum of spec.replicas.schedule, which holds now or within a lead time, keeps it up",
    Reason.SCHEDULED_MAX: "more is wanted than a maximum of spec.replicas.schedule, which holds now",
    Reason.SCALE_OUT_LIMIT: "spec.replicas.maxScaleOut holds the step back",
    Reason.SCALE_IN_LIMIT: "spec.replicas.maxScaleIn holds the step back",
    Reason.PARTITIONS: "more replicas could not be given work: the topic's partitions bind",
    Reason.POOL_FULL: "its pool has all the nodes that it may have: see the GpuNodePool's status",
}
FAULTS = frozenset(
    {
        Reason.PATCH_FAILED,
        Reason.TARGET_NOT_FOUND,
        Reason.TARGET_WITHOUT_SCALE,
        Reason.OWNED_BY_ANOTHER,
        Reason.NO_AUTOSCALER,
        Reason.SEVERAL_AUTOSCALERS,
        Reason.CONTESTED_TARGET,
        Reason.FORBIDDEN,
        Reason.INTERNAL_ERROR,
    }
)
_INPUTS = (Reason.INPUT_ERROR, Reason.INPUT_ABSENT, Reason.INPUT_STALE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is so of one condition, without since when."""

    type: ConditionType
    status: Truth
    reason: str
    message: str


LINGERS = (ConditionType.ACTIVE, ConditionType.SCALING_LIMITED)
LINGER = 60.0  # s


class Lately:
    """What was so of one scaler a moment ago. A count near a limit, or sparse load, would change these two at every
    tick: each is so at once, and is no longer so when it was not for ``LINGER``.
    """

    def __init__(self) -> None:
        self._seen: dict[ConditionType, tuple[Finding, float]] = {}

    def steady(self, findings: Iterable[Finding], now: float) -> tuple[Finding, ...]:
        """``findings`` of the tick at ``now`` (unix s), with what is still so."""
        return tuple(self._steady(finding, now) for finding in findings)

    def _steady(self, finding: Finding, now: float) -> Finding:
        if finding.type not in LINGERS:
            return finding
        if finding.status is Truth.TRUE:
            self._seen[finding.type] = (finding, now)
            return finding
        old, at = self._seen.get(finding.type, (finding, now))
        return old if abs(now - at) < LINGER else finding


def of_row(row: Row) -> tuple[Finding, ...]:
    """The five conditions after a tick, Ready first."""
    return (_ready(row), _active(row.decision.numbers), _limited(row), _fallback(row), _paused(row))


def of_refused(refused: Refused) -> tuple[Finding, ...]:
    """The five conditions of a scaler that is not run."""
    others = (
        Finding(kind, Truth.UNKNOWN, Because.NOT_DECIDED, "nothing is decided for it")
        for kind in ConditionType
        if kind is not ConditionType.READY
    )
    return (Finding(ConditionType.READY, Truth.FALSE, refused.reason, refused.text), *others)


def dated(findings: Iterable[Finding], before: Iterable[Condition], place: Place, now: float) -> list[Condition]:
    """Conditions with the time of their last transition: ``now`` (unix s) where the status is another than before."""
    known = {condition.type: condition for condition in before}
    made = []
    for one in findings:
        old = known.get(one.type)
        since = old.last_transition_time if old is not None and old.status is one.status else rfc3339(now)
        made.append(
            Condition.model_validate(
                {
                    "type": one.type,
                    "status": one.status,
                    "reason": str(one.reason),
                    "message": one.message[:LONGEST_MESSAGE],
                    "lastTransitionTime": since,
                    "observedGeneration": place.generation,
                }
            )
        )
    return made


def rfc3339(now: float) -> str:
    """Unix s as the API server spells a time."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready(row: Row) -> Finding:
    kind, no = ConditionType.READY, Truth.FALSE
    if row.outcome.reason in FAULTS:
        return Finding(kind, no, row.outcome.reason, row.outcome.detail or f"{row.outcome.reason}: see the log")
    if Reason.INTERNAL_ERROR in row.decision.reasons:
        return Finding(kind, no, Reason.INTERNAL_ERROR, "deciding failed; its count is held; please report it")
    for reason, detail in _missing(row):
        return Finding(kind, no, reason, detail)
    if row.decision.desired is None:
        return Finding(kind, no, row.decision.reason, "no count can be decided")
    return Finding(kind, Truth.TRUE, Because.DECIDING, "its inputs are fresh, and it is decided")


def _missing(row: Row) -> Iterator[tuple[Reason, str]]:
    """What is wrong with the sources that a count cannot do without, as it stands in their readings."""
    for what, reading in (("target", row.observed.replicas), ("topic", row.observed.offsets)):
        if not reading.fresh:
            given = f"the reading of the {what} is {reading.freshness}"
            yield reading.reason or _INPUTS[0], reading.detail or given


def _active(numbers: Numbers) -> Finding:
    kind = ConditionType.ACTIVE
    if (numbers.arrival_rate or 0.0) > 0 or (numbers.backlog or 0.0) > 0:
        return Finding(kind, Truth.TRUE, Because.LOAD, "requests arrive, or wait")
    if numbers.arrival_rate is None or numbers.backlog is None:
        return Finding(kind, Truth.UNKNOWN, Because.LOAD_UNKNOWN, "it is not known whether requests arrive")
    return Finding(kind, Truth.FALSE, Because.NO_LOAD, "no request arrives, and none waits")


def _limited(row: Row) -> Finding:
    kind = ConditionType.SCALING_LIMITED
    if row.decision.desired is None:
        return Finding(kind, Truth.UNKNOWN, Because.NOT_DECIDED, "no count was decided")
    if row.outcome.limit is not None:  # what was written is what counts
        return Finding(kind, Truth.TRUE, row.outcome.limit, row.outcome.limited)
    for reason in row.decision.reasons:
        if reason in _LIMITS:
            return Finding(kind, Truth.TRUE, reason, _LIMITS[reason])
    return Finding(kind, Truth.FALSE, Because.WITHIN_LIMITS, "no limit moved the desired count")


_REACTIVE = {
    Reason.FORECAST_DEMOTED: "what came has shown the models to be worse than the newest level, or wrong",
    Reason.NO_FORECAST: "there is no forecast (yet)",
}


def _fallback(row: Row) -> Finding:
    kind, reasons = ConditionType.FALLBACK, row.decision.reasons
    if Reason.FALLBACK in reasons:
        said = f"the load has been unknown for a while: spec.fallback stands in ({row.resource.spec.fallback.policy})"
        return Finding(kind, Truth.TRUE, Reason.FALLBACK, f"{said}; the count is never lowered meanwhile")
    for reason in _INPUTS:
        if reason in reasons:
            return Finding(kind, Truth.TRUE, reason, "a source is missing: the count is never lowered meanwhile")
    if row.alone:
        said = f"{row.alone}; it is planned alone, and nodes come for pending pods"
        return Finding(kind, Truth.TRUE, Reason.POOL_UNKNOWN, said)
    if row.resource.spec.forecast.model is ForecastModel.NONE:
        return Finding(kind, Truth.FALSE, Because.REACTIVE_BY_CHOICE, "spec.forecast.model is none")
    for reason, said in _REACTIVE.items():
        if reason in reasons:
            return Finding(kind, Truth.TRUE, reason, f"{said}: the plan is reactive")
    return Finding(kind, Truth.FALSE, Because.FORECASTING, "nothing stands in for anything")


def _paused(row: Row) -> Finding:
    kind = ConditionType.PAUSED
    pause, most = row.resource.pause, row.resource.spec.replicas.max
    if pause.faults:
        return Finding(kind, Truth.TRUE, Because.INVALID_ANNOTATION, "; ".join(pause.faults))
    said = []
    if pause.everything:
        said.append(f'{PAUSED}: "true": nothing is changed')
    elif pause.replicas is not None:
        above = f" (spec.replicas.max; {pause.replicas} was asked for)" if pause.replicas > most else ""
        held = "the floor is" if row.resource.spec.mode is Mode.FLOOR else "the count is"
        said.append(f"{PAUSED_REPLICAS}: {held} held at {min(pause.replicas, most)}{above}")
    elif pause.scale_in:
        said.append(f'{PAUSED_SCALE_IN}: "true": nothing is taken away')
    if not said:
        return Finding(kind, Truth.FALSE, Because.NOT_PAUSED, "no annotation asks for it")
    who = f"{row.resource.metadata.namespace}/{row.resource.metadata.name}"
    return Finding(kind, Truth.TRUE, Reason.PAUSED, f"{said[0]}; `lagcast resume {who}` goes on")
