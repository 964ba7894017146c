"""A pool that can have no more nodes: its GPUs are divided by what they were worth over a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scaler.plan.nodes_full import Division
from scaler.plan.nodes_need import ServiceNeed
from scaler.plan.nodes_present import Steadied
from scaler.plan.nodes_share import Claim, Late, Shares
from scaler.plan.nodes_steps import KnownSteps, Steps
from scaler.plan.settings import NodeSettings

Floats = NDArray[np.float64]
Counts = tuple[int, ...]  # of each service


class FullPool:
    """Remembers what the services of one pool lately needed."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._steadied = Steadied()
        self._steps = KnownSteps()

    def division(
        self, now: float, needs: Sequence[ServiceNeed], claims: Sequence[Claim], late: Late, total: int, lead: float
    ) -> Division:
        """Take in what each service needs at ``now`` (unix s), and divide ``total`` GPUs. ``claims`` and ``late`` are
        those that the pool's own plan goes by, ``lead`` (s) is a pod's lead time and a tick."""
        settings = self._settings
        hold = settings.held_leads * lead
        gpus, current, least, most = pods_of(needs)
        certain = _guaranteed(needs, claims, [claim.now for claim in claims], total)
        free = total - sum([n * one for n, one in zip(certain, gpus, strict=True)])
        steps = [self._steps.of(n.uid, n.table, c.most) for n, c in zip(needs, claims, strict=True)]
        stand = [_useful(min(n.current, c.now), its) for n, c, its in zip(needs, claims, steps, strict=True)]
        for need, low, stands, its in zip(needs, certain, stand, steps, strict=True):
            if need.floor is None:  # rule 1: who has a node keeps it, now and when the need is known again
                self._steadied.pass_over(now, need.uid, stands)
                continue
            # What it can never have here, and what gives no more than fewer do, it does not need.
            floor = _busy(need, min(need.floor, low + max(free, 0) // need.gpus), its, settings.drain)
            self._steadied.take_in(now, need.uid, floor, settings.full_leads * lead, lead)

        def steady(s: int, saved: Floats) -> tuple[Floats, Floats]:
            """A GPU that the present needs serves what would be late, whether or not all of it could be in time, for as
            long as the need is held. Who has it and needs it now and then would want it back: it has it for the lead
            time besides, in which it would serve nobody then.
            """
            need, claim, its = needs[s], claims[s], steps[s]
            worth = self._steadied.saved(now, need.uid, saved, hold)
            shares = self._steadied.needed(need.uid, len(saved))
            if need.floor is None:  # what it needed before it was lost sight of is nothing to make way for
                shares[stand[s] :] = 0.0
            price = need.price * need.rate
            present = max(claim.present * claim.lead, price * hold)
            kept = np.minimum(settings.full_keep * shares, 1.0)
            serving = need.current if its is None else int(its.useful[min(need.current, claim.most)])
            back = (shares[:serving] > 0.0) & (shares[:serving] < 1.0)
            kept[:serving] += np.where(back, price * claim.lead / present, 0.0)
            return worth + present * shares, worth + present * kept

        # The present is in what is steadied. Who was late does not count for more: they would only take turns at it.
        dividing = [
            replace(claim, least=low, floor=0, weight=need.weight / need.raised, steps=its)
            for claim, need, low, its in zip(claims, needs, certain, steps, strict=True)
        ]
        return Division(Shares(dividing, late, steady), gpus, current, least, most, total, move=True)


def pods_of(needs: Sequence[ServiceNeed]) -> tuple[Counts, Counts, Counts, Counts]:
    """GPUs of a pod, current, least and most pods of each service."""
    gpus, current = tuple(need.gpus for need in needs), tuple(need.current for need in needs)
    least = tuple(need.least for need in needs)
    return gpus, current, least, tuple(max(need.most, need.least) for need in needs)


def with_nodes(needs: Sequence[ServiceNeed], claims: Sequence[Claim], total: int) -> list[Claim]:
    """The claims on ``total`` GPUs that are there. What is held and has no node waits for nodes that are on their way:
    it takes what is free, or only fills nodes, and nothing that others ask for."""
    if all(need.least <= need.promised for need in needs):  # as a rule
        return list(claims)
    asked = [min(claim.now, max(need.asked, need.known)) for need, claim in zip(needs, claims, strict=True)]
    least = _guaranteed(needs, claims, asked, total)
    return [replace(claim, least=low) for claim, low in zip(claims, least, strict=True)]


def _guaranteed(needs: Sequence[ServiceNeed], claims: Sequence[Claim], keep: Sequence[int], total: int) -> list[int]:
    """Pods of each service for which the others leave room, of ``total`` GPUs. Nobody gives up one of those to ``keep``
    for what is held and has no node; but nobody gets more before that has one, as when it is made anew.
    """
    made = [max(need.promised, min(need.least, claim.now)) for need, claim in zip(needs, claims, strict=True)]
    theirs = [
        n if n < need.least else max(n, min(need.current, kept))
        for n, need, kept in zip(made, needs, keep, strict=True)
    ]
    left = total - sum([n * need.gpus for n, need in zip(theirs, needs, strict=True)])
    for s, need in enumerate(needs):
        more = min(need.least - made[s], max(left, 0) // need.gpus)
        made[s] += more
        left -= more * need.gpus
    return made


def _busy(need: ServiceNeed, floor: int, steps: Steps | None, drain: float) -> int:
    """Of ``floor`` pods those that the present keeps busy, its backlog drained in ``drain`` s."""
    if steps is None:
        return floor
    return steps.busy(_useful(floor, steps), (need.level + need.backlog / drain) / need.rate)


def _useful(pods: int, steps: Steps | None) -> int:
    """The fewest pods that give what ``pods`` do."""
    return pods if steps is None else int(steps.useful[min(pods, len(steps.useful) - 1)])
