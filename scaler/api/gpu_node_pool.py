"""The resource ``GpuNodePool``: GPU nodes that are wanted before the pods that need them.

Each provider of ``PROVIDED`` has a writer in ``scaler.act.nodepools``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from scaler.api.cel import Rule, whole
from scaler.api.model import FieldErrors, LabelKey, LabelValue, Model, Name, Namespace, matches, rules
from scaler.api.pause import read_pause
from scaler.api.predictive_scaler import ApiVersion, Kind, OwnMetadata
from scaler.api.quantities import Duration, Fraction, between, duration_between

POOL_KIND = "GpuNodePool"
_LEAST_COST, _MOST_COST = Fraction.parse("0.000001"), Fraction.parse("1M")
_Cost = Annotated[Fraction, between(_LEAST_COST, _MOST_COST)]
_PROVIDERS = ("karpenter", "capacityBuffer", "machineDeployment", "placeholderPods", "integerField")
PROVIDED: frozenset[str] = frozenset(_PROVIDERS)
"""The providers that this version can act on."""
_Pointer = Annotated[
    str,
    Field(strict=True, min_length=2, max_length=512),
    matches(
        r"(?:/(?:[^~/\x00-\x1f]|~[01])+)+",
        'a JSON pointer to an integer, such as "/spec/replicas"; inside a name, ~1 stands for "/" and ~0 for "~"',
    ),
]


class PoolMode(StrEnum):
    """Whether decisions change the pool."""

    RECOMMEND = "Recommend"
    ENFORCE = "Enforce"


class Karpenter(Model):
    """A static Karpenter NodePool, one that states `spec.replicas`."""

    node_pool: Name = Field(description="Name of the NodePool.")


class CapacityBuffer(Model):
    """A CapacityBuffer of the cluster autoscaler or of Karpenter; its `spec.replicas` is set."""

    namespace: Namespace = Field(description="Namespace of the CapacityBuffer.")
    name: Name = Field(description="Name of the CapacityBuffer.")


class MachineDeployment(Model):
    """A Cluster API MachineDeployment."""

    namespace: Namespace = Field(description="Namespace of the MachineDeployment.")
    name: Name = Field(description="Name of the MachineDeployment.")
    autoscaled: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Whether the cluster autoscaler owns its count: then its minimum size is raised, and its count is "
        "left alone. Default: no, its replicas are set.",
    )


class PlaceholderPods(Model):
    """Pods of a negative priority that hold nodes until the scheduler preempts them for real ones."""

    namespace: Namespace = Field(description="Namespace of the placeholders.")
    name: Name = Field(description="Name of the Deployment of placeholders; one of them fills a node.")


class IntegerField(Model):
    """Any integer in any object: how a cloud's node group states its size or its minimum."""

    api_version: ApiVersion = Field(description="API group and version of the object.")
    kind: Kind = Field(description="Kind of the object.")
    namespace: Namespace | None = Field(
        default=None, description="Namespace of the object. Default: none, for a kind of the whole cluster."
    )
    name: Name = Field(description="Name of the object.")
    path: _Pointer = Field(description="JSON pointer to the integer.")


class Provider(Model):
    """What makes the nodes of this pool: exactly one of these."""

    model_config = rules(
        Rule(
            f"[{', '.join(f'has(self.{name})' for name in _PROVIDERS)}].filter(x, x).size() == 1",
            f"exactly one of {', '.join(_PROVIDERS)}",
        )
    )

    karpenter: Karpenter | None = Field(default=None, description="A static Karpenter NodePool.")
    capacity_buffer: CapacityBuffer | None = Field(default=None, description="A CapacityBuffer.")
    machine_deployment: MachineDeployment | None = Field(default=None, description="A Cluster API MachineDeployment.")
    placeholder_pods: PlaceholderPods | None = Field(default=None, description="Pods that hold a node's place.")
    integer_field: IntegerField | None = Field(default=None, description="An integer field of any object.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Provider:
        if len(given := self._given()) != 1:
            raise ValueError(f"found {' and '.join(given) or 'none'}; allowed: exactly one of {', '.join(_PROVIDERS)}")
        return self

    def _given(self) -> list[str]:
        fields = type(self).model_fields.items()
        return [field.alias or name for name, field in fields if getattr(self, name) is not None]

    @property
    def name(self) -> str:
        """Which one it is, as it is spelled in the resource."""
        return self._given()[0]


class Node(Model):
    """One node of the pool."""

    gpus: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(description="GPUs of a node.")
    replicas: Annotated[int, Field(strict=True, ge=1, le=1024)] = Field(
        description="Replicas that a node holds: its GPUs divided by those of one replica."
    )
    selector: Annotated[dict[LabelKey, LabelValue], Field(min_length=1, max_length=16)] = Field(
        description="Labels by which the pool's nodes are known."
    )
    lead_time: Annotated[Duration, duration_between("1s", "6h")] = Field(
        default=Duration.parse("6m"),
        description="From asking for a node to its being Ready: where to start until it is learned. Default: machine, "
        "driver and device plugin of a usual GPU node.",
    )
    idle: Annotated[Duration, duration_between("0s", "24h")] = Field(
        default=Duration.parse("10m"),
        description="How long an empty node is paid for until it is gone; a node that may be needed within that time "
        "is kept. Default: what the cluster autoscaler waits.",
    )
    cost_per_hour: _Cost | None = Field(
        default=None, description="Cost of a node an hour, in any currency. Default: not known, no budget in cost."
    )

    @property
    def labels(self) -> str:
        """The selector, as the API server takes it: "pool=h100,zone=a"."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))


class Nodes(Model):
    """How many nodes there may be."""

    model_config = rules(
        Rule(
            "self.min <= self.max",
            "at least min",
            field=".max",
        )
    )

    min: Annotated[int, Field(strict=True, ge=0, le=15_000)] = Field(description="Never fewer nodes.")
    max: Annotated[int, Field(strict=True, ge=1, le=15_000)] = Field(description="Never more nodes.")

    @field_validator("max")
    @classmethod
    def _at_least_min(cls, most: int, info: ValidationInfo) -> int:
        if most < (least := info.data.get("min", 0)):
            raise ValueError(f"found {most}; allowed: at least min, which is {least}")
        return most


class Budget(Model):
    """What the pool may cost at most, at any time."""

    gpus: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = Field(
        default=None, description="Most GPUs of all its nodes. Default: no limit but that of nodes.max."
    )
    cost_per_hour: _Cost | None = Field(
        default=None,
        description="Most cost an hour of all its nodes, in the currency of node.costPerHour. Default: none.",
    )


def _budget_rules() -> tuple[Rule, ...]:
    gpus = "self.budget.gpus"
    cost, budget = "self.node.costPerHour", "self.budget.costPerHour"
    spelled = f"{whole(Fraction.spelling, cost)} && {whole(Fraction.spelling, budget)}"
    enough = (
        f"quantity({cost}).asApproximateFloat() * double(self.nodes.min) <= quantity({budget}).asApproximateFloat()"
    )
    return (
        Rule(
            f"!has(self.budget) || !has({gpus}) || self.nodes.min * self.node.gpus <= {gpus}",
            "at least the GPUs of nodes.min nodes",
            field=".budget.gpus",
        ),
        Rule(
            f"!has(self.budget) || !has({budget}) || has({cost})",
            "node.costPerHour as well: without it no cost is known",
            field=".budget.costPerHour",
        ),
        Rule(
            f"!has(self.budget) || !has({budget}) || !has({cost}) || !({spelled}) || {enough}",
            "at least the cost of nodes.min nodes",
            field=".budget.costPerHour",
        ),
    )


class PoolSpec(Model):
    """What the user declares about one pool."""

    model_config = rules(*_budget_rules())

    provider: Provider = Field(description="What makes its nodes: exactly one of these.")
    node: Node = Field(description="What one node is.")
    nodes: Nodes = Field(description="How many there may be.")
    budget: Budget | None = Field(default=None, description="What it may cost at most. Default: no limit.")
    mode: PoolMode = Field(
        default=PoolMode.RECOMMEND,
        description="`Recommend` decides and reports and changes nothing; `Enforce` writes. Default: nobody's cluster "
        "is changed by installing Lagcast.",
    )

    @model_validator(mode="after")
    def _affordable(self) -> PoolSpec:
        if self.budget is None:
            return self
        faults = []
        least = self.nodes.min * self.node.gpus
        if self.budget.gpus is not None and self.budget.gpus < least:
            rule = f"at least the GPUs of nodes.min nodes, which are {least}"
            faults.append(("budget.gpus", f"found {self.budget.gpus}; allowed: {rule}"))
        if (most := self.budget.cost_per_hour) is not None:
            cost = self.node.cost_per_hour
            if cost is None:
                text = "node.costPerHour as well: without it no cost is known"
                faults.append(("budget.costPerHour", f"found {most}; allowed: {text}"))
            elif float(cost) * self.nodes.min > float(most):
                faults.append(("budget.costPerHour", f"found {most}; allowed: at least the cost of nodes.min nodes"))
        if faults:
            raise FieldErrors(*faults)
        return self


class GpuNodePool(Model):
    """A pool of GPU nodes, and how many it may hold."""

    api_version: Literal["lagcast.io/v1alpha1"] = Field(description="Version of this resource.")
    kind: Literal["GpuNodePool"] = Field(description="Kind of this resource.")
    metadata: OwnMetadata = Field(description="Which object this is; it belongs to no namespace.")
    spec: PoolSpec = Field(description="What the user declares.")

    @property
    def uid(self) -> str:
        """``metadata.uid``, or what is always the same for this name."""
        return self.metadata.uid or f"{POOL_KIND}/{self.metadata.name}"

    @property
    def paused(self) -> bool:
        """Its annotation asks that nothing be changed; so does a value that is not understood."""
        return read_pause(self.metadata.annotations).everything

    @property
    def not_carried_out(self) -> str:
        """What of the spec this version cannot do, in words; empty when it can do all."""
        provider = self.spec.provider.name
        return "" if provider in PROVIDED else f"spec.provider.{provider}: this version does not act on it"

    def __str__(self) -> str:
        return f"{POOL_KIND} {self.metadata.name}"
