"""What the controller writes into a resource's status, as the API server takes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from scaler.api.model import Model
from scaler.api.quantities import Duration, Fraction

_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_Generation = Annotated[int, Field(ge=0, le=2**62)]
_Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
LONGEST_MESSAGE = 2048
LONGEST_REASON = 128


class ConditionType(StrEnum):
    """The conditions of a scaler."""

    READY = "Ready"
    ACTIVE = "Active"
    SCALING_LIMITED = "ScalingLimited"
    FALLBACK = "Fallback"
    PAUSED = "Paused"


class Truth(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Refusal(StrEnum):
    """Why a scaler that the API server took is not run."""

    INVALID_SPEC = "InvalidSpec"
    """The models refuse it: its definition in the cluster is of another version."""
    TARGET_TAKEN = "TargetTaken"
    """Another scaler, which was there before, has the same target."""
    CREDENTIALS_REFUSED = "CredentialsRefused"
    """It names a file that is not among the credentials of its namespace."""
    POLICY_REFUSED = "PolicyRefused"
    """The policy that was chosen cannot plan for it."""


class Because(StrEnum):
    """Reasons of conditions that are not those of a decision."""

    DECIDING = "Deciding"
    """Inputs are fresh, and it is decided."""
    NOT_DECIDED = "NotDecided"
    """No count was decided, or nothing is decided for it."""
    LOAD = "LoadPresent"
    """Requests arrive, or wait; or did within the last minute."""
    NO_LOAD = "NoLoad"
    """No request arrives, and none waits."""
    LOAD_UNKNOWN = "LoadUnknown"
    """It is not known whether requests arrive."""
    WITHIN_LIMITS = "WithinLimits"
    """No limit moved the desired count within the last minute."""
    FORECASTING = "Forecasting"
    """Nothing stands in for anything."""
    REACTIVE_BY_CHOICE = "ReactiveByChoice"
    """`spec.forecast.model` is `none`."""
    INVALID_ANNOTATION = "InvalidAnnotation"
    """An annotation asks for something that is not understood; more is held meanwhile, never less."""
    NO_SCALER = "NoScaler"
    """No PredictiveScaler names the pool: nothing is decided for it."""
    GPUS_MISSING = "GpusMissing"
    """Nodes of the pool are Ready, and have not stated the GPUs that `node.gpus` says for a lead time: none is used."""
    NOT_RELEASED = "NotReleased"
    """The pool is being deleted, and what it raised is not put back yet."""
    NOT_PAUSED = "NotPaused"
    """No annotation asks for it."""


class Condition(Model):
    """One thing that is so or not, since when, and why."""

    type: ConditionType = Field(
        description="`Ready`: it is decided on inputs that can be trusted, and what is decided can be carried out. "
        "`Active`: there is load. `ScalingLimited`: a limit moved the desired count. `Fallback`: something is missing, "
        "and a simpler plan stands in. `Paused`: an annotation asks that nothing be changed."
    )
    status: Truth = Field(description="Whether it holds; `Unknown` where that cannot be told.")
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)] = Field(
        description="Why, as one word of a closed list."
    )
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] = Field(
        description="Why, in a sentence, and what can be done."
    )
    last_transition_time: _Time = Field(description="When the status became what it is.")
    observed_generation: _Generation | None = Field(
        default=None, description="The version of the spec (`metadata.generation`) that this speaks of."
    )


Conditions = Annotated[
    list[Condition],
    Field(max_length=len(ConditionType), json_schema_extra={"x-kubernetes-list-type": "map"}),
]


class ForecastStatus(Model):
    """Forecast arrivals at the lead time."""

    ahead: Duration = Field(description="How far ahead.")
    median: Fraction = Field(description="Requests/s that are exceeded half of the time.")
    p95: Fraction = Field(description="Requests/s that are exceeded one time in twenty.")
    model: Annotated[str, Field(max_length=256)] = Field(description="The model; of several, the leading one first.")


class ScalerStatus(Model):
    """What was decided last, and why. Numbers are rounded to two digits; what is not known is left out."""

    observed_generation: _Generation | None = Field(
        default=None, description="The version of the spec (`metadata.generation`) that was decided on."
    )
    current_replicas: _Count | None = Field(default=None, description="Replicas of the target, as they were read.")
    desired_replicas: _Count | None = Field(default=None, description="Replicas that were decided.")
    forecast_replicas: _Count | None = Field(default=None, description="Replicas that the forecast asks for.")
    needed_replicas: _Count | None = Field(default=None, description="Replicas that the present load needs.")
    ready_replicas: _Count | None = Field(default=None, description="Replicas that are Ready.")
    pending_replicas: _Count | None = Field(default=None, description="Replicas that were asked for and are not Ready.")
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] | None = Field(
        default=None, description="What decided the count, as one word of a closed list."
    )
    arrival_rate: Fraction | None = Field(default=None, description="Requests/s that arrive.")
    backlog: Fraction | None = Field(default=None, description="Requests that are not yet served.")
    time_lag: Duration | None = Field(default=None, description="Age of the oldest request that is not yet served.")
    service_rate: Fraction | None = Field(default=None, description="Requests/s one replica serves, as learned.")
    lead_time: Duration | None = Field(
        default=None, description="From a patch to a pod that serves: 95 % take no longer, as learned."
    )
    forecast: ForecastStatus | None = Field(default=None, description="Forecast arrivals at the lead time.")
    last_scale_time: _Time | None = Field(default=None, description="When the target was last patched.")
    conditions: Conditions = Field(
        default_factory=list,
        description="What is so, since when, and why.",
        json_schema_extra={"x-kubernetes-list-map-keys": ["type"]},
    )

    @property
    def counts(self) -> tuple[int | None, ...]:
        """What an operator waits for: the count that was decided."""
        return (self.desired_replicas,)


class PoolStatus(Model):
    """What was decided last for a pool, and why. What is not known is left out."""

    observed_generation: _Generation | None = Field(
        default=None, description="The version of the spec (`metadata.generation`) that was decided on."
    )
    current_nodes: _Count | None = Field(
        default=None,
        description="Nodes that the pool keeps by its provider's count, less cordoned ones that nothing holds.",
    )
    desired_nodes: _Count | None = Field(default=None, description="Nodes that were decided to be kept.")
    ready_nodes: _Count | None = Field(
        default=None, description="Nodes that are Ready, with all their GPUs or pods of the pool."
    )
    pending_nodes: _Count | None = Field(default=None, description="Nodes that were asked for and are not Ready.")
    empty_nodes: _Count | None = Field(
        default=None, description="Of the Ready nodes, those without a pod of a scaled target."
    )
    max_nodes: _Count | None = Field(
        default=None, description="Most nodes: `spec.nodes.max`, or what the budget pays for."
    )
    services: _Count | None = Field(default=None, description="PredictiveScalers that are planned on it.")
    lead_time: Duration | None = Field(
        default=None, description="From asking for a node to its being Ready: 95 % take no longer, as learned."
    )
    cost_per_hour: Fraction | None = Field(
        default=None,
        description="Of the nodes that are Ready or asked for, in the currency of `spec.node.costPerHour`.",
    )
    reason: Annotated[str, Field(max_length=LONGEST_REASON)] | None = Field(
        default=None, description="What decided the count, as one word of a closed list."
    )
    last_scale_time: _Time | None = Field(default=None, description="When the provider's count was last written.")
    conditions: Conditions = Field(
        default_factory=list,
        description="What is so, since when, and why: `Ready`, `ScalingLimited`, `Paused`.",
        json_schema_extra={"x-kubernetes-list-map-keys": ["type"]},
    )

    @property
    def counts(self) -> tuple[int | None, ...]:
        """What an operator waits for: the count that was decided, and the nodes that come."""
        return (self.desired_nodes, self.ready_nodes, self.pending_nodes)
