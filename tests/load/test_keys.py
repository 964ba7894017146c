"""How requests spread over keys and so over partitions."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.lab.keys import Keys

DRAWS = 100_000


def shares(keys: Keys) -> np.ndarray:
    drawn = keys.draw(DRAWS, np.random.default_rng(2))
    assert drawn.dtype == np.int64
    return np.bincount(drawn, minlength=keys.count) / DRAWS


def test_even_keys_are_even_over_keys_and_partitions() -> None:
    seen = shares(Keys(64))
    assert seen == pytest.approx(np.full(64, 1 / 64), abs=5 * np.sqrt(1 / 64 / DRAWS))
    assert seen.reshape(-1, 8).sum(axis=0) == pytest.approx(np.full(8, 1 / 8), abs=0.01)


def test_zipf_shares_fall_with_the_rank() -> None:
    seen = shares(Keys(100, zipf=1.2))
    expected = np.arange(1, 101) ** -1.2
    assert seen == pytest.approx(expected / expected.sum(), abs=0.006)


def test_one_hot_key_has_its_share_on_top_of_an_even_one() -> None:
    seen = shares(Keys(10, hot=0.5))
    assert seen[0] == pytest.approx(0.55, abs=0.01)
    assert seen[1:] == pytest.approx(np.full(9, 0.05), abs=0.004)


def test_a_single_key_takes_all() -> None:
    assert shares(Keys(1)).tolist() == [1.0]
    assert shares(Keys(5, hot=1.0)).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("count", "zipf", "hot"), [(0, 0.0, 0.0), (5, -1.0, 0.0), (5, 0.0, 1.1), (5, 0.0, -0.1), (5, 1.0, 0.5)]
)
def test_keys_that_cannot_be_are_refused(count: int, zipf: float, hot: float) -> None:
    with pytest.raises(ValueError, match="keys"):
        Keys(count, zipf, hot)
