"""Each stage says what the tick's facts come to, and nothing that is not known looks like a zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.explain.explanation import Explanation, StageName, figure
from scaler.explain.facts import pool_of
from scaler.explain.stages import explain
from scaler.plan.decision import Numbers, PoolDecision
from scaler.plan.nodes_need import PoolSpec
from scaler.plan.observation import Freshness, PoolObservation, PoolState, Reading
from scaler.plan.reasons import Reason
from scaler.plan.schedule import Window
from tests.explain.made import NOW, NUMBERS, SERVICE, observation, offsets, pool, tick

BARE = Numbers()


def numbers(explanation: Explanation, stage: StageName) -> dict[str, object]:
    return {q.name: q.value for q in explanation.stage(stage).numbers}


def sentence(explanation: Explanation, stage: StageName) -> str:
    return explanation.stage(stage).sentence


@pytest.fixture(scope="module")
def full() -> Explanation:
    return explain(tick(outcome=Reason.APPLIED, detail="7 -> 11: Forecast", last_week=15.0))


def test_the_stages_come_in_their_order(full: Explanation) -> None:
    assert [stage.name for stage in full.stages] == [name for name in StageName if name is not StageName.NODES]
    assert [stage.name for stage in explain(tick(pool=pool())).stages] == list(StageName)


def test_the_plan_of_the_pool_is_told_of_each_service_on_it() -> None:
    made = explain(tick(pool=pool()))
    stage = made.stage(StageName.NODES)
    assert stage.sentence == "The plan of pool gpus keeps 3 of 4 Ready nodes, orders 2 more and wants 5 at least."
    assert [one.code for one in stage.reasons] == [Reason.FORECAST, Reason.MAX_NODES]
    told = numbers(made, StageName.NODES)
    assert told == {
        "pool": "gpus",
        "kubernetes age": 2.0,
        "ready nodes": 4,
        "pending nodes": 1,
        "empty nodes": 1,
        "nodes to keep": 3,
        "needed then": 29.0,
        "needed at most": 38.0,
        "nodes to order": 2,
        "least nodes written": 4,
        "least nodes": 5,
        "node lead time": 300.0,
    }
    vacated = sentence(explain(tick(pool=pool(vacate=True, ordered=0))), StageName.NODES)
    assert vacated.startswith("The plan of pool gpus keeps 3 of 4 Ready nodes, wants 5 at least. Pods are marked")


def test_a_pool_that_is_not_seen_is_no_pool_without_nodes() -> None:
    gone: Reading[PoolState] = Reading(
        None, NOW - 9.0, Freshness.ERROR, Reason.KUBERNETES_UNREACHABLE, "it does not answer"
    )
    held = PoolDecision("p1", NOW, None, (Reason.INPUT_ERROR,))
    made = explain(tick(pool=pool_of("gpus", PoolObservation("p1", gone), held)))
    assert sentence(made, StageName.NODES) == (
        "No count is written for pool gpus. Its nodes are not known now (it does not answer)."
    )
    known = {name: value for name, value in numbers(made, StageName.NODES).items() if value is not None}
    assert known == {"pool": "gpus", "kubernetes age": 9.0, "nodes to order": 0}


def test_what_was_decided(full: Explanation) -> None:
    assert (full.namespace, full.name, full.target, full.mode) == ("prod", "chat", "Deployment/chat", "Enforce")
    assert (full.time, full.current, full.desired, full.outcome) == (NOW, 7, 11, Reason.APPLIED)
    assert full.reasons == (Reason.FORECAST, Reason.PARTITIONS)
    assert full.summary == "From 7 to 11 replicas. The count is the cheapest one over the forecast's sample paths."


def test_inputs_have_their_ages_and_values(full: Explanation) -> None:
    found = numbers(full, StageName.INPUTS)
    assert found["kafka age"] == 0.4
    assert found["prometheus age"] == 5.0
    assert found["kubernetes age"] == 1.0
    assert found["end offsets"] == 1200
    assert found["committed offsets"] == 1200 - 36
    assert found["latency p99"] == 0.9
    assert found["pods not ready"] == 1
    assert found["longest pending"] == 42.0
    assert sentence(full, StageName.INPUTS) == "Kafka 0.4 s old, prometheus 5 s old, kubernetes 1 s old: fresh."


def test_an_input_that_is_not_fresh_is_named_with_what_to_do() -> None:
    away = Reading(None, NOW, Freshness.ERROR, Reason.BROKER_UNREACHABLE, "check spec.kafka.bootstrapServers")
    seen = explain(
        tick(observation(offsets=away, latency=None), reasons=(Reason.INPUT_ERROR, Reason.BROKER_UNREACHABLE))
    )
    assert sentence(seen, StageName.INPUTS) == (
        "Kubernetes 1 s old: fresh. Kafka is error (check spec.kafka.bootstrapServers)."
    )
    assert "end offsets" not in numbers(seen, StageName.INPUTS)
    codes = [one.code for one in seen.stage(StageName.INPUTS).reasons]
    assert codes == [Reason.INPUT_ERROR, Reason.BROKER_UNREACHABLE]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (1e-05, "0.00001"),
        (0.01234, "0.0123"),
        (999.6, "1000"),
        (99.96, "100"),
        (999.4, "999"),
        (1000.0, "1000"),
        (2088.4, "2088"),
        (-5e6, "-5000000"),
    ],
)
def test_a_figure_is_never_a_power_of_ten(value: float, said: str) -> None:
    assert figure(value) == said


def test_the_load(full: Explanation) -> None:
    assert sentence(full, StageName.LOAD) == "18 requests/s arrive; 36 messages wait, the oldest 3.2 s old."
    assert numbers(full, StageName.LOAD) == {"arrival rate": 18.0, "level": 17.5, "backlog": 36.0, "time lag": 3.2}
    nothing = explain(tick(numbers=replace(NUMBERS, backlog=0.0)))
    assert sentence(nothing, StageName.LOAD) == "18 requests/s arrive; nothing waits."


def test_the_capacity(full: Explanation) -> None:
    assert sentence(full, StageName.CAPACITY) == (
        "One replica serves 2.5 requests/s (declared 2); 6 ready ones 15; 1 more is on the way; "
        "more than 11 could not be given work."
    )
    assert numbers(full, StageName.CAPACITY)["planned rate"] == 2.0


def test_of_one_it_is_said_in_the_singular() -> None:
    some = replace(NUMBERS, backlog=1.2, ready=1, partitions=1, useful_replicas=None)
    one = explain(tick(current=1, desired=1, numbers=some))
    assert one.summary.startswith("1 replica stays. ")
    assert sentence(one, StageName.LOAD) == "18 requests/s arrive; 1 message waits, the oldest 3.2 s old."
    assert sentence(one, StageName.CAPACITY) == (
        "One replica serves 2.5 requests/s (declared 2); 1 ready one 2.5; 1 more is on the way; "
        "1 partition gives work to no more replicas than that."
    )


def test_the_assignor_is_shown_where_kafka_tells_it() -> None:
    told = Reading(replace(offsets(*([3] * 12)), assignor="roundrobin"), NOW - 0.4, Freshness.FRESH)
    assert numbers(explain(tick(observation(offsets=told))), StageName.CAPACITY)["assignor"] == "roundrobin"
    assert numbers(explain(tick()), StageName.CAPACITY)["assignor"] is None


def test_partitions_are_named_where_they_bind_and_nothing_better_is_known() -> None:
    some = explain(tick(numbers=replace(NUMBERS, useful_replicas=None)))
    assert "12 partitions give work to no more" in sentence(some, StageName.CAPACITY)
    many = explain(tick(numbers=replace(NUMBERS, useful_replicas=None, partitions=30)))
    assert "partitions" not in sentence(many, StageName.CAPACITY)


def test_the_lead_time(full: Explanation) -> None:
    assert sentence(full, StageName.LEAD_TIME) == "A replica asked for now serves in 90 s (declared 60 s)."


def test_on_a_pool_the_lead_time_is_the_pods_and_the_nodes_is_told_beside_it() -> None:
    on_nodes = replace(SERVICE, lead_time=480.0, pool=PoolSpec("gpus", 8, 420.0))
    learned = sentence(explain(tick(service=on_nodes)), StageName.LEAD_TIME)
    told = "A replica asked for now serves in 90 s (declared 60 s) where a node has room; a node takes 420 s more."
    assert learned == told
    numbers = replace(NUMBERS, lead_time=None)
    unknown = sentence(explain(tick(service=on_nodes, numbers=numbers)), StageName.LEAD_TIME)
    assert unknown.startswith("A replica asked for now is taken to serve in 60 s, as declared where a node has room")


def test_the_forecast_at_the_lead_time(full: Explanation) -> None:
    assert sentence(full, StageName.FORECAST) == "In 90 s, direct expects 20 requests/s, and with 95 % at most 25."
    assert numbers(full, StageName.FORECAST)["forecast 99 %"] == 30.0


def test_the_demand(full: Explanation) -> None:
    found = numbers(full, StageName.DEMAND)
    assert found["cheapest"] == 12
    assert found["for the 50 % forecast"] == 10, "20 over the planned 2"
    assert found["for the 95 % forecast"] == 13, "25 over the planned 2"
    assert found["expected late share"] == 0.004
    assert sentence(full, StageName.DEMAND) == "Planning ahead asks for 12 replicas."


def test_the_floor(full: Explanation) -> None:
    assert sentence(full, StageName.FLOOR) == "The present needs 8 replicas."


def test_what_held_a_scale_in() -> None:
    held = explain(tick(current=9, desired=9, reasons=(Reason.SCALE_IN_UNSAFE, Reason.ROLLING_UPDATE)))
    said = sentence(held, StageName.SCALE_IN)
    assert "one replica fewer" in said
    assert "rolling update" in said
    assert held.summary.startswith("9 replicas stay. ")
    assert numbers(held, StageName.SCALE_IN)["hold"] == 300.0


def test_the_limits(full: Explanation) -> None:
    assert [one.code for one in full.stage(StageName.LIMITS).reasons] == [Reason.PARTITIONS]
    free = explain(tick(reasons=(Reason.FORECAST,), service=replace(SERVICE, max_scale_out=4)))
    assert sentence(free, StageName.LIMITS) == "No limit binds."
    assert numbers(free, StageName.LIMITS) == {"min": 1, "max": 30, "max scale-out": 4}


def test_the_limits_of_now_where_there_is_a_schedule() -> None:
    """It is Friday, 08:00:00 UTC, and a replica serves in 90 s."""
    soon = Window("soon", (4,), 8 * 3600.0 + 60.0, 9 * 3600.0, "UTC", least=5, most=20)
    told = numbers(explain(tick(service=replace(SERVICE, schedule=(soon,)))), StageName.LIMITS)
    assert told == {"min": 1, "max": 30, "min now": 5, "max now": 30}


def test_the_limits_of_now_are_those_that_the_plan_looks_at() -> None:
    """Until a replica serves, on a node that is yet to come, one tick later."""
    ahead = 90.0 + 300.0 + SERVICE.tick
    for begin, least in ((ahead - 1.0, 5), (ahead + 1.0, 1)):
        soon = Window("soon", (4,), 8 * 3600.0 + begin, 10 * 3600.0, "UTC", least=5)
        service = replace(SERVICE, schedule=(soon,), pool=PoolSpec("pool", size=8, lead_time=300.0))
        assert numbers(explain(tick(service=service)), StageName.LIMITS)["min now"] == least


def test_the_outcome(full: Explanation) -> None:
    assert sentence(full, StageName.OUTCOME) == "The target was patched, or in mode Floor its autoscaler."
    unrecorded = explain(tick())
    assert sentence(unrecorded, StageName.OUTCOME) == "What became of the decision is not recorded."


def test_what_is_not_known_is_no_number() -> None:
    away = Reading(None, NOW, Freshness.ERROR)
    dark = explain(
        tick(
            observation(offsets=away, replicas=away, latency=None),
            current=None,
            desired=None,
            reasons=(Reason.TARGET_UNKNOWN,),
            numbers=BARE,
        )
    )
    own = {StageName.LIMITS, StageName.SCALE_IN}  # what was declared is known
    known = [q.name for s in dark.stages if s.name not in own for q in s.numbers if q.value is not None]
    assert known == ["kafka age", "kubernetes age"]
    assert dark.summary.startswith("No count is wanted. ")
    assert sentence(dark, StageName.LOAD) == "How much arrives is not known; what waits is not known."
    assert sentence(dark, StageName.CAPACITY) == "One replica is taken to serve 2 requests/s, as declared."
    assert sentence(dark, StageName.LEAD_TIME) == "A replica asked for now is taken to serve in 60 s, as declared."
    assert sentence(dark, StageName.FORECAST) == "Nothing was forecast."
    assert sentence(dark, StageName.DEMAND) == "Nothing was planned ahead."
    assert sentence(dark, StageName.FLOOR) == "What the present needs is not known."
    assert sentence(dark, StageName.OUTCOME) == "No count was written."
    assert sentence(dark, StageName.OTHERS) == "No other rule has what it needs."


def test_the_same_facts_give_the_same_explanation() -> None:
    assert explain(tick(last_week=15.0)) == explain(tick(last_week=15.0))
