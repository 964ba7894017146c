"""Where the fits of a policy's forecasters are run: in processes of their own, as long as the controller runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from forecasting.fitting import Fitter
from scaler.controller import MakePolicy

LIMIT = 120.0  # s a fit, of which a week of 15 s steps takes 2 on a core of its own


@runtime_checkable
class Fitting(Protocol):
    """A maker of policies that fit forecasters."""

    def fitted_by(self, fitter: Fitter) -> MakePolicy:
        """The same, with fits run by ``fitter``."""
        ...


def fitted_by(make_policy: MakePolicy, fitter: Fitter) -> MakePolicy:
    """``make_policy`` with its fits run by ``fitter``; as it is where its policies fit nothing."""
    maker: object = make_policy
    return maker.fitted_by(fitter) if isinstance(maker, Fitting) else make_policy


@contextmanager
def in_background(
    make_policy: MakePolicy, processes: int, told: Callable[[float, str], None] = lambda took, error: None
) -> Iterator[MakePolicy]:
    """``make_policy`` with its fits run by up to ``processes`` others, which end with the block; ``told`` hears of each
    fit's seconds and error (empty: none) on another thread."""
    maker: object = make_policy
    if not isinstance(maker, Fitting):
        yield make_policy
        return
    from forecasting.fit_pool import FitPool

    with FitPool(processes, limit=LIMIT, told=lambda took, outcome: told(took, outcome.error)) as pool:
        yield maker.fitted_by(pool)
