"""The plan's constants in one place, each with its unit and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What the plan assumes that no user declares. Seconds, shares and plain factors."""

    paths: int = 100  # 30 paths miss jumps, 300 were no better (pilots); 99.9 % needs inflation instead
    grid: int = 40  # steps of the rollout; jumps inside a step are caught by the paths' own knots
    candidates: int = 12  # counts looked at in a tick, about: near the last answer, and what the paths need
    inflation: float = 1.3  # factor on residuals above the median path: paths seldom hold the whole jump
    price_scale: float = 0.5  # of the price that follows from the share: low, because the inflation carries the safety
    slack_used: float = 0.5  # share of the objective's slack the plan spends; the rest is for what it cannot see
    margin_ticks: float = 2.0  # ticks by which capacity is wanted early: orders wait for a tick, and grow over a few
    utilisation_min: float = 0.5  # however long a request takes, never plan for more than double its work
    reactive_headroom: float = 0.15  # over the newest level without a forecast (the strong reactive rule's)
    drain: float = 60.0  # s, at least, in which a backlog is to be drained: faster orders pods that come too late
    level_window: float = 60.0  # s, at most, over which the newest level is averaged
    uncommitted: float = 1.0  # s of work that is served but not yet committed: lag that no replica can remove
    scale_in_margin: float = 0.1  # a count is given back only if it would do with so much less service, too: no flicker
    scale_to_zero_below: float = 0.5  # expected requests up to the answer's end that count as none

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
