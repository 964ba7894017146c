"""Runs the whole decision once on made-up readings, so that nothing is compiled or imported in a real tick."""

from __future__ import annotations

import numpy as np

from forecasting.competition_scores import Told
from forecasting.competition_strays import likelihood_rank
from forecasting.fitting import InPlace
from forecasting.models.cycle import Cycle
from forecasting.series import Series, counts_of
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.controller import MakePolicy
from scaler.fits import fitted_by
from scaler.plan.capacity import PartitionSplit
from scaler.plan.guard import reactive_floor
from scaler.plan.lead_time import LeadTimes
from scaler.plan.nodes_kernel import nodes_to_order
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import (
    Freshness,
    GroupObservation,
    PoolObservation,
    PoolState,
    Reading,
    ReplicaState,
    ServiceObservation,
    TopicOffsets,
)
from scaler.plan.partition_shares import shrunk_shares
from scaler.plan.paths import Futures
from scaler.plan.progress import Progress
from scaler.plan.rollout import Queue, Rollout, Standing, Terms
from scaler.plan.saturation import saturated
from scaler.pools.groups import Member, planning_groups

EXAMPLE = PredictiveScaler.model_validate(
    {
        "apiVersion": "lagcast.io/v1alpha1",
        "kind": "PredictiveScaler",
        "metadata": {"name": "warm-up"},
        "spec": {
            "target": {"name": "warm-up"},
            "kafka": {"bootstrapServers": "localhost:9092", "topic": "warm-up", "consumerGroup": "warm-up"},
            "objective": {"within": "10s", "share": "99%"},
            "replicas": {"min": 1, "max": 8, "serviceRate": "1"},
        },
    }
)
"""A scaler to warm up with where there is none yet."""
POOL = PoolSpec("warm-up", size=8, lead_time=300.0)
NODES = PoolState(ready=1, pending_since=(), empty=0, floor=1)


def warm_up(make_policy: MakePolicy, resource: PredictiveScaler, tick: float) -> None:
    """Decide a few ticks with a policy that is then thrown away."""
    make_policy = fitted_by(make_policy, InPlace())
    together = None if resource.spec.gpu is None else planning_groups(make_policy)
    if together is None:
        policy = make_policy(resource, to_service(resource, tick))
    else:
        policy = together.together([Member(resource, to_service(resource, tick, POOL))])
    step = resource.spec.forecast.step
    span = int(2 * resource.spec.forecast.season / step) + 10
    start = 0.0
    end = start + span * step
    past = Series(start, step, np.full(span, 1.0))
    zeros = np.zeros(1, dtype=np.int64)
    for n in range(3):
        now = end + n * tick
        offsets = TopicOffsets(zeros, zeros + round(n * tick), zeros, zeros + round(n * tick))
        policy.step(
            now,
            GroupObservation(
                (
                    ServiceObservation(
                        resource.uid,
                        Reading(offsets, now, Freshness.FRESH),
                        None,
                        Reading(ReplicaState(1, 1, (), 0, "warm-up", updating=False), now, Freshness.FRESH),
                        history=Reading(past, now, Freshness.FRESH) if n == 1 else None,
                    ),
                ),
                () if together is None else (PoolObservation(POOL.uid, Reading(NODES, now, Freshness.FRESH)),),
            ),
        )
    _later(past)
    _waiting()
    if together is not None:
        _ordering()


def _later(past: Series) -> None:
    """What forecasts come to only minutes later, or of a load that has a cycle."""
    cycle = Cycle(past.step, 2 * past.step)
    for arrivals in counts_of(past)[:8]:
        cycle.update(arrivals)
    paths = cycle.paths(2, 4, np.random.default_rng(0))[:, 0].astype(np.float64)
    Told().nats(1.0, past.step, paths, [paths])
    likelihood_rank(paths, 1.0, past.step)


def _waiting() -> None:
    """What is come to only where messages wait or some partitions have more than others, or where the answer is not the
    cheapest count."""
    some = np.ones(2)
    saturated(Progress(1.0, 1.0, some, some, some, some, recreated=False), 1, 1.0)
    shrunk_shares(some)
    terms = Terms(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    Rollout(Futures(np.ones((1, 1)), 1.0, 0.0), Queue(1.0, 1.0), Standing(1, 1, ()), some, some, terms).late(1)
    reactive_floor(1.0, 1.0, Standing(1, 1, ()), PartitionSplit(1, 1.0, 1.0), LeadTimes(1.0, 1, 1), 1.0, 1.0)


def _ordering() -> None:
    """What a pool's plan comes to only where work would be late."""
    some = np.ones(2)
    nodes_to_order(np.ones((1, 1, 2)), np.ones((1, 5)), some, 0, 2, 0, 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1, some, some)
