"""Ready to holding partitions, from when a pod was seen to serve."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clock import SystemClock
from scaler.observe.gather import Gatherer
from scaler.observe.histories import Histories
from scaler.observe.joins import LONGEST, MOST, SURE, Joins, Verdict, join_time
from scaler.observe.ports import GroupTopic, LatencyQuery, Served, TargetRef
from scaler.observe.prometheus import read_served, served_promql
from scaler.observe.watched import KafkaCluster, Watched
from scaler.plan.lead_time import LeadTimes
from scaler.plan.observation import LeadTime
from scaler.standins.broker import FakeBroker
from scaler.standins.cluster import FakeCluster
from scaler.standins.latency import FakePrometheus

T = 1_800_000_000.0
QUERY = LatencyQuery("inference_latency_seconds", 'app="chat"', 60.0)


def samples(*pairs: tuple[float, float]) -> list[Served]:
    return [Served(T + t, n) for t, n in pairs]


def lead(pod: str, ready_at: float = T) -> LeadTime:
    return LeadTime(pod, 0.5, 1.0, 30.0, None, ready_at)


def scraped(began: float, gap: float, interval: float, phase: float, until: float = 150.0) -> list[Served]:
    """What a pod shows that serves one request after another, each in ``gap`` s, from ``began`` (s after T) on."""
    return [Served(T + t, max(0.0, (t - began) // gap)) for t in np.arange(phase, until, interval)]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([], None),  # not scraped yet
        ([(5, 0), (20, 0)], None),  # nothing served yet
        ([(5, 0), (20, 34)], None),  # the pace is not known yet
        # 2 requests/s: 34.5 requests before the scrape at 20 s is 2.75 s after Ready.
        ([(2, 0), (20, 34), (35, 64)], Verdict(2.75)),
        # Nothing was finished at 5 s: the first request was not in service before 4.5 s.
        ([(5, 0), (20, 34), (35, 64)], Verdict(4.5)),
        # Further scrapes tell the pace, three at most.
        ([(20, 34), (35, 64), (50, 94), (65, 124), (80, 1000)], Verdict(2.75)),
        ([(-10, 3), (5, 30)], Verdict(0.0)),  # it served before it was Ready
        ([(1, 4), (16, 34), (31, 64)], Verdict(0.0)),  # going back would end before Ready
        ([(20, 34), (35, 5)], Verdict(None)),  # started again
        ([(20, 34), (35, 34)], None),  # no load: wait ...
        ([(20, 34), (35, 34), (50, 34), (65, 34)], Verdict(None)),  # ... for a while
        ([(50, 2), (80, 3), (110, 4)], Verdict(None)),  # a request in half a minute: when it began is anybody's guess
    ],
)
def test_worked_cases(seen: list[tuple[float, float]], expected: Verdict | None) -> None:
    verdict = join_time(T, samples(*seen))
    if expected is None or verdict is None or expected.seconds is None:
        assert verdict == expected
    else:
        assert verdict.seconds == pytest.approx(expected.seconds, abs=1e-3)


@given(
    began=st.floats(0.0, 60.0),
    gap=st.floats(0.05, 3.0),
    interval=st.sampled_from([1.0, 15.0, 30.0]),
    phase=st.floats(0.0, 1.0),
)
def test_a_busy_pod_tells_within_one_request_of_the_truth(
    began: float, gap: float, interval: float, phase: float
) -> None:
    verdict = join_time(T, scraped(began, gap, interval, phase * interval))
    assert verdict is not None
    if verdict.seconds is not None:
        # The pace itself is known to one request over the scrapes that it was taken from.
        assert abs(verdict.seconds - began) <= gap * (1.5 + interval / max(interval - gap, gap)) + 1e-3


@given(
    ready=st.floats(0.0, 100.0),
    steps=st.lists(st.tuples(st.floats(0.1, 60.0), st.integers(0, 200)), max_size=8),
)
def test_never_before_ready_never_after_the_scrape_that_showed_it(ready: float, steps: list[tuple[float, int]]) -> None:
    time, count, seen = T, 0, []
    for pause, served in steps:
        time, count = time + pause, count + served
        seen.append(Served(time, float(count)))
    verdict = join_time(T + ready, seen)
    first = next((one.time for one in seen if one.requests > 0), None)
    if verdict is not None and verdict.seconds is not None:
        assert first is not None
        assert 0.0 <= verdict.seconds <= max(first - T - ready, 0.0)


def test_random_arrivals_have_no_bias() -> None:
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(300):
        began = rng.uniform(1.0, 6.0)
        ends = began + np.cumsum(rng.exponential(0.5, 400))
        seen = [Served(T + t, float(np.searchsorted(ends, t))) for t in np.arange(rng.uniform(0, 15), 120, 15)]
        verdict = join_time(T, seen)
        if verdict is not None and verdict.seconds is not None:
            errors.append(verdict.seconds - began)
    assert len(errors) > 200
    assert abs(np.mean(errors)) < 0.75
    assert np.quantile(np.abs(errors), 0.9) < SURE


def test_a_pod_is_completed_once_with_all_that_was_told_before() -> None:
    joins = Joins()
    joins.follow("a", [lead("p-1"), lead("p-2")], T + 1)
    assert joins.pods("a") == ("p-1", "p-2")
    assert joins.learn("a", {"p-1": samples((20, 34))}) == ()
    (whole,) = joins.learn("a", {"p-1": samples((20, 34), (35, 64)), "stranger": samples((20, 34), (35, 64))})
    assert (whole.pod, whole.patch_to_created, whole.scheduled_to_ready, whole.ready_at) == ("p-1", 0.5, 30.0, T)
    assert whole.ready_to_partitions == pytest.approx(2.75)
    assert joins.pods("a") == ("p-2",)
    assert joins.learn("a", {"p-1": samples((20, 34), (35, 64))}) == ()
    assert joins.pods("b") == ()


def test_a_pod_that_will_not_be_known_is_given_up_and_is_not_zero() -> None:
    joins = Joins()
    joins.follow("a", [lead("p-1"), lead("old", T - LONGEST - 1)], T)
    assert joins.pods("a") == ("p-1",)
    assert joins.learn("a", {"p-1": samples((20, 34), (35, 5))}) == ()
    assert joins.pods("a") == ()
    joins.follow("a", [lead("p-2")], T)
    joins.follow("a", [], T + LONGEST + 1)
    assert joins.pods("a") == ()


def test_an_earlier_pod_of_the_same_name_is_another_pod() -> None:
    # A StatefulSet's "p-1" served until 40 s before the next one was Ready; that one was created 31 s before.
    joins = Joins()
    joins.follow("a", [lead("p-1")], T + 1)
    earlier, later = ((-55, 900), (-40, 930)), ((5, 0), (20, 34), (35, 64))
    assert joins.learn("a", {"p-1": samples(*earlier)}) == (), "nothing is known of this one yet"
    (whole,) = joins.learn("a", {"p-1": samples(*earlier, *later)})
    assert whole.ready_to_partitions == pytest.approx(4.5), "as without the earlier one"


def test_a_counter_that_went_back_is_not_zero_even_where_it_rose_before_ready() -> None:
    assert join_time(T, samples((-10, 30), (5, 0), (20, 34), (35, 64))) == Verdict(None)


def test_what_is_followed_is_bounded_and_forgotten() -> None:
    joins = Joins()
    joins.follow("a", [lead(f"p-{n}") for n in range(3 * MOST)], T)
    assert joins.pods("a") == tuple(f"p-{n}" for n in range(2 * MOST, 3 * MOST))
    joins.follow("b", [lead("q")], T)
    joins.forget({"b"})
    assert (joins.pods("a"), joins.pods("b")) == ((), ("q",))


def test_the_query_names_the_pods() -> None:
    assert served_promql(QUERY, ["chat-1", "chat-2.x"], 240.0) == (
        r'inference_latency_seconds_count{app="chat",pod=~"chat-1|chat-2\\.x"}[240000ms]'
    )
    assert served_promql(LatencyQuery("m", "", 60.0), ["a"], 1.0) == 'm_count{pod=~"a"}[1000ms]'


def test_a_pods_series_are_added_up_in_order_of_time() -> None:
    matrix = [
        {"metric": {"pod": "a", "model": "x"}, "values": [[10.0, "1"], [20.0, "4"]]},
        {"metric": {"pod": "b"}, "values": [[11.5, "7"]]},
        {"metric": {"pod": "a", "model": "y"}, "values": [[20.0, "2"]]},
    ]
    assert read_served(matrix) == {"a": [Served(10.0, 1.0), Served(20.0, 6.0)], "b": [Served(11.5, 7.0)]}
    with pytest.raises(KeyError):
        read_served([{"metric": {}, "values": []}])


class TestThePlanLearns:
    def test_a_pod_told_again_takes_its_earlier_place(self) -> None:
        learned = LeadTimes(90.0, prior=1, size=100, join=2.0)
        learned.learn([lead(f"p-{n}") for n in range(10)])
        assert learned.quantile(0.95) == 33.5, "31.5 s to Ready, and the 2 s that are assumed"
        learned.learn([replace(lead(f"p-{n}"), ready_to_partitions=6.0) for n in range(5)])
        assert learned.quantile(0.95) == 37.5
        assert len(learned._seen) == 10

    def test_a_name_that_comes_again_is_another_pod(self) -> None:
        learned = LeadTimes(90.0, prior=1, size=100)
        learned.learn([lead("chat-0"), replace(lead("chat-0", T + 500.0), ready_to_partitions=6.0)])
        assert len(learned._seen) == 2


def watched(name: str, latency: bool = True) -> Watched:
    return Watched(
        uid=name,
        target=TargetRef("apps/v1", "Deployment", "default", name),
        kafka=KafkaCluster("one:9092"),
        topic=GroupTopic("group", "topic"),
        prometheus="http://one:9090" if latency else None,
        latency=QUERY if latency else None,
        history=None,
    )


class Cluster(FakeCluster):
    """Tells one pod that became Ready, once."""

    def lead_times(self, target: TargetRef) -> tuple[LeadTime, ...]:
        told, self.untold = getattr(self, "untold", (lead("p-1"),)), ()
        return told


class Latency(FakePrometheus):
    """Answers with what the pod had served by then; can be made to fail or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []
        self.samples = samples((20, 34), (35, 64))
        self.hang = threading.Event()
        self.hang.set()
        self.error: Exception | None = None

    def served(self, query: LatencyQuery, pods: Sequence[str], span: float) -> Mapping[str, Sequence[Served]]:
        self.asked.append(tuple(pods))
        self.hang.wait(10)
        if self.error is not None:
            raise self.error
        return dict.fromkeys(pods, self.samples)


class TestGathered:
    """Through the gatherer: in the background, one query at a time, told one tick later."""

    @pytest.fixture
    def world(self) -> Iterator[tuple[Gatherer, Latency]]:
        latency, pool = Latency(), ThreadPoolExecutor(4)
        broker = FakeBroker(SystemClock())
        cluster = Cluster(lambda: 1.0)
        yield Gatherer(lambda _: broker, lambda _: latency, cluster, pool, Histories(pool), 5.0), latency
        latency.hang.set()
        pool.shutdown()

    def told(self, gatherer: Gatherer, at: float, latency: bool = True) -> list[float | None]:
        scaler = watched("a", latency)
        leads = gatherer.gather(T + at, [scaler])["a"].lead_times
        for looking in list(gatherer._looking.values()):
            wait([looking], 0.2)
        return [one.ready_to_partitions for one in leads]

    def test_it_is_told_at_once_and_completed_a_tick_later(self, world: tuple[Gatherer, Latency]) -> None:
        gatherer, latency = world
        assert self.told(gatherer, 36.0) == [None]
        assert self.told(gatherer, 51.0) == [pytest.approx(2.75)]
        assert self.told(gatherer, 66.0) == []
        assert latency.asked == [("p-1",)], "a pod that is known is not asked for again"

    def test_a_source_that_hangs_holds_up_no_tick_and_is_asked_once(self, world: tuple[Gatherer, Latency]) -> None:
        gatherer, latency = world
        latency.hang.clear()
        assert [self.told(gatherer, at) for at in (36.0, 51.0, 66.0)] == [[None], [], []]
        assert len(latency.asked) == 1
        latency.hang.set()
        wait(list(gatherer._looking.values()), 5.0)
        assert self.told(gatherer, 81.0) == [pytest.approx(2.75)]

    def test_an_error_is_asked_again_and_never_zero(self, world: tuple[Gatherer, Latency]) -> None:
        gatherer, latency = world
        latency.error = RuntimeError("odd")
        assert [self.told(gatherer, at) for at in (36.0, 51.0)] == [[None], []]
        latency.error = None
        assert [self.told(gatherer, at) for at in (66.0, 81.0)] == [[], [pytest.approx(2.75)]]

    def test_without_a_latency_source_it_stays_unknown(self, world: tuple[Gatherer, Latency]) -> None:
        gatherer, latency = world
        assert [self.told(gatherer, at, latency=False) for at in (36.0, 51.0)] == [[None], []]
        assert latency.asked == []

    def test_what_is_looked_for_aside_takes_no_thread_from_the_pass(self, world: tuple[Gatherer, Latency]) -> None:
        latency, broker = world[1], FakeBroker(SystemClock())
        latency.hang.clear()
        scalers = [watched(name) for name in "abc"]
        with ThreadPoolExecutor(3) as pool, ThreadPoolExecutor(1) as aside:
            cluster = Cluster(lambda: 1.0)
            cluster.lead_times = lambda target: (lead(f"{target.name}-1", T + 30.0),)  # type: ignore[method-assign]
            gatherer = Gatherer(lambda _: broker, lambda _: latency, cluster, pool, Histories(pool), 2.0, aside)
            for at in (31.0, 46.0):
                seen = gatherer.gather(T + at, scalers)
                details = [one.replicas.detail for one in seen.values()]
                assert not [said for said in details if "no answer" in said]
            latency.hang.set()


class Slow(FakePrometheus):
    """Ends when all others end, too."""

    def __init__(self, together: threading.Barrier) -> None:
        super().__init__()
        self.together = together

    def close(self) -> None:
        self.together.wait(10)


def test_sources_are_closed_side_by_side() -> None:
    together, broker, cluster = threading.Barrier(3), FakeBroker(SystemClock()), FakeCluster(lambda: 1.0)
    with ThreadPoolExecutor(3) as pool:
        gatherer = Gatherer(lambda _: broker, lambda _: Slow(together), cluster, pool, Histories(pool), 2.0)
        gatherer.gather(T, [replace(watched("a"), prometheus=f"http://{n}:9090") for n in range(2)])
    closing = threading.Thread(target=gatherer.close)
    closing.start()
    together.wait(10)
    closing.join(10)
    assert not closing.is_alive()
    assert not together.broken
