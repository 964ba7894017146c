"""At which counts another pod of a service gives more: by its partitions, 12 to 15 pods may serve what 11 do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PART = 0.125  # of a count: a shorter step is none
_SAME = 1e-9  # of a replica: what tables of the same give by rounding


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Of counts from 0 to a service's most pods."""

    gives: Floats  # [R] what r replicas can give, in replicas; R may be less than most + 1, or more
    useful: Ints  # [most + 1] the fewest pods that give what each count does
    up: list[int]  # [most + 1] pods until the next count that gives more, or until the most
    down: list[int]  # [most + 1] pods of which the last ones give what they do together: those above the count before

    def busy(self, floor: int, demand: float) -> int:
        """Of a useful ``floor`` the pods that ``demand`` (replicas) keeps busy: of those that only together give more
        than fewer do, their part. All but none of them, and none above it."""
        pods = self.down[floor]
        if pods <= 1 or floor >= len(self.gives):
            return floor
        less, most = float(self.gives[floor - pods]), float(self.gives[floor])
        part = math.ceil((demand - less) / (most - less) * pods - _SAME)
        return floor - pods + min(max(part, 1), pods)

    def lumped(self, worths: Floats) -> Floats:
        """What pods are worth, [most]: those up to a count that gives more are worth it together, and of them the last
        one has it all."""
        lumps = np.zeros(len(worths))
        ends = np.flatnonzero(self.useful == np.arange(len(self.useful)))[1:] - 1
        if len(ends):
            lumps[ends] = np.add.reduceat(worths[: ends[-1] + 1], np.concatenate(([0], ends[:-1] + 1)))
        return lumps


class KnownSteps:
    """Of each service; made anew when its table, which nobody writes to, is another."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[Floats, int, Steps]] = {}  # by uid: table, most pods

    def of(self, uid: str, table: Floats | None, most: int) -> Steps | None:
        """None where each pod gives more; ``table`` as :func:`steps_of` has it."""
        if table is None:
            return None
        known = self._made.get(uid)
        if known is None or known[0] is not table or known[1] != most:
            known = self._made[uid] = table, most, steps_of(table, most)
        return known[2]


def steps_of(table: Floats, most: int) -> Steps:
    """``table`` [R]: what r replicas can give, not falling; above its end each gives more."""
    counts = np.arange(most + 1)
    useful = counts.copy()
    known = min(len(table), most + 1)
    useful[:known] = np.searchsorted(table, table[:known] - _SAME)
    ends = np.flatnonzero(useful == counts)
    above = np.append(ends, most)[np.searchsorted(ends, useful) + 1]
    # A few of many pods seem to give nothing by a rounding of the even split over still more partitions.
    useful = np.where(above - useful > _PART * above, useful, counts)
    ends = np.flatnonzero(useful == counts)
    above = np.append(ends, most)[np.searchsorted(ends, counts, side="right")]
    below = np.where(useful < counts, useful, useful[np.maximum(counts - 1, 0)])
    return Steps(table, useful, (above - counts).tolist(), (counts - below).tolist())
