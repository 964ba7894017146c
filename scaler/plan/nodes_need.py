"""What the plan of a pool's nodes is given and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scaler.plan.nodes_full import Division
from scaler.plan.reasons import Reason

if TYPE_CHECKING:  # as in nodes_full
    from scaler.plan.paths import Futures

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What the user declared about one pool. Durations in seconds. Raises ValueError."""

    uid: str
    size: int  # GPUs of a node
    lead_time: float  # from asked for to Ready: the start value, until it is learned
    idle: float = 600.0  # after which an autoscaler takes an empty node away
    max_nodes: int | None = None  # None: as many as the services' limits fill
    enforced: bool = False  # its count is written: nodes come before pods, which then wait for none

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"pool {self.uid}: size: found {self.size}; allowed: at least 1 GPU")
        if not self.lead_time > 0:
            raise ValueError(f"pool {self.uid}: lead_time: found {self.lead_time} s; allowed: more than 0 s")
        if not self.idle >= 0:
            raise ValueError(f"pool {self.uid}: idle: found {self.idle} s; allowed: at least 0 s")
        if self.max_nodes is not None and self.max_nodes < 0:
            raise ValueError(f"pool {self.uid}: max_nodes: found {self.max_nodes}; allowed: at least 0, or none")


@dataclass(frozen=True, slots=True, eq=False)
class ServiceNeed:
    """One service on the pool, as its own planner knows it now."""

    uid: str
    futures: Futures  # sample paths as drawn, or the one path of the present level
    backlog: float  # messages
    level: float  # requests/s, the newest level of arrivals
    rate: float  # requests/s of one replica, as far as it may be planned for
    slack: float  # s between a request's arrival and the last moment to begin with it
    price: float  # replica-seconds a late request
    share: float  # of the requests, that are to be in time
    ready: int
    pending_since: tuple[float, ...]  # unix s at which the pods that do not serve yet were created
    current: int  # replicas asked for
    floor: int | None  # replicas that the present needs, whatever the paths say; None: not known now
    least: int  # replicas that are guaranteed: the promised ones; the current ones when none may be taken away
    promised: int  # of the least, whether or not they have a node: the declared minimum, what an experiment gave up
    most: int
    leads: Floats  # s from having a node to serving, ascending; not to be written to afterwards
    table: Floats | None = None  # [most + 1] what r replicas can give, in replicas; None: r
    gpus: int = 1  # of a replica
    caution: float = 1.0  # the inflation over its default: what was attained says how far upward residuals are widened
    raised: float = 1.0  # its price over what it were, had what is declared been attained
    weight: float = 1.0  # of its lateness against the others' where the pool is full
    asked: int = 0  # replicas that its own plan asks for, what was lately needed included
    unscheduled_since: tuple[
        float, ...
    ] = ()  # of ``pending_since``, the pods that wait for a node for all that is seen

    @property
    def highest(self) -> float:
        """Requests/s that the most replicas give."""
        return self.rate * (self.most if self.table is None else float(self.table[-1]))

    @property
    def known(self) -> int:
        """Of the most, the replicas that the present is known to need. Where that is not known, ``least`` is what holds
        them."""
        return 0 if self.floor is None else min(self.floor, self.most)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The nodes that the pool is to keep at least (None: none may be written), the replicas of each service in the
    order of the needs, and why. ``kept`` of the Ready nodes stay filled (None: not known), ``ordered`` are new.
    """

    floor: int | None
    replicas: tuple[int, ...]
    reasons: tuple[Reason, ...]
    kept: int | None = None
    ordered: int = 0
    vacate: bool = True  # deletion costs are to empty the emptiest node first
    needed: tuple[float, float] | None = None  # GPUs, as PoolDecision has them; None: not known
    waiting: tuple[int, ...] = ()  # replicas of each service that no node has room for; empty: not known
    spare: bool = False  # what a service gives up for a while is there again: nodes stay, and no pod waits for one
    division: Division | None = field(default=None, compare=False, repr=False)  # None: the pool has no most
