"""Order where machine code needs it: a library's sort takes seconds to compile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecasting.compiled import compiled


@compiled
def ascend(values: NDArray[np.float32] | NDArray[np.float64]) -> None:
    """Ascending, in place (Shell, 1959, with the gaps of Ciura, 2001)."""
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, len(values)):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value


@compiled
def select(values: NDArray[np.float32] | NDArray[np.float64], place: int) -> float:
    """The value that is at ``place`` in order (quickselect; Hoare, 1961). ``values`` are moved: what is before it is no
    higher, what is behind it no lower."""
    left, right = 0, len(values) - 1
    while left < right:
        pivot, i, j = values[(left + right) // 2], left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            right = j
        elif place >= i:
            left = i
        else:
            break
    return float(values[place])


@compiled
def median(values: NDArray[np.float32] | NDArray[np.float64]) -> float:
    """The middle one, or the mean of the two; ``values`` are moved."""
    half = len(values) // 2
    upper = select(values, half)
    if len(values) % 2 == 1:
        return upper
    lower = float(values[0])
    for k in range(1, half):
        lower = max(lower, float(values[k]))
    return (lower + upper) / 2
