"""The hash of the data: the same for the same, another for anything else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from forecasting.series import Series
from simulations.report import data_hash
from simulations.setting import Load

LOAD = Load(60.0, np.array([1.0, math.nan, 3.0]))


def test_it_is_of_the_values() -> None:
    other_nan = np.array([1.0, -math.nan, 3.0], dtype=">f8").astype(np.float64)
    assert data_hash([LOAD]) == data_hash([Load(60.0, other_nan)])
    # Fixed, so that a change of how it is made is seen: reports of before and after could not be compared.
    assert data_hash([LOAD]) == "5b8da7282558460c8be58ece429ca1a020db83b369e908ade13337cfda795e48"


def test_anything_else_has_another() -> None:
    past = Series(0.0, 60.0, np.array([1.0]))
    loads = [
        [LOAD],
        [replace(LOAD, start=61.0)],
        [Load(60.0, np.array([1.0, 0.0, 3.0]))],
        [Load(60.0, np.array([1.0, math.nan]))],
        [LOAD, LOAD],
        [replace(LOAD, history=past)],
        [replace(LOAD, history=replace(past, step=1.0))],
        [],
    ]
    assert len({data_hash(of) for of in loads}) == len(loads)
