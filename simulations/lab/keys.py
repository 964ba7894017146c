"""How requests spread over keys, and so over partitions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Keys:
    """How requests spread over keys; a key always goes to partition ``key % partitions``.

    Even by default. ``zipf``: key k is drawn in proportion to (k + 1) ** -zipf. ``hot``: this share of all requests
    has key 0, the others are even.
    """

    count: int = 1024
    zipf: float = 0.0
    hot: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.zipf < 0 or not 0 <= self.hot <= 1:
            raise ValueError(f"keys need a count above 0, a Zipf exponent not below 0, a hot share in [0, 1]: {self}")
        if self.zipf and self.hot:
            raise ValueError("keys are skewed by a Zipf exponent or by a hot share, not by both")

    def draw(self, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Keys of ``size`` requests, int64 of shape [size]."""
        drawn = np.searchsorted(_cumulative(self), rng.random(size), side="right")
        return np.minimum(drawn, self.count - 1).astype(np.int64)


@lru_cache(maxsize=4)
def _cumulative(keys: Keys) -> NDArray[np.float64]:
    """Share of all requests that go to key k or a lower one; made once, or the draw of millions of keys takes time."""
    weights = np.arange(1, keys.count + 1, dtype=np.float64) ** -keys.zipf
    shares = weights / weights.sum() * (1 - keys.hot)
    shares[0] += keys.hot
    return np.cumsum(shares)
