"""The resource ``PredictiveScaler``: what a user declares about one service.

The same models read a configuration file and the custom resource. What a default is, and why, stands in the field's
description; ``docs/configuration.md`` is made from these.
"""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from scaler.api.cel import Rule, milliseconds, whole
from scaler.api.kafka import Kafka
from scaler.api.model import DNS_NAME, Annotations, FieldErrors, Labels, Model, Name, Namespace, matches, rules
from scaler.api.quantities import (
    Duration,
    Fraction,
    Share,
    between,
    duration_between,
)
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.service import Service

API_VERSION = "lagcast.io/v1alpha1"
KIND = "PredictiveScaler"
# The name space of derived uids. Any UUID would do, but it must never change: a new uid forgets what was learned.
_UIDS = uuid.UUID("6f2b1d64-4d3c-5b8e-9a37-2f6d0c9a1e55")
# History is held in memory and fitted on; with more steps both become slow.
MOST_STEPS = 50_000

_LEAST_RATE, _MOST_RATE = Fraction.parse("0.000001"), Fraction.parse("1M")
_LEAST_WEIGHT, _MOST_WEIGHT = Fraction.parse("0.01"), Fraction.parse("100")
_Count = Annotated[int, Field(strict=True, ge=1, le=100_000)]
PAUSED = "lagcast.io/paused"
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


def _well_spelled(kind: type[Duration | Fraction], *fields: str) -> str:
    """CEL for: these fields are spelled right. A wrong spelling has its own message, and no sum can be made of it."""
    return " && ".join(whole(kind.spelling, field) for field in fields)


class Mode(StrEnum):
    """Whether decisions change the cluster."""

    RECOMMEND = "Recommend"
    FLOOR = "Floor"
    ENFORCE = "Enforce"


class ForecastModel(StrEnum):
    """Families of forecasters."""

    AUTO = "auto"
    DIRECT = "direct"
    LEVEL_SEASON = "levelSeason"
    SEASONAL_NAIVE = "seasonalNaive"
    NONE = "none"


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
        description=f'Kept; read is `{PAUSED}: "true"`: counts are decided and reported, and nothing is changed.',
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


class Latency(Model):
    """Where the service's latency histogram is found. Without it, latency is not observed."""

    prometheus: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=2048),
        matches(
            r"https?://(?:[A-Za-z0-9][-A-Za-z0-9.]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[-A-Za-z0-9._~/]*)?",
            "an http or https URL without user, password or query",
        ),
    ] = Field(description="Base URL of the Prometheus server, without user or password.")
    metric: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=200),
        matches(r"[a-zA-Z_:][a-zA-Z0-9_:]*", "a Prometheus metric name"),
    ] = Field(
        default="inference_latency_seconds",
        description="Histogram of seconds a request spent in service, without the suffix `_bucket`. Default: what "
        "the workers of the lab export.",
    )
    selector: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=1024),
        matches(
            r'[a-zA-Z_]\w*(?:=~|!~|!=|=)"(?:[^"\\\n]|\\.)*"(?:, ?[a-zA-Z_]\w*(?:=~|!~|!=|=)"(?:[^"\\\n]|\\.)*")*',
            'label matchers without braces, such as app="chat"',
        ),
    ] = Field(
        description="Label matchers without braces that pick this service's series. No default: without one, the "
        "latency of all services would be mixed."
    )
    window: Annotated[Duration, duration_between("1s", "1h")] = Field(
        default=Duration.parse("1m"),
        description="Window of the rates and quantiles. Default: four scrapes at the usual 15 s.",
    )


class Objective(Model):
    """What the service promises: this share of requests leaves within this time of arriving."""

    within: Annotated[Duration, duration_between("1ms", "7d")] = Field(
        description="From a request's arrival in the topic to its committed answer."
    )
    share: Annotated[Share, between(Share.parse("0%"), Share.parse("100%"), exclusive=True)] = Field(
        description="Share of requests, as a percent string. 100 % cannot be promised at any price."
    )


class Replicas(Model):
    """How many replicas there may be, and what one does."""

    model_config = rules(
        Rule(
            "self.min <= self.max",
            "at least min",
            field=".max",
        )
    )

    min: Annotated[int, Field(strict=True, ge=0, le=100_000)] = Field(description="Never fewer replicas.")
    max: _Count = Field(description="Never more replicas.")
    service_rate: Annotated[Fraction, between(_LEAST_RATE, _MOST_RATE)] = Field(
        description="Requests/s one ready replica serves: where to start until it is learned."
    )
    service_time: Annotated[Duration, duration_between("1ms", "7d")] | None = Field(
        default=None,
        description="Time one request takes in a replica at light load. Default: 1 / serviceRate, one request at a "
        "time; a replica that serves batches or several at once takes longer.",
    )
    lead_time: Annotated[Duration, duration_between("100ms", "6h")] = Field(
        default=Duration.parse("2m"),
        description="From a patch to a pod that serves: where to start until it is learned. Default: image there, "
        "model of a few GB to load.",
    )
    scale_in_hold: Annotated[Duration, duration_between("0s", "24h")] = Field(
        default=Duration.parse("60s"),
        description="How long a lower count must have been the answer before it is taken. Default: a few ticks, "
        "for what the load lately needed is held anyway.",
    )
    max_scale_out: _Count | None = Field(
        default=None,
        description="Most replicas added at one tick. Default: no limit, for a jump is dearer late than large.",
    )
    max_scale_in: _Count | None = Field(
        default=None,
        description="Most replicas removed at one tick. Default: no limit, for scaleInHold already guards it.",
    )

    @field_validator("max")
    @classmethod
    def _at_least_min(cls, most: int, info: ValidationInfo) -> int:
        if most < (least := info.data.get("min", 0)):
            raise ValueError(f"found {most}; allowed: at least min, which is {least}")
        return most

    @property
    def service_seconds(self) -> float:
        """Seconds one request takes in a replica."""
        return 1.0 / float(self.service_rate) if self.service_time is None else float(self.service_time)


class Gpu(Model):
    """The GPU nodes that its pods stand on, when a GpuNodePool plans them: ordered ahead, and shared."""

    pool: Name = Field(
        description="Name of the GpuNodePool. While there is none of that name, the service is planned alone and says "
        "so."
    )
    per_replica: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        default=1,
        description="GPUs of one replica, as its pods request them; at most those of a node. Default: what most "
        "inference servers take.",
    )
    weight: Annotated[Fraction, between(_LEAST_WEIGHT, _MOST_WEIGHT)] = Field(
        default=Fraction.parse("1"),
        description="What its late requests weigh against those of the pool's other services, where the pool is full. "
        "Default: all the same.",
    )


def _forecast_rules() -> tuple[Rule, ...]:
    step, season, history = (milliseconds(f"self.{name}") for name in ("step", "season", "history"))
    both = f"!({_well_spelled(Duration, 'self.step', 'self.season')}) || {step} == 0"
    past = f"!({_well_spelled(Duration, 'self.season', 'self.history')})"
    steps = f"!({_well_spelled(Duration, 'self.step', 'self.history')})"
    return (
        Rule(
            f"{both} || {season} % {step} == 0",
            "a multiple of step",
            field=".season",
            message="'allowed: a multiple of step, which is ' + self.step",
        ),
        Rule(
            f"{both} || {season} % {step} != 0 || {season} >= 2 * {step}",
            "at least two steps",
            field=".season",
            message="'allowed: at least two steps, each of ' + self.step",
        ),
        Rule(
            f"{past} || {history} == 0 || {history} >= {season}",
            "at least season, or 0s",
            field=".history",
            message="'allowed: at least season, which is ' + self.season + ', or 0s'",
        ),
        Rule(
            f"{steps} || {history} <= {MOST_STEPS} * {step}",
            f"at most {MOST_STEPS} steps",
            field=".history",
            message=f"'allowed: at most {MOST_STEPS} steps of ' + self.step",
        ),
    )


class Forecast(Model):
    """How arrivals are forecast. The defaults suit load with a daily rhythm."""

    model_config = rules(*_forecast_rules())

    step: Annotated[Duration, duration_between("100ms", "1h")] = Field(
        default=Duration.parse("15s"),
        description="Step of the forecast. History is read in at most 12,000 steps, of a multiple of it. Default: a "
        "tick, so that nothing of a jump is averaged away.",
    )
    season: Annotated[Duration, duration_between("1s", "28d")] = Field(
        default=Duration.parse("24h"),
        validate_default=True,
        description="Period in which load repeats; a multiple of step. Default: a day.",
    )
    history: Annotated[Duration, duration_between("0s", "90d")] = Field(
        default=Duration.parse("7d"),
        validate_default=True,
        description="Past that is read back on start: at least one season, or `0s` to read none. Default: a week, "
        "which is also how long Kafka keeps messages unless told otherwise.",
    )
    model: ForecastModel = Field(
        default=ForecastModel.AUTO,
        description="Forecaster: `direct` (regression on level, day and short periods), `levelSeason` (newest level "
        "times a seasonal ratio), `seasonalNaive` (the last season again), `none` (reactive only) or `auto`: the "
        "first two side by side, each as far as it was right, and reactive while neither beats the newest level. "
        "Default: what needs no knowledge of the load.",
    )

    @field_validator("season")
    @classmethod
    def _whole_steps(cls, season: Duration, info: ValidationInfo) -> Duration:
        step: Duration | None = info.data.get("step")
        if step is not None and season.milliseconds % step.milliseconds:
            raise ValueError(f"found {season}; allowed: a multiple of step, which is {step}")
        if step is not None and season.milliseconds < 2 * step.milliseconds:
            raise ValueError(f"found {season}; allowed: at least two steps, each of {step}")
        return season

    @field_validator("history")
    @classmethod
    def _long_and_short_enough(cls, history: Duration, info: ValidationInfo) -> Duration:
        step: Duration | None = info.data.get("step")
        season: Duration | None = info.data.get("season")
        if season is not None and 0 < history < season:
            raise ValueError(f"found {history}; allowed: at least season, which is {season}, or 0s")
        if step is not None and history.milliseconds > MOST_STEPS * step.milliseconds:
            longest = Duration.of_milliseconds(MOST_STEPS * step.milliseconds)
            raise ValueError(f"found {history}; allowed: at most {MOST_STEPS} steps of {step}, which is {longest}")
        return history


def _attainable_rules() -> tuple[Rule, ...]:
    within, rate, took = "self.objective.within", "self.replicas.serviceRate", "self.replicas.serviceTime"
    longest = milliseconds(within)
    declared = f"!({_well_spelled(Duration, within, took)}) || {milliseconds(took)} <= {longest}"
    zero = f"quantity({rate}).asApproximateFloat() == 0.0"
    derived = f"1000.0 / quantity({rate}).asApproximateFloat() <= double({longest})"
    spelled = f"{_well_spelled(Duration, within)} && {_well_spelled(Fraction, rate)}"
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
            message="'without serviceTime a request takes 1 / serviceRate; allowed: at most objective.within, '"
            f" + 'which is ' + {within} + ': {sentence}'",
        ),
    )


class Spec(Model):
    """What the user declares."""

    model_config = rules(*_attainable_rules())

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
    mode: Mode = Field(
        default=Mode.RECOMMEND,
        description="`Recommend` decides and reports and changes nothing; `Enforce` patches the target; `Floor`, which "
        "raises another autoscaler's minimum, is not carried out by this version, and says so. Default: nobody's "
        "cluster is changed by installing Lagcast.",
    )

    @model_validator(mode="after")
    def _attainable(self) -> Spec:
        replicas, within = self.replicas, self.objective.within
        if replicas.service_seconds > within:
            if replicas.service_time is None:
                text = f"found nothing, so it is 1 / serviceRate = {replicas.service_seconds:g}s"
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
    def paused(self) -> bool:
        """Its annotation asks that nothing be changed."""
        return self.metadata.annotations.get(PAUSED) == "true"

    @property
    def not_carried_out(self) -> str:
        """What of the spec this version cannot do, in words; empty when it can do all."""
        if self.spec.mode is Mode.FLOOR:
            return (
                'spec.mode: found "Floor", which this version does not carry out; '
                "allowed: Recommend or Enforce (delete the other autoscaler before Enforce)"
            )
        return ""

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
        pool=pool,
        gpus=1 if gpu is None else gpu.per_replica,
        weight=1.0 if gpu is None else float(gpu.weight),
    )
