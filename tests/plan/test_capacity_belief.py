"""The service rate's belief: three kinds of evidence, what each may say, and how far it is trusted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.plan.capacity import ServiceRate
from scaler.plan.observation import LatencySample
from scaler.plan.progress import Progress
from scaler.plan.service_time import ServiceTimes
from simulations.service_times import BatchSpec, ByBatch
from simulations.traces import traces_folder

TICK = 15.0


def believed(declared: float = 2.0, concurrency: float | None = None) -> ServiceRate:
    return ServiceRate(declared, 5 * TICK, 2.0, 20.0, concurrency)


def interval(served: float, backlog: float = 0.0, partitions: int = 40) -> Progress:
    """``served`` and ``backlog`` are of the whole topic."""
    even = np.full(partitions, 1.0 / partitions)
    return Progress(0.0, TICK, even * served, even * served, even * backlog, even * backlog, False)


def sample(mean: float, count: float = 300.0, window: float = TICK) -> LatencySample:
    return LatencySample(None, None, None, count, count * mean, window)


def calm(rate: ServiceRate, load: float, ticks: int, waiting: float = 0.0, replicas: int = 10) -> None:
    """``load`` requests/s and ``waiting`` messages for each replica."""
    rng = np.random.default_rng(7)
    for _ in range(ticks):
        served = load * replicas * TICK
        noise = rng.normal(0.0, math.sqrt(served))  # as Poisson arrivals are
        rate.learn_calm(interval(served + noise, waiting * replicas), float(replicas), 1.0, 0.65)


def saturate(rate: ServiceRate, true: float, ticks: int, replicas: int = 10) -> None:
    for _ in range(ticks):
        assert rate.learn(interval(true * replicas * TICK, 1e5), replicas)


# --- saturated work


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_factor_of_two_is_found_within_five_ticks_of_saturated_work(factor: float) -> None:
    rate = believed(2.0 * factor)
    assert not rate.sure
    saturate(rate, 2.0, 5)
    assert rate.rate == pytest.approx(2.0, rel=0.03)
    assert rate.sure


def test_saturated_work_can_take_back_what_was_seen_before() -> None:
    rate = believed()
    calm(rate, 3.0, 30)
    assert rate.rate >= 3.0
    saturate(rate, 1.0, 40)
    assert rate.rate == pytest.approx(1.0, rel=0.02)
    assert rate.cautious <= rate.rate


def near_its_rate(served: list[float], waiting: list[float], partitions: int = 4) -> Progress:
    """Of consumers with four partitions each; what waits is spread over so many of these."""
    spread = np.array([1.0] * partitions + [0.0] * (4 - partitions)) / partitions
    consumed, backlog = np.repeat(np.array(served) / 4, 4), np.kron(waiting, spread)
    return Progress(0.0, TICK, consumed, consumed, backlog, backlog, recreated=False)


@pytest.mark.parametrize(("known", "waiting"), [(False, 16.0), (True, 7.0)])
def test_a_backlog_of_most_consumers_tells_that_each_serves_clearly_less(known: bool, waiting: float) -> None:
    """At their rate, some of ten always happen to have next to nothing: of them nothing is learned. It takes less of a
    backlog where it is known that hardly anything is ever served and not yet committed."""
    rate, ticks = believed(), 0
    if known:
        calm(rate, 1.2, 30)
    seen = near_its_rate([22.5] * 7 + [15.0] * 3, [waiting] * 7 + [1.0] * 3)
    while rate.learn(seen, 10, 0.0, 0.0, "range"):
        ticks += 1
    assert 1 <= ticks <= 10
    assert 1.45 <= rate.rate <= 1.55 / (1.0 - 0.1), "up to what may be chance"


@pytest.mark.parametrize(
    ("seen", "concurrency"),
    [
        (near_its_rate([22.5] * 6 + [15.0] * 4, [20.0] * 6 + [1.0] * 4), None),  # too few
        (near_its_rate([28.0] * 9 + [15.0], [20.0] * 9 + [1.0]), None),  # not clearly less
        (near_its_rate([22.5] * 10, [5.0] * 10), None),  # soon without work
        (near_its_rate([22.5] * 9 + [15.0], [20.0] * 9 + [1.0], partitions=1), None),  # of one hot partition each
        (near_its_rate([22.5] * 9 + [15.0], [20.0] * 9 + [1.0]), 4.0),  # the law tells it
    ],
)
def test_a_backlog_of_some_says_nothing_of_all(seen: Progress, concurrency: float | None) -> None:
    rate = believed(concurrency=concurrency)
    if concurrency is not None:
        for _ in range(3):
            assert rate.learn_time(sample(concurrency / 2.0), 10, TICK)
    before = rate.rate
    assert not rate.learn(seen, 10, 0.0, 0.0, "range")
    assert rate.rate == before


def test_what_may_not_be_committed_yet_contradicts_no_belief() -> None:
    """A jump to 100 requests/s: up to 100 of them may be done and not committed, where 300 should have been."""
    rate = believed(2.0)
    for _ in range(4):
        assert rate.learn(interval(200.0, 1e4, 10), 10, before=100.0, after=100.0)
    assert rate.rate == pytest.approx(2.0)
    assert not rate.sure, "nor does it say much for it"
    for _ in range(20):
        rate.learn(interval(150.0, 1e4, 10), 10, before=3.0, after=3.0)
    assert rate.rate == pytest.approx(1.0, rel=0.05), "what is clear does"


# --- work without a backlog


def test_what_is_served_without_a_backlog_is_a_lower_bound() -> None:
    rate = believed(2.0)
    calm(rate, 1.0, 200)
    assert rate.rate == 2.0, "it says nothing below what is believed"
    calm(rate, 3.5, 40)
    assert 3.4 <= rate.rate <= 3.5 / 0.65
    assert rate.cautious >= 3.4


def test_a_short_burst_without_a_backlog_is_no_evidence() -> None:
    rate = believed(2.0)
    calm(rate, 6.0, 8)
    rate.disturbed()
    calm(rate, 6.0, 8)
    assert rate.rate == 2.0


def test_a_queue_that_is_as_long_as_it_should_be_confirms_the_rate() -> None:
    """At a utilisation of 0.9, a queue of M/D/1 holds 4.05 messages."""
    rate = believed(2.0)
    calm(rate, 1.8, 13, waiting=4.05 + 1.8)
    assert rate.rate == pytest.approx(2.0, rel=0.05)
    assert rate.sure
    short = believed(2.0)
    calm(short, 1.8, 26, waiting=0.5)
    assert not short.sure
    assert short.rate > 2.05, "and a short one says that it is more"


def test_a_queue_makes_nothing_sure_that_was_only_tried_out() -> None:
    """It may be one for all replicas, as long as that at a rate of less."""
    rate = believed(1.0)
    for load in (1.4, 1.8):
        calm(rate, load, 26, waiting=0.2)
    calm(rate, 1.8, 130, waiting=4.05 + 0.2)
    assert rate.rate > 1.8
    assert not rate.sure


def test_a_queue_takes_back_what_an_experiment_believed_but_no_more() -> None:
    rate = believed(2.0)
    calm(rate, 1.8, 26, waiting=0.2)
    high = rate.rate
    assert high > 2.1
    calm(rate, 1.8, 65, waiting=4.05 + 0.2)
    assert rate.rate == pytest.approx(2.0, rel=0.03)
    calm(rate, 1.5, 65, waiting=30.0)
    assert rate.rate >= 1.97, "bursts make queues, too: only saturated work says that it is less than declared"


# --- a backlog after experiments


def test_a_backlog_takes_back_what_a_queue_was_taken_to_say() -> None:
    """One queue for all replicas: short at any load that they can serve, it says more and more."""
    rate = believed(1.0)
    for load in (1.4, 1.9):
        calm(rate, load, 26, waiting=0.2)
    assert rate.rate > 2.1, "at a true rate of 2"
    assert rate.refute(2.0)
    assert rate.rate == pytest.approx(2.0)
    assert not rate.refute(2.0)
    assert not rate.refute(2.2), "it is never raised by that"
    assert rate.rate == pytest.approx(2.0)


def test_a_backlog_takes_back_no_more_than_was_tried_out() -> None:
    rate = believed(2.0)
    calm(rate, 1.9, 26, waiting=0.2)
    assert rate.rate > 2.1
    assert rate.refute(1.9)
    assert rate.rate == pytest.approx(2.0)


def test_a_backlog_of_consumers_that_stood_still_says_nothing() -> None:
    rate = believed(1.0)
    calm(rate, 1.8, 26, waiting=0.2)
    before = rate.rate
    assert not rate.refute(0.5)
    assert rate.rate == before


def test_one_queue_for_all_replicas_is_shorter_and_raises_nothing() -> None:
    """M/D/10 at a utilisation of 0.97: a tenth of the queue that ten single ones would hold."""
    rate = believed(2.0)
    calm(rate, 1.94, 130, waiting=2.3)
    assert rate.rate <= 2.0


def test_even_arrivals_make_no_queue_and_say_nothing_by_it() -> None:
    """The same number in each interval: a queue would be short at any load."""
    rate = believed(2.0)
    for _ in range(130):
        rate.learn_calm(interval(1.8 * 10 * TICK, 10 * 0.05), 10.0, 1.0, 0.65)
    assert rate.rate <= 2.0


def test_a_rate_that_is_known_is_raised_only_by_what_was_served() -> None:
    rate = believed(2.0)
    saturate(rate, 2.0, 20)
    calm(rate, 1.95, 100)
    assert rate.rate == pytest.approx(2.0, rel=0.01)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 3.0), st.floats(0.25, 4.0), st.floats(0.2, 0.8))
def test_calm_work_of_a_real_queue_never_teaches_much_more_than_the_truth(
    true: float, declared: float, busy: float
) -> None:
    """Poisson arrivals, constant service, one queue for each of 10 replicas; sampled each tick."""
    rng = np.random.default_rng(int(true * 1e6) + int(declared * 1e3))
    rate = believed(declared)
    left = np.zeros(10)
    for _ in range(120):
        before, came = left.copy(), np.zeros(10)
        for _ in range(15):
            new = rng.poisson(true * busy, 10).astype(float)
            came += new
            left = np.maximum(left + new - true, 0.0)
        served = before + came - left
        progress = Progress(0.0, TICK, came, served, before, left, False)
        rate.learn_calm(progress, 10.0, 0.0, 0.8)
    assert rate.rate <= max(declared, true * 1.15)
    assert rate.rate >= min(declared, true * busy)


# --- the utilisation law


def test_a_declared_concurrency_tells_the_rate_from_the_service_time() -> None:
    rate = believed(4.0, concurrency=1.0)
    for _ in range(5):
        rate.learn_time(sample(0.5), 10, TICK)
    assert rate.rate == pytest.approx(2.0, rel=0.01)
    assert rate.sure


def test_more_in_service_than_replicas_serve_at_a_time_is_no_time_in_service() -> None:
    """As of a histogram in milliseconds, by which one replica served a thousandth of what it does."""
    rate = believed(2.0, concurrency=1.0)
    for _ in range(5):
        assert not rate.learn_time(sample(500.0), 10, TICK)
    assert rate.rate == pytest.approx(2.0)


def test_long_requests_that_end_together_may_all_be_told_in_one_window() -> None:
    rate = believed(1 / 300.0, concurrency=1.0)
    assert rate.learn_time(sample(600.0, count=10.0, window=60.0), 10, TICK)


def test_the_law_takes_over_from_what_was_declared_by_degrees() -> None:
    """The nearer the load comes to the concurrency, the more it counts, and no load makes the rate jump."""
    rates = []
    for busy in np.linspace(1.0, 4.0, 61):  # of four that it can serve at a time, 2 s each
        rate = believed(1.0, concurrency=4.0)
        for _ in range(5):
            rate.learn_time(sample(2.0, busy / 2.0 * 10 * TICK), 10, TICK)
        rates.append(rate.rate)
    steps = np.diff(rates)
    assert rates[0] < 1.3
    assert rates[-1] == pytest.approx(2.0, rel=0.01)
    assert (steps >= 0).all()
    assert (steps < 0.05).all()


def test_the_law_tells_at_any_load_what_a_replica_cannot_exceed() -> None:
    """More requests at a time make none of them quicker."""
    rate = believed(4.0, concurrency=4.0)
    for _ in range(5):
        rate.learn_time(sample(2.0, 1.0 / 2.0 * 10 * TICK), 10, TICK)
    assert rate.rate == pytest.approx(2.0)
    assert not rate.sure, "it may be less"


def test_without_a_declared_concurrency_only_a_change_of_the_service_time_tells() -> None:
    rate = believed(2.0)  # busy 60 % of the time with other work: 1 / 0.2 s would be 5
    for _ in range(5):
        rate.learn_time(sample(0.2), 10, TICK)
    assert rate.rate == pytest.approx(2.0)
    for _ in range(200):
        rate.learn_time(sample(0.4), 10, TICK)
    assert rate.rate == pytest.approx(1.0, rel=0.02)


def test_saturated_work_corrects_the_law_and_the_law_goes_on_from_there() -> None:
    rate = believed(4.0, concurrency=1.0)
    for _ in range(5):
        rate.learn_time(sample(0.2), 10, TICK)
    assert rate.rate == pytest.approx(5.0, rel=0.02)
    saturate(rate, 2.0, 8)
    assert rate.rate == pytest.approx(2.0, rel=0.05)
    for _ in range(200):
        rate.learn_time(sample(0.1), 10, TICK)
    assert rate.rate == pytest.approx(4.0, rel=0.07), "twice as quick, twice as many"


@pytest.mark.parametrize(
    "bad",
    [
        LatencySample(None, None, None, None, 3.0, 15.0),
        LatencySample(None, None, None, 30.0, None, 15.0),
        LatencySample(None, None, None, 0.0, 0.0, 15.0),
        LatencySample(None, None, None, math.nan, 3.0, 15.0),
        LatencySample(None, None, None, 30.0, math.inf, 15.0),
        LatencySample(None, None, None, -30.0, 3.0, 15.0),
        LatencySample(None, None, None, 30.0, 3.0, 0.0),
    ],
)
def test_a_histogram_without_a_sense_says_nothing(bad: LatencySample) -> None:
    rate = believed(2.0, concurrency=1.0)
    for _ in range(50):
        rate.learn_time(bad, 10, TICK)
    rate.learn_time(sample(0.1), 0, TICK)
    assert rate.rate == 2.0


# --- batches


def throughput(times: ByBatch, busy: float) -> tuple[float, float, float]:
    """(requests/s, mean seconds of a request, requests in a replica) of one that always serves ``busy`` together."""
    seconds = float(np.interp(busy, times.sizes, times.seconds))
    return busy / seconds, seconds, busy


def batches() -> ByBatch:
    built = BatchSpec(kind="batch", batch=64).build()
    assert isinstance(built, ByBatch)
    return built


MEASURED = pytest.mark.skipif(
    not traces_folder().is_dir(), reason="the shared traces are not on this machine (LAGCAST_TRACES)"
)


@MEASURED
def test_measured_batches_serve_more_the_more_there_are_and_the_rate_stays() -> None:
    """Times of 5.8 s alone and 20 s among 64, as measured on GPUs: a longer time at more load is no lower rate."""
    times = batches()
    full = throughput(times, 64)[0]
    rate = believed(full, concurrency=None)
    rng = np.random.default_rng(2)
    for k in range(400):
        _, seconds, busy = throughput(times, 20 + 15 * math.sin(k / 60) + rng.uniform(-2, 2))
        count = busy / seconds * 10 * TICK
        rate.learn_time(LatencySample(None, None, None, count, count * seconds, TICK), 10, TICK)
    assert rate.rate == pytest.approx(full, rel=0.15)
    for k in range(200):  # new hardware is twice as quick
        _, seconds, busy = throughput(times, 20 + 15 * math.sin(k / 60))
        count = busy / seconds * 2 * 10 * TICK
        rate.learn_time(LatencySample(None, None, None, count, count * seconds / 2, TICK), 10, TICK)
    assert rate.rate == pytest.approx(2 * full, rel=0.2)


@MEASURED
def test_a_declared_batch_is_told_from_half_its_load() -> None:
    times = batches()
    full = throughput(times, 64)[0]
    rate = believed(full * 2, concurrency=64.0)
    for k in range(800):
        _, seconds, busy = throughput(times, 30 + 20 * math.sin(k / 60))
        count = busy / seconds * 10 * TICK
        rate.learn_time(LatencySample(None, None, None, count, count * seconds, TICK), 10, TICK)
    assert rate.rate == pytest.approx(full, rel=0.2)


def test_the_slope_is_not_believed_before_the_load_varied() -> None:
    times = ServiceTimes(600.0, 20_000.0)
    for _ in range(50):
        times.learn(sample(0.5, 300.0), 10, TICK)
    assert times.slope == 0.0
    assert times.doubt == pytest.approx(1.0)
    assert times.alone == pytest.approx(0.5)
    for k in range(200):
        n = 1.0 + 0.8 * math.sin(k / 10)
        mean = 0.3 * (1 + 0.5 * n)
        count = n * TICK * 10 / mean
        times.learn(LatencySample(None, None, None, count, count * mean, TICK), 10, TICK)
    assert times.slope == pytest.approx(0.5, abs=0.15)
    assert times.alone == pytest.approx(0.3, rel=0.1)
    assert times.doubt < 0.3


# --- another pod template


def test_a_new_template_starts_from_the_old_estimate_and_is_open_again() -> None:
    rate = believed(2.0)
    saturate(rate, 4.0, 20)
    known = rate.rate
    rate.renew()
    assert rate.rate == pytest.approx(known)
    assert not rate.sure
    assert rate.cautious < 0.7 * known
    saturate(rate, 1.5, 5)
    assert rate.rate == pytest.approx(1.5, rel=0.05)


def test_a_new_template_that_is_quicker_is_seen_in_the_service_time() -> None:
    rate = believed(2.0)
    saturate(rate, 2.0, 20)
    for _ in range(50):
        rate.learn_time(sample(0.5), 10, TICK)
    rate.renew()
    for _ in range(3):
        rate.learn_time(sample(0.25), 10, TICK)
    assert rate.rate == pytest.approx(4.0, rel=0.05)
