"""Which pods that do not serve yet have a node, and since when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scaler.plan.nodes_need import ServiceNeed

Floats = NDArray[np.float64]

_NONE: Floats = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """``ages`` (s since they have a node, the oldest first) of each service's pods that start on a node; ``waiting``:
    GPUs of pods without a node, and the unix time of their creation, the oldest first.
    """

    ages: tuple[Floats, ...]
    waiting: tuple[tuple[float, int], ...]


class Placement:
    """Follows pods from tick to tick. Those that are seen to wait for a node do; of the others nobody tells when they
    got theirs, but the oldest get what room there is."""

    def __init__(self) -> None:
        self._since: dict[str, dict[float, list[float]]] = {}  # by service and creation: times of getting a node
        self._waited: set[tuple[str, float]] = set()  # service and creation of pods without a node at the last tick
        self._before = 0.0

    def follow(self, now: float, room: int, needs: Sequence[ServiceNeed]) -> Placed:
        """Take in the pods of ``now`` (unix s); ``room``: GPUs of Ready nodes on which no pod serves."""
        pending = [(since, s) for s, need in enumerate(needs) for since in pending_since(need, now)]
        if not pending:  # as a rule
            self._since |= {need.uid: {} for need in needs}
            self._before, self._waited = now, set()
            return Placed((_NONE,) * len(needs), ())
        pending.sort()
        fits: list[dict[float, int]] = [{} for _ in needs]
        waiting, waited = [], set()
        seen = [Counter(need.unscheduled_since) for need in needs]
        for since, s in pending:
            if seen[s][since] > 0:
                seen[s][since] -= 1
                waiting.append((since, needs[s].gpus))
                waited.add((needs[s].uid, since))
            elif needs[s].gpus <= room:
                room -= needs[s].gpus
                fits[s][since] = fits[s].get(since, 0) + 1
            else:
                waiting.append((since, needs[s].gpus))
                waited.add((needs[s].uid, since))
        made = []
        for s, need in enumerate(needs):
            known, after = self._since.get(need.uid, {}), {}
            for since, count in fits[s].items():
                # The earliest got Ready first; room for those that had none came some time since the last tick.
                there = known.get(since, [])
                there = there[len(there) - count :] if len(there) > count else there
                came = (self._before + now) / 2 if (need.uid, since) in self._waited else since
                after[since] = [*there, *[came] * (count - len(there))]
            self._since[need.uid] = after
            times = sorted(time for some in after.values() for time in some)
            made.append(np.array([max(now - time, 0.0) for time in times], np.float64))
        self._before = now
        self._waited = waited
        return Placed(tuple(made), tuple(waiting))


def pending_since(need: ServiceNeed, now: float) -> list[float]:
    """When each replica that does not serve yet was created (unix s, ascending); those that do not exist are new."""
    missing = max(need.current - need.ready, 0)
    if missing == 0:
        return []
    known = sorted(min(since, now) for since in need.pending_since)[:missing]
    return [*known, *[now] * (missing - len(known))]
