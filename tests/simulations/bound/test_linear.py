"""The linear bound: worked cases, what must hold for every load, and the reference cells."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.service import Service
from simulations.bound import Bound, Excuse, Terms, bound, bounds
from simulations.errors import BadSetting
from simulations.measures import measure
from simulations.policies.catalog import entry
from simulations.run import simulate
from simulations.scenarios import Cell, make
from simulations.setting import Between, Load, ServiceSetting, Setting, Shared
from simulations.traces import traces_folder

TERMS = Terms(service_rate=2.0, service_time=0.2, within=10.0, share=0.99, start=105.0)
SHARP = Terms(service_rate=1.0, service_time=0.0, within=0.0, share=1.0, start=5.0, step=10.0)  # nothing may wait


def seconds(found: Bound) -> float:
    return found.replica_hours * 3600


@pytest.mark.parametrize("excuse", list(Excuse))
def test_steady_load_needs_its_rate_less_what_may_still_wait_at_the_end(excuse: Excuse) -> None:
    steady = np.full(3600, 80.0)
    # 80 x 9.8 requests are young at the end, 1 % of 288,000 is excused; a replica serves 7,200 an hour.
    everything = bound(steady, replace(TERMS, share=1.0), excuse)
    assert everything.replica_hours == pytest.approx((288_000 - 784) / 7200, rel=1e-6)
    assert bound(steady, TERMS, excuse).replica_hours == pytest.approx((288_000 - 784 - 2880) / 7200, rel=1e-6)


def test_a_start_is_paid_where_it_is_cheaper_than_keeping() -> None:
    twice = np.repeat([2.0, 4.0], 10)
    assert seconds(bound(twice, SHARP)) == pytest.approx(20 + 40 + 2 * 5)
    assert seconds(bound(twice, replace(SHARP, start=15.0))) == pytest.approx(40 + 40)
    assert seconds(bound(twice, replace(SHARP, replicas=2.0))) == pytest.approx(20 + 40 + 2 * 5)
    assert seconds(bound(twice, replace(SHARP, replicas=0.0))) == pytest.approx(20 + 40 + 4 * 5)


def test_what_may_wait_is_served_later() -> None:
    burst = np.zeros(40)
    burst[:10] = 4.0
    # 40 requests at once; with 30 s of patience one replica serves 10 in each of four steps.
    found = bound(burst, replace(SHARP, within=30.0, replicas=0.0))
    assert seconds(found) == pytest.approx(40 + 5)
    assert found.replicas.tolist() == pytest.approx([1.0] * 4)


def test_a_late_request_is_excused_once_or_as_long_as_it_waits() -> None:
    # Half of the requests come in each of two bursts; a quarter of all is excused.
    bursts = np.zeros(100)
    bursts[:10] = bursts[50:60] = 4.0
    terms = replace(SHARP, share=0.75, start=0.0)
    assert seconds(bound(bursts, terms, Excuse.ONCE)) == pytest.approx(60)
    assert seconds(bound(bursts, terms, Excuse.OVERDUE)) == pytest.approx(60)
    # With starts at a price: 4 and 2 replicas, or 3 and 3, of the 6 that are needed and none kept in between;
    # or 2 in the first burst, half a one for the 20 requests that wait over the four steps between, and 2 again.
    dear = replace(terms, start=10.0, replicas=0.0)
    assert seconds(bound(bursts, dear, Excuse.ONCE)) == pytest.approx(60 + 6 * 10)
    assert seconds(bound(bursts, dear, Excuse.OVERDUE)) == pytest.approx(60 + 3.5 * 10)


def test_limits_bind_and_an_objective_out_of_reach_is_named() -> None:
    twice = np.repeat([2.0, 4.0], 10)
    assert seconds(bound(twice, replace(SHARP, min_replicas=4.0, max_replicas=4.0))) == pytest.approx(80)
    with pytest.raises(BadSetting, match=r"max_replicas: found 3; no schedule .* allow more replicas"):
        bound(twice, replace(SHARP, max_replicas=3.0))


def test_a_gap_asks_for_nothing_and_an_empty_load_costs_nothing() -> None:
    load = np.repeat([2.0, np.nan, 2.0], 10)
    assert seconds(bound(load, replace(SHARP, start=0.0))) == pytest.approx(40)
    assert bound(np.zeros(60), SHARP).replica_hours == 0.0
    with pytest.raises(BadSetting, match="arrivals"):
        bound(np.zeros(0), SHARP)


def test_a_gap_is_not_paid_just_as_it_is_not_measured() -> None:
    load = Load(0.0, np.repeat([2.0, np.nan], [1800, 5400]))
    service = Service(
        uid="u",
        within=10.0,
        share=0.99,
        min_replicas=1,
        max_replicas=4,
        service_rate=2.0,
        service_time=0.2,
        lead_time=60.0,
        tick=15.0,
        step=60.0,
        scale_in_hold=300.0,
    )
    one = ServiceSetting(service, 2.0, 0.2, Shared(4), Between(30.0, 60.0))
    setting = Setting((one,))
    policy = entry("static").make({"replicas": "1"})([service])
    (measured,) = measure(simulate(setting, (load,), policy, name="static"))
    assert measured.replica_hours == pytest.approx(0.5)
    assert measured.attainment == 1.0
    for excuse in Excuse:
        (least,) = bounds(setting, (load,), excuse)
        assert 0.48 < least.replica_hours <= measured.replica_hours + 1e-9


def test_of_a_lead_time_the_known_seconds_are_paid() -> None:
    load = np.repeat([2.0, np.nan, 4.0], 10)
    # Ready at 20 s, started at 5 s: five of the fifteen seconds are known. Or kept from the begin: 20 s more.
    found = bound(load, replace(SHARP, start=15.0, replicas=2.0))
    assert seconds(found) == pytest.approx(20 + 40 + 2 * 5)


@pytest.mark.parametrize("length", [31, 45, 59, 60])
def test_a_last_step_that_is_cut_short_serves_and_is_paid_for_its_own_seconds(length: int) -> None:
    steady = replace(SHARP, step=30.0, start=0.0)
    assert seconds(bound(np.ones(length), steady)) == pytest.approx(length)
    assert seconds(bound(np.zeros(length), replace(steady, min_replicas=1.0))) == pytest.approx(length)


@pytest.mark.parametrize(
    "wrong",
    [
        {"service_rate": 0.0},
        {"service_time": -1.0},
        {"service_time": 1.0},
        {"share": 1.1},
        {"start": -1.0},
        {"min_replicas": 2.0, "max_replicas": 1.0},
        {"replicas": -1.0},
        {"step": 0.5},
    ],
)
def test_terms_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadSetting, match=r"found .*; allowed: "):
        replace(SHARP, **wrong)  # type: ignore[arg-type]


LOADS = st.lists(st.integers(0, 30), min_size=1, max_size=12).map(lambda rates: np.repeat(np.array(rates, float), 10))


@settings(max_examples=15, deadline=None)
@given(load=LOADS, start=st.sampled_from([0.0, 20.0]), within=st.sampled_from([0.0, 10.0, 25.0]))
def test_stricter_terms_cost_no_less(
    load: np.ndarray[tuple[int], np.dtype[np.float64]], start: float, within: float
) -> None:
    terms = replace(SHARP, start=start, within=within, share=0.9)
    least = bound(load, terms).replica_hours
    assert bound(load, terms, Excuse.ONCE).replica_hours >= least - 1e-9
    assert bound(load, replace(terms, share=0.99)).replica_hours >= least - 1e-9
    assert bound(load, replace(terms, within=within / 2)).replica_hours >= least - 1e-9
    assert bound(load, replace(terms, replicas=0.0)).replica_hours >= least - 1e-9


@settings(max_examples=10, deadline=None)
@given(load=LOADS, factor=st.sampled_from([2.0, 7.0]))
def test_twice_the_load_costs_twice(load: np.ndarray[tuple[int], np.dtype[np.float64]], factor: float) -> None:
    terms = replace(SHARP, within=10.0, share=0.9)
    assert bound(load * factor, terms).replica_hours == pytest.approx(factor * bound(load, terms).replica_hours)


@pytest.mark.slow
@pytest.mark.skipif(not traces_folder().is_dir(), reason="the shared traces are not on this machine (LAGCAST_TRACES)")
@pytest.mark.parametrize("scenario", ["pods", "nodes"])
def test_a_reference_cell_is_met_within_a_hundredth(scenario: str) -> None:
    known = json.loads((traces_folder() / "reference_cells.json").read_text(encoding="utf-8"))["cells"]
    (cell,) = [c for c in known if (c["trace"], c["scenario"]) == ("azfunc_bursty", scenario)]
    (found,) = bounds(*make(Cell(scenario, "azfunc_bursty", 9)))  # type: ignore[arg-type]
    assert found.replica_hours == pytest.approx(cell["bound_replica_hours"], rel=0.01)
    assert len(found.replicas) == 2880
