"""What every policy of the catalog must do, whatever its rule is."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.series import Series
from scaler.errors import ConfigError
from scaler.plan.decision import Policy
from scaler.plan.observation import Freshness, GroupObservation, PoolObservation, PoolState, Reading
from scaler.plan.reasons import Reason
from scaler.plan.service import Service
from simulations.policies.catalog import _KNOWN, entries, entry
from simulations.traces import traces_folder

NAMES = sorted(entries())
SWEPT = sorted(name for name, one in entries().items() if one.parameter is not None)
OURS = ("lagcast", "lagcast_reactive")
MakeService = Callable[..., Service]
Cluster = Callable[..., Any]
START = 1_767_571_200.0


def load(ticks: int, seed: int = 3) -> list[float]:
    """Rates with a slow wave, noise and a jump."""
    rng = np.random.default_rng(seed)
    wave = 20.0 + 10.0 * np.sin(np.arange(ticks) / 12.0) + 25.0 * (np.arange(ticks) // 30 % 2)
    return [float(rate) for rate in rng.poisson(wave)]


def two_days() -> Series:
    return Series(START - 2 * 86400, 300.0, 20.0 + 10.0 * np.sin(np.arange(576) * 2 * np.pi / 288))


def made(name: str, service: Service, **options: str) -> Policy:
    return entry(name).make(options)([service])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_readings_give_the_same_decisions(name: str, service: MakeService, cluster: Cluster) -> None:
    one, two = (cluster(made(name, service()), history=two_days()) for _ in range(2))
    rates = load(40)
    first, second = one.run(rates), two.run(rates)
    assert [(d.desired, d.reasons) for d in first] == [(d.desired, d.reasons) for d in second]
    assert all(d.numbers.ready is not None and d.numbers.backlog is not None for d in first)
    assert all(d.reasons for d in first)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_policy_decides_the_same(name: str, service: MakeService, cluster: Cluster) -> None:
    rates = load(70)
    whole = cluster(made(name, service()), history=two_days())
    whole.run(rates[:37])
    saved = whole.policy.snapshot()
    half = cluster(made(name, service()), tick=37, end=whole.end, backlog=whole.backlog, count=whole.count)
    half.policy.restore(saved)
    first, second = whole.run(rates[37:]), half.run(rates[37:])
    assert [(d.desired, d.reasons, d.numbers) for d in first] == [(d.desired, d.reasons, d.numbers) for d in second]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("freshness", [Freshness.STALE, Freshness.ABSENT, Freshness.ERROR])
def test_the_count_is_held_while_nothing_can_be_read(
    name: str, freshness: Freshness, service: MakeService, cluster: Cluster
) -> None:
    one = cluster(made(name, service()))
    one.run(load(12))
    before = one.count
    for decision in one.run([30.0] * 30, offsets=freshness):
        assert decision.desired == before
        assert getattr(Reason, f"INPUT_{freshness.name}") in decision.reasons
    unknown = one.run([30.0] * 3, replicas=Freshness.ERROR)
    assert [d.desired for d in unknown if d.current is None] == [None] * sum(d.current is None for d in unknown)
    assert all(d.desired in (None, before) for d in unknown)


@pytest.mark.parametrize("name", NAMES)
def test_options_that_it_does_not_know_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no_such_option"):
        entry(name).make({"no_such_option": "1"})


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_of_another_policy_is_refused(name: str, service: MakeService) -> None:
    other = "static" if name != "static" else "hpa_rate"
    with pytest.raises(ValueError, match="snapshot"):
        made(name, service()).restore(made(other, service()).snapshot())


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(OURS)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(
    rates=st.lists(st.floats(0, 500), min_size=1, max_size=25),
    least=st.integers(0, 3),
    more=st.integers(1, 60),
)
def test_it_stays_within_its_bounds(
    name: str, rates: list[float], least: int, more: int, service: MakeService, cluster: Cluster
) -> None:
    wanted = service(min_replicas=least, max_replicas=least + more)
    one = cluster(made(name, wanted), service=wanted, count=max(least, 1))
    assert all(least <= d.desired <= least + more for d in one.run(rates))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(OURS)))
def test_several_services_and_pools_have_a_decision_each_in_order(
    name: str, service: MakeService, observe: Callable[..., GroupObservation], offsets: Callable[..., Any]
) -> None:
    policy = entry(name).make({})([service(uid="u"), service(uid="v")])
    (u,) = observe(0.0, 4, offsets([100], [90])).services
    v = type(u)("v", u.offsets, None, u.replicas)
    pool = PoolObservation("p", Reading(PoolState(2, (), 0, 0), 0.0, Freshness.FRESH))
    answer = policy.step(0.0, GroupObservation((v, u), (pool,)))
    assert [d.uid for d in answer.services] == ["v", "u"]
    assert [(d.uid, d.floor) for d in answer.pools] == [("p", None)]


@pytest.mark.parametrize("name", sorted(set(SWEPT) - set(OURS)))
def test_a_sweep_goes_from_cheap_to_safe(name: str, service: MakeService, cluster: Cluster) -> None:
    one = entry(name)
    assert one.parameter is not None
    assert 16 <= len(one.sweep) <= 24
    wanted = service(max_replicas=400)
    # What waits is only what is in service or not yet committed, however few replicas there are.
    fast = service(service_rate=1e6)
    settled = []
    for value in one.sweep:
        policy = one.make({one.parameter: repr(value)})([wanted])
        settled.append(cluster(policy, service=fast, partitions=400).run([40.0] * 40)[-1].desired)
    # 40 requests/s need 20 replicas: from fewer, or just enough, to many times as many.
    assert settled == sorted(settled)
    assert settled[0] <= 20
    assert settled[-1] >= 200


def test_headroom_is_a_share_of_at_least_nothing() -> None:
    with pytest.raises(ConfigError, match=r"policy lagcast_reactive: headroom: found -0.1; allowed: at least 0"):
        entry("lagcast_reactive").make({"headroom": "-0.1"})


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"policy 'hpa': no such policy; there are lagcast, .*hpa_rate"):
        entry("hpa")


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"lagcast"}))
def test_each_runs_in_the_controller_too(name: str, service: MakeService) -> None:
    module = importlib.import_module(f"simulations.policies.{_KNOWN[name][0]}")
    make_policy = getattr(module, name)({})
    assert isinstance(make_policy(None, service()).snapshot(), bytes)


def test_what_an_independent_model_found_best_lies_within_the_sweeps() -> None:
    folder = traces_folder()
    if not (folder / "reference_cells.json").exists():
        pytest.skip("the folder of traces is not there")
    cells = json.loads((folder / "reference_cells.json").read_text())["cells"]
    for peer in (peer for cell in cells for peer in cell["peers"]):
        sweep = entry(peer["peer"]).sweep
        assert min(sweep) <= peer["parameter"] <= max(sweep), peer
