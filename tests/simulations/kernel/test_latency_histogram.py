"""The latency histogram: what is put in is what comes out, where it was put."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.kernel.latency import BINS, add, edges, requests

EDGES = edges()
seconds = st.floats(0, 1e5)


@given(st.lists(st.tuples(seconds, seconds, st.floats(0.1, 1e3)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_request_is_lost_and_none_is_slower_than_the_slowest(pieces: list[tuple[float, float, float]]) -> None:
    bins = np.zeros((2, BINS + 1))
    for first, last, mass in pieces:
        add(bins, EDGES, first, last, mass)
    found = requests(bins, EDGES)
    assert np.isclose(found.sum(), sum(mass for _, _, mass in pieces), rtol=1e-9)
    slowest = max(max(first, last) for first, last, _ in pieces)
    assert found[EDGES[:-1] > slowest].sum() == 0.0


def test_thin_pieces_across_an_edge_leave_nothing_behind_beside_broad_ones() -> None:
    bins = np.zeros((2, BINS + 1))
    edge = float(EDGES[np.searchsorted(EDGES, 0.2)])
    for k in range(1000):
        add(bins, EDGES, edge - 3e-16, edge + 3e-15, 10.0)
        add(bins, EDGES, edge - 1e-9, edge + 0.013 * (k % 9 + 1), 3.3)
        add(bins, EDGES, edge, 8.0 * edge, 2.0)
    found = requests(bins, EDGES)
    assert np.isclose(found.sum(), 1000 * 15.3, rtol=1e-9)
    assert found[EDGES[:-1] > 8 * edge].sum() == 0.0


def test_a_broad_piece_lies_evenly_between_its_ends() -> None:
    bins = np.zeros((2, BINS + 1))
    add(bins, EDGES, 1.0, 33.0, 320.0)
    found = requests(bins, EDGES)
    by_two = found[(EDGES[:-1] >= 2.0) & (EDGES[:-1] < 4.0)].sum()
    by_sixteen = found[(EDGES[:-1] >= 16.0) & (EDGES[:-1] < 32.0)].sum()
    assert np.isclose(by_two, 20.0)
    assert np.isclose(by_sixteen, 160.0)
