"""Rules 9 and 11: targets are absolute and say what was read; time and chance are given, never taken."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaler.plan
from scaler.plan.policy import PredictivePolicy
from tests.plan.loop import LAB, Foresight
from tests.rules.situations import Cluster, Tick, policies, services, stretches

SOURCES = sorted(Path(scaler.plan.__file__).parent.glob("*.py"))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), service=services(), sequence=stretches)
def test_a_decision_names_the_count_that_was_read(data, service, sequence) -> None:
    cluster = Cluster(service)
    read = None
    for _, observed, decision in cluster.play(data.draw(policies(service)), sequence):
        if observed.replicas.fresh:
            assert observed.replicas.value is not None
            read = observed.replicas.value.desired
        assert decision.current == read
        assert (decision.desired is None) == (read is None)
        assert decision.time == cluster.now or decision.time <= cluster.now
        assert decision.reasons


def test_a_decision_that_nobody_carried_out_is_made_again() -> None:
    """Absolute and idempotent: Recommend mode, a conflict or a lost patch changes nothing about the next answer."""
    policy = PredictivePolicy([LAB], lambda s: None)
    cluster = Cluster(LAB, replicas=4)
    high = Tick(60.0, 1.0, nobody_obeys=True)
    decided = [d.desired for _, _, d in cluster.play(policy, [high] * 6)]
    assert min(decided[2:]) >= 12
    assert max(decided) <= LAB.max_replicas


@settings(max_examples=20, deadline=None)
@given(service=services(), sequence=stretches)
def test_the_same_input_gives_the_same_decisions(service, sequence) -> None:
    def run() -> list[str]:
        policy = PredictivePolicy([service], lambda s: Foresight(lambda t: 25.0, s.step, 0.3))
        return [repr(d) for _, _, d in Cluster(service).play(policy, sequence)]

    assert run() == run()


def test_chance_comes_from_the_uid_and_is_common_to_all_ticks() -> None:
    """Two services that differ in nothing but their uid draw other paths; the same state draws the same at each tick,
    so that what changes between two decisions is never chance.
    """

    def quantiles(uid: str) -> list[float]:
        service = replace(LAB, uid=uid)
        policy = PredictivePolicy([service], lambda s: Foresight(lambda t: 20.0, s.step, 0.3))
        played = Cluster(service).play(policy, [Tick(20.0, 1.0)] * 6)
        return [d.numbers.forecast.p95 for _, _, d in played if d.numbers.forecast is not None]

    one, two = quantiles("one"), quantiles("two")
    assert len(one) == len(two) == 5
    assert len(set(one)) == len(set(two)) == 1
    assert one != two
    assert one == quantiles("one")


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.name)
def test_the_plan_reads_no_clock_and_no_global_chance(source: Path) -> None:
    tree = ast.parse(source.read_text())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {"time", "datetime", "random", "secrets", "os", "uuid"} & {n.split(".")[0] for n in names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "random":
            assert node.attr in ("default_rng", "Generator"), f"{source.name}: numpy's global chance"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "default_rng":
            assert node.args, f"{source.name}: a generator without a seed"
