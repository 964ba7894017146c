"""Which scalers are planned together. Pure: what is declared goes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from scaler.api.gpu_node_pool import POOL_KIND, GpuNodePool
from scaler.api.predictive_scaler import PredictiveScaler, to_service
from scaler.plan.decision import GroupDecision, Policy
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from scaler.pools.limits import pool_spec


@dataclass(frozen=True, slots=True)
class Member:
    """One scaler of a group. ``alone`` says why it is planned alone though it names a pool; empty when it is not."""

    resource: PredictiveScaler
    service: Service
    alone: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Scalers that are planned together: those on one pool, or one."""

    key: str
    members: tuple[Member, ...]
    pool: GpuNodePool | None = None


@runtime_checkable
class MakesGroups(Protocol):
    """A maker of policies that can plan services together with their pool's nodes."""

    def together(self, members: Sequence[Member]) -> Policy:
        """The policy of one group. Raises ConfigError for what it refuses."""
        ...


def planning_groups(make_policy: object) -> MakesGroups | None:
    """The maker, if it can plan services together."""
    return make_policy if isinstance(make_policy, MakesGroups) else None


@runtime_checkable
class TakesOver(Protocol):
    """A policy that can go on with what another one learned."""

    def take_over(self, old: Policy, uids: frozenset[str]) -> frozenset[str]:
        """Go on with what ``old`` learned of the services ``uids``; those of which it did, as they are the same."""
        ...


def arrange(
    resources: Sequence[PredictiveScaler], pools: Sequence[GpuNodePool], tick: float, *, together: bool
) -> tuple[Group, ...]:
    """The groups, in the order of their first scalers. ``together``: the policy can plan pools."""
    by_name: Mapping[str, GpuNodePool] = {pool.metadata.name: pool for pool in pools}
    groups: dict[str, Group] = {}
    for resource in resources:
        pool = None if resource.spec.gpu is None else by_name.get(resource.spec.gpu.pool)
        alone = _alone(resource, pool, together)
        if pool is None or alone:
            groups[resource.uid] = Group(resource.uid, (Member(resource, to_service(resource, tick), alone),))
            continue
        member = Member(resource, to_service(resource, tick, pool_spec(pool)))
        known = groups.get(pool.uid, Group(pool.uid, (), pool))
        groups[pool.uid] = replace(known, members=(*known.members, member))
    return tuple(groups.values())


def say(decision: GroupDecision, members: Sequence[Member]) -> GroupDecision:
    """The decision, with what its pool means to each service among its reasons."""
    told = (Reason.POOL_FULL, Reason.NODES_UNSEEN)
    pooled = tuple(r for r in told if any(r in pool.reasons for pool in decision.pools))
    alone = {member.service.uid for member in members if member.alone}
    services = []
    for one in decision.services:
        more = ((Reason.POOL_UNKNOWN,) if one.uid in alone else ()) + pooled
        services.append(replace(one, reasons=(*one.reasons, *(r for r in more if r not in one.reasons))))
    return replace(decision, services=tuple(services))


def _alone(resource: PredictiveScaler, pool: GpuNodePool | None, together: bool) -> str:
    gpu = resource.spec.gpu
    if gpu is None:
        return ""
    if pool is None:
        return f"spec.gpu.pool: there is no {POOL_KIND} {gpu.pool}, or it is refused (see its status)"
    if not together:
        return f"spec.gpu.pool: the policy that runs plans no pools, so {POOL_KIND} {gpu.pool} is not used"
    if gpu.per_replica > pool.spec.node.gpus:
        return (
            f"spec.gpu.perReplica: found {gpu.per_replica}; allowed: at most the GPUs of a node of {POOL_KIND} "
            f"{gpu.pool}, which has {pool.spec.node.gpus}"
        )
    return ""
