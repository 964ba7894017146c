"""One pool's tick from end to end."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.act.order import Outcome
from scaler.api.gpu_node_pool import GpuNodePool
from scaler.observe.nodes import Node
from scaler.plan.decision import PoolDecision
from scaler.plan.observation import PoolObservation


@dataclass(frozen=True, slots=True, eq=False)
class PoolSeen:
    """What was seen of a pool: what the policy is told, and what it takes to carry a decision out."""

    observation: PoolObservation
    number: int | None = None  # the provider's own, as it was read; None: not known now
    busy: int = 0  # Ready nodes that hold pods of ours
    empty: tuple[Node, ...] = ()  # Ready nodes without one
    there: int = 0  # nodes that nobody is taking away yet, Ready or not, cordoned or not
    shut: int = 0  # of these, cordoned ones without a pod of ours, which the provider's number counts
    lacking: tuple[Node, ...] = ()  # their kubelets are Ready, and they have lacked GPUs for a node's lead time


@dataclass(frozen=True, slots=True, eq=False)
class PoolRow:
    """As the status, the metrics and the lab show it. ``nodes`` are to be kept, within the limits (None: not decided);
    ``decision`` is None for a pool that no scaler names.
    """

    resource: GpuNodePool
    seen: PoolSeen
    decision: PoolDecision | None
    nodes: int | None
    outcome: Outcome
    services: int = 0  # that are planned on it
