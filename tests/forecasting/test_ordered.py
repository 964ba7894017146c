"""Order by machine code is numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.ordered import ascend, median, select
from forecasting.trajectories import systematic

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)


@settings(deadline=None)  # it is compiled at its first call
@given(values=VALUES, share=st.floats(0, 1))
def test_order_is_numpys(values: list[float], share: float) -> None:
    place = min(int(share * len(values)), len(values) - 1)
    moved = np.array(values)
    assert select(moved, place) == sorted(values)[place]
    assert (moved[:place] <= moved[place]).all()
    assert (moved[place:] >= moved[place]).all()
    assert median(np.array(values)) == pytest.approx(float(np.median(values)))
    ordered = np.array(values)
    ascend(ordered)
    assert ordered.tolist() == sorted(values)


@settings(deadline=None)
@given(weights=st.lists(st.floats(0.01, 10), min_size=1, max_size=40), count=st.integers(1, 60), at=st.floats(0, 0.999))
def test_systematic_sampling_gives_each_its_share(weights: list[float], count: int, at: float) -> None:
    """Never further from it than one."""
    chosen = systematic(np.array(weights), count, at)
    shares = count * np.array(weights) / sum(weights)
    found = np.bincount(chosen, minlength=len(weights))
    assert found.sum() == count
    assert (np.abs(found - shares) < 1 + 1e-6).all()
