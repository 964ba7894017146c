"""Sorting where machine code needs it: a library's sort takes seconds to compile."""

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
