"""The plan's constants in one place, each with its unit and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the plan of nodes assumes that no user declares. Seconds and plain factors."""

    inflation_near: float = 2.0  # factor on residuals above the median path up to ``near``: jumps against pods' leads
    inflation_far: float = 1.2  # and from ``far`` on: paths that far ahead are wide already
    near: float = 150.0  # s
    far: float = 300.0  # s
    overlap: float = 60.0  # s that a node which is needed is taken to stand there early: the price of ordering it
    wait: float = 60.0  # s an order can wait when that costs no more than it saves: no order for what may pass by
    reach: int = 7  # nodes, that together may save what none does alone: more were ordered for the rarest paths only
    release: float = 0.1  # of the nodes may be empty by the plan's will: a calm seldom lasts
    release_least: int = 8  # nodes, or as many as these
    drain: float = 60.0  # s, at least, in which a backlog is to be drained
    present: float = 0.9  # share of the newest level that is always served: less than 1, as the level is noisy
    lately: float = 60.0  # s whose mean level is taken to go on until a new node serves: a burst is long over then
    held_leads: float = 2.5  # lead times, node and pod, that the present's largest need stands: jumps come in groups
    overdue: float = 2.0  # lead times of a node after which one is not counted on, until another comes: out of GPUs
    full_keep: float = 3.0  # times as often as by who has it, a GPU that changes hands is to be needed
    full_leads: float = 10.0  # of pods, that a full pool looks back: less is noise, more is slow where load moves
    steps: int = 120  # of the rollout, at most
    lead_samples: int = 200  # nodes remembered
    lead_prior: int = 5  # nodes that the declared lead time counts for
    node_points: int = 24  # quantiles of the node's lead time in the rollout
    pod_points: int = 96  # steps of the pod's lead time in the rollout


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What the plan of a service, and of its pool, assumes that no user declares. Seconds, shares and plain factors."""

    paths: int = 100  # 30 paths miss jumps, 300 were no better (pilots); 99.9 % needs inflation instead
    refit: float = 86_400.0  # s between two fits of the forecaster
    price_scale: float = 0.45  # of the price that follows from the share: low, because the inflation carries the safety
    inflation: float = 1.8  # factor on residuals above the median path: paths seldom hold the whole jump
    inflation_least: float = 1.3  # the attainment reached moves it between these
    inflation_most: float = 3.0
    correction: float = 0.7  # power of (late share reached / aimed at) by which it moves
    aim: float = 0.5  # part of the declared late share that is aimed at
    pool_price: float = 2.5  # factor on it on a pool: what is late there waits for a node
    pool_correction: float = 2.0  # power of the inflation's change by which the price of lateness moves on a pool
    attained_memory: float = 21_600.0  # s in which a request's weight falls by e: one jump is not paid for all day
    attained_prior: float = 10_800.0  # s of the usual load that count as just on target
    margin_ticks: float = 1.0  # ticks by which capacity is wanted early: what joins and commits is late now and then
    utilisation_min: float = 0.5  # however long a request takes, never plan for more than double its work
    waiting: float = 0.5  # factor of waiting until it is learned, and at most: Poisson arrivals, constant service
    waiting_weight: float = 40.0  # ticks that it counts for
    waiting_memory: float = 5760.0  # ticks over which waits are averaged
    reactive_headroom: float = 0.15  # over the newest level without a forecast (the strong reactive rule's)
    drain: float = 60.0  # s, at least, in which a backlog is to be drained: faster orders pods that come too late
    level_window: float = 60.0  # s, at most, over which the newest level is averaged, where no request takes longer
    held_share: float = 0.9  # of the need of the newest level, the largest of the last
    held_leads: float = 4.0  # lead times: no count is lower
    uncommitted: float = 1.0  # s of work that is served but not yet committed: lag that no replica can remove
    scale_to_zero_below: float = 0.5  # expected requests up to the answer's end that count as none

    experiments: bool = True  # fewer replicas for a while, where safe, when nothing else tells what one serves
    patience: float = 1800.0  # s of load before one on a pool, or where requests take as long as was declared
    rate_memory_ticks: float = 5.0  # ticks of saturated work over which the service rate is averaged
    rate_change: float = 2.0  # a single interval moves the rate as if it had seen at most this factor
    rate_bounds: float = 20.0  # the learned rate stays within this factor of the declared one
    settle_ticks: float = 2.0  # ticks after a change of membership in which nothing is learned: the group rebalances
    split_memory_ticks: float = 40.0  # ticks over which the partitions' shares are averaged
    split_change: float = 0.1  # the split in use follows when a share moved by this part of an even share
    rebalance_pause: float = 3.0  # s (at most a tick) without service when the membership changes
    lead_samples: int = 200  # pods remembered
    lead_prior: int = 5  # pods that the declared lead time counts for
    join: float = 2.0  # s from Ready to holding partitions, where not seen: librdkafka joins twice, once a second
    lag_samples: int = 512  # head offsets remembered, thinned with age, to tell a message's age

    stuck_ticks: float = 4.0  # ticks, and
    stuck_services: float = 4.0  # service times, and
    stuck_seconds: float = 10.0  # s: all three without a commit, and consumers count as stuck; commits come in batches
    silent_seconds: float = 600.0  # s, at least, with messages and without a commit, and a partition is silent
    silent_turns: float = 4.0  # turns, at least, of a consumer through its partitions: a request may take minutes

    nodes: NodeSettings = NodeSettings()
