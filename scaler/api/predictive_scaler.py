"""The resource ``PredictiveScaler``: what a user declares about one service.

The same models read a configuration file and the custom resource. What a default is, and why, stands in the field's
description; ``docs/configuration.md`` is made from these.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from scaler.api.cel import Rule, milliseconds
from scaler.api.events import MOST_EVENTS, PlannedEvent
from scaler.api.forecast import Forecast, ForecastModel
from scaler.api.kafka import Kafka
from scaler.api.latency import Latency
from scaler.api.model import DNS_NAME, Annotations, FieldErrors, Labels, Model, Name, Namespace, matches, once, rules
from scaler.api.pause import PAUSED, PAUSED_REPLICAS, PAUSED_SCALE_IN, Pause, read_pause
from scaler.api.quantities import Duration, Fraction, Share, between, duration_between, well_spelled
from scaler.api.replicas import Fallback, FallbackPolicy, Gpu, Replicas
from scaler.plan.fallback import FallbackRule
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.service import Service

__all__ = [
    "API_VERSION", "KIND", "PAUSED", "ApiVersion", "Forecast", "ForecastModel", "Gpu", "Kind", "Latency", "Metadata",
    "Mode", "Objective", "OwnMetadata", "PredictiveScaler", "Replicas", "Spec", "Target", "to_service",
]  # fmt: skip

API_VERSION = "lagcast.io/v1alpha1"
KIND = "PredictiveScaler"
# The name space of derived uids. Any UUID would do, but it must never change: a new uid forgets what was learned.
_UIDS = uuid.UUID("6f2b1d64-4d3c-5b8e-9a37-2f6d0c9a1e55")
ApiVersion = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=317),
    matches(rf"(?:{DNS_NAME}/)?v[0-9]+(?:(?:alpha|beta)[0-9]+)?", 'group/version, such as "apps/v1"'),
]
Kind = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=63),
    matches(r"[A-Z][A-Za-z0-9]*", 'a kind in CamelCase, such as "Deployment"'),
]


class Mode(StrEnum):
    """Whether decisions change the cluster."""

    RECOMMEND = "Recommend"
    FLOOR = "Floor"
    ENFORCE = "Enforce"


class OwnMetadata(Model):
    """Which object this is."""

    name: Name = Field(description="Name of this object.")
    uid: (
        Annotated[
            str,
            Field(strict=True, max_length=64),
            matches(r"[A-Za-z0-9](?:[-A-Za-z0-9]{0,62}[A-Za-z0-9])?", "letters, digits and '-', at most 64 characters"),
        ]
        | None
    ) = Field(
        default=None,
        description="Identity under which what is learned is kept; the API server sets it. Default: derived from "
        "namespace and name, so that a restart keeps it.",
    )
    generation: Annotated[int, Field(strict=True, ge=0, le=2**62)] | None = Field(
        default=None, description="Counted by the API server: which version of the spec this is."
    )
    labels: Labels = Field(default_factory=dict, description="Kept, not read.")
    annotations: Annotations = Field(default_factory=dict, description="Kept, not read.")


class Metadata(OwnMetadata):
    """Which object this is, and where."""

    annotations: Annotations = Field(
        default_factory=dict,
        description=f'Kept; read are `{PAUSED}: "true"`: counts are decided and reported, and nothing is changed; '
        f'`{PAUSED_REPLICAS}: "N"`: the target is brought to N, at most max, and held there; and '
        f'`{PAUSED_SCALE_IN}: "true"`: nothing is taken away.',
    )
    namespace: Namespace = Field(
        default="default", description="Namespace of this object and of its target. Default as kubectl has it."
    )


class Target(Model):
    """What is scaled: any object with a /scale subresource, in this object's namespace."""

    api_version: ApiVersion = Field(
        default="apps/v1", description="API group and version of the target. Default: that of a Deployment."
    )
    kind: Kind = Field(default="Deployment", description="Kind of the target. Default: what nearly all services are.")
    name: Name = Field(description="Name of the target.")


class Objective(Model):
    """What the service promises: this share of requests leaves within this time of arriving."""

    within: Annotated[Duration, duration_between("1ms", "7d")] = Field(
        description="From a request's arrival in the topic to its committed answer."
    )
    share: Annotated[Share, between(Share.parse("0%"), Share.parse("100%"), exclusive=True)] = Field(
        description="Share of requests, as a percent string. 100 % cannot be promised at any price."
    )


def _attainable_rules() -> tuple[Rule, ...]:
    within, rate, took = "self.objective.within", "self.replicas.serviceRate", "self.replicas.serviceTime"
    several = "(has(self.replicas.concurrency) ? double(self.replicas.concurrency) : 1.0)"
    longest = milliseconds(within)
    declared = f"!({well_spelled(Duration, within, took)}) || {milliseconds(took)} <= {longest}"
    zero = f"quantity({rate}).asApproximateFloat() == 0.0"
    derived = f"{several} * 1000.0 / quantity({rate}).asApproximateFloat() <= double({longest})"
    spelled = f"{well_spelled(Duration, within)} && {well_spelled(Fraction, rate)}"
    zero = f"{zero} || {longest} == 0"  # that has its own message
    sentence = "else no request can ever be in time"
    return (
        Rule(
            f"!has({took}) || {declared}",
            f"at most objective.within: {sentence}",
            field=".replicas.serviceTime",
            message=f"'allowed: at most objective.within, which is ' + {within} + ': {sentence}'",
        ),
        Rule(
            f"has({took}) || !({spelled}) || {zero} || {derived}",
            "a serviceTime of at most objective.within",
            field=".replicas.serviceRate",
            message="'without serviceTime a request takes concurrency / serviceRate; allowed: at most '"
            f" + 'objective.within, which is ' + {within} + ': {sentence}'",
        ),
    )


def _other_rules() -> tuple[Rule, ...]:
    return (
        Rule(
            "!has(self.plannedEvents) || self.plannedEvents.size() == 0 || self.forecast.model != 'none'",
            "none with forecast.model none, which foresees nothing",
            field=".plannedEvents",
        ),
        Rule(
            "!has(self.fallback.replicas) || self.fallback.replicas <= self.replicas.max",
            "at most replicas.max",
            field=".fallback.replicas",
        ),
    )


class Spec(Model):
    """What the user declares."""

    model_config = rules(*_attainable_rules(), *_other_rules())

    target: Target = Field(description="What is scaled.")
    kafka: Kafka = Field(description="Where its requests wait.")
    latency: Latency | None = Field(
        default=None, description="Where its latency histogram is found. Default: latency is not observed."
    )
    objective: Objective = Field(description="What it promises.")
    replicas: Replicas = Field(description="How many there may be, and what one does.")
    gpu: Gpu | None = Field(
        default=None,
        description="The GPU nodes that its pods stand on. Default: whoever makes nodes makes them for pending pods.",
    )
    forecast: Forecast = Field(default_factory=Forecast, description="How arrivals are forecast.")
    planned_events: Annotated[
        tuple[PlannedEvent, ...],
        Field(max_length=MOST_EVENTS, json_schema_extra={"x-kubernetes-list-type": "map"}),
    ] = Field(
        default=(),
        description="Load that is known of beforehand. Past events may stay: they are left out of what is usual.",
        json_schema_extra={"x-kubernetes-list-map-keys": ["name"]},
    )
    fallback: Fallback = Field(
        default_factory=Fallback, description="What is done while the topic or the group cannot be read."
    )
    mode: Mode = Field(
        default=Mode.RECOMMEND,
        description="`Recommend` decides and reports and changes nothing; `Floor` raises the minimum of the "
        "HorizontalPodAutoscaler or KEDA ScaledObject that scales the target, and puts it back; `Enforce` patches the "
        "target itself, where no other autoscaler does. Default: nobody's cluster is changed by installing Lagcast.",
    )

    @field_validator("planned_events")
    @classmethod
    def _each_once(cls, events: tuple[PlannedEvent, ...], info: ValidationInfo) -> tuple[PlannedEvent, ...]:
        forecast: Forecast | None = info.data.get("forecast")
        if events and forecast is not None and forecast.model is ForecastModel.NONE:
            raise ValueError(f"found {len(events)}; allowed: none with forecast.model none, which foresees nothing")
        return once(events, "name")

    @model_validator(mode="after")
    def _within_max(self) -> Spec:
        most, count = self.replicas.max, self.fallback.replicas
        if count is not None and count > most:
            rule = f"at most replicas.max, which is {most}"
            raise FieldErrors(("fallback.replicas", f"found {count}; allowed: {rule}"))
        return self

    @model_validator(mode="after")
    def _attainable(self) -> Spec:
        replicas, within = self.replicas, self.objective.within
        if replicas.service_seconds > within:
            if replicas.service_time is None:
                what = "1" if replicas.concurrency is None else "concurrency"
                text = f"found nothing, so it is {what} / serviceRate = {replicas.service_seconds:g}s"
            else:
                text = f"found {replicas.service_time}"
            rule = f"at most objective.within, which is {within}: else no request can ever be in time"
            raise FieldErrors(("replicas.serviceTime", f"{text}; allowed: {rule}"))
        return self


class PredictiveScaler(Model):
    """One service, its objective, and how it may be scaled."""

    api_version: Literal["lagcast.io/v1alpha1"] = Field(description="Version of this resource.")
    kind: Literal["PredictiveScaler"] = Field(description="Kind of this resource.")
    metadata: Metadata = Field(description="Which object this is.")
    spec: Spec = Field(description="What the user declares.")

    @property
    def uid(self) -> str:
        """``metadata.uid``, or a uid that is always the same for this namespace and name."""
        given = self.metadata.uid
        return given if given is not None else str(uuid.uuid5(_UIDS, f"{self.metadata.namespace}/{self.metadata.name}"))

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """What is scaled: namespace, group, kind and name. A group's versions are views of one object."""
        target = self.spec.target
        return (self.metadata.namespace, target.api_version.rpartition("/")[0], target.kind, target.name)

    @property
    def pause(self) -> Pause:
        """What its annotations ask to be held."""
        return read_pause(self.metadata.annotations)

    def __str__(self) -> str:
        return f"{KIND} {self.metadata.namespace}/{self.metadata.name}"


def to_service(scaler: PredictiveScaler, tick: float, pool: PoolSpec | None = None) -> Service:
    """The service as the plan sees it, with ``tick`` seconds between decisions; ``pool`` is planned along with it."""
    spec, gpu = scaler.spec, scaler.spec.gpu
    return Service(
        uid=scaler.uid,
        within=float(spec.objective.within),
        share=spec.objective.share.fraction,
        min_replicas=spec.replicas.min,
        max_replicas=spec.replicas.max,
        service_rate=float(spec.replicas.service_rate),
        service_time=spec.replicas.service_seconds,
        lead_time=float(spec.replicas.lead_time),
        tick=tick,
        step=float(spec.forecast.step),
        scale_in_hold=float(spec.replicas.scale_in_hold),
        max_scale_out=spec.replicas.max_scale_out,
        max_scale_in=spec.replicas.max_scale_in,
        concurrency=None if spec.replicas.concurrency is None else float(spec.replicas.concurrency),
        schedule=tuple(one.window(spec.forecast.time_zone) for one in spec.replicas.schedule),
        fallback=_fallback(spec.fallback),
        pool=pool,
        gpus=1 if gpu is None else gpu.per_replica,
        weight=1.0 if gpu is None else float(gpu.weight),
        paused=pool is not None and (scaler.pause.everything or scaler.pause.replicas is not None),
    )


def _fallback(declared: Fallback) -> FallbackRule | None:
    if declared.policy is FallbackPolicy.HOLD:
        return None
    return FallbackRule(float(declared.after), declared.replicas)
