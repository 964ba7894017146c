"""The protocol that every forecaster fulfils; ``forecasting.testing`` holds the suite that checks it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Arrivals, Series

Paths = NDArray[np.float32]


class Forecaster(Protocol):
    """Learns from past arrivals and draws possible futures."""

    name: str
    step: float  # s, of the paths it draws

    def fit(self, history: Series) -> None:
        """Learn from ``history`` (any step; resampled to ``self.step``), replacing what was
        learned before; arrivals that came by ``update`` after its end are kept.

        Raises ``NotEnoughHistory`` (from forecasting.errors) when nothing can be learned; the forecaster then stays
        as it was.
        """
        ...

    def update(self, arrivals: Arrivals) -> None:
        """Take in the newest arrivals. O(1).

        Time is monotone; a hole between two calls is a gap (missing, not zero).
        """
        ...

    @property
    def ready(self) -> bool:
        """Whether ``paths`` can be called."""
        ...

    def paths(self, steps: int, count: int, rng: np.random.Generator, out: Paths | None = None) -> Paths:
        """Draw ``count`` sample paths of ``steps`` steps that begin at the end of the newest update.

        Returns float32 of shape [count, steps], arrival rates in requests/s, finite and never negative; element
        [i, k] is the mean rate over [origin + k * step, origin + (k + 1) * step). Written into ``out`` when given.
        The same state and the same ``rng`` state give the same paths. Raises ``NotReady``.
        """
        ...


@runtime_checkable
class Keeping(Forecaster, Protocol):
    """A forecaster that hands out what it would learn from again."""

    def kept(self) -> Series | None:
        """The newest history, updates included; None when there is none."""
        ...


@runtime_checkable
class Judged(Protocol):
    """A forecaster that knows whether it can be trusted."""

    @property
    def trusted(self) -> bool:
        """Whether its paths say more than the newest level does; when not, the plan is to be reactive."""
        ...

    @property
    def demoted(self) -> bool:
        """Whether it is not trusted because what came has shown its models to be wrong."""
        ...

    @property
    def why(self) -> str | None:
        """Why it is not trusted, in words; None when it is."""
        ...


@runtime_checkable
class Studying(Protocol):
    """A forecaster that can be fitted in the background."""

    def kept(self) -> Series:
        """What it would learn from."""
        ...

    def study(self, kept: Series) -> Any:
        """Learn, and change nothing."""
        ...

    def adopt(self, studied: Any) -> None:
        """Use what was learned."""
        ...
