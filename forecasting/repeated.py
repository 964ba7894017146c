"""The same random numbers again and again."""

from __future__ import annotations

import numpy as np


class Repeated:
    """A generator that can be set back to its ``seed``, which takes a tenth of making one."""

    def __init__(self, seed: int | tuple[int, ...]) -> None:
        self.seed = seed
        self._rng = np.random.default_rng(seed)
        self._begin = self._rng.bit_generator.state

    def again(self) -> np.random.Generator:
        """The generator, as it was when it was made. Another call sets it back under the feet of who has it."""
        self._rng.bit_generator.state = self._begin
        return self._rng

    def __reduce__(self) -> tuple[type[Repeated], tuple[int | tuple[int, ...]]]:
        return Repeated, (self.seed,)
