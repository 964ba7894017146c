"""Workers in a real consumer group: what they finish, what moves when one leaves, what being stuck means."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from forecasting.series import Series
from simulations.lab.load_run import LoadRun
from simulations.lab.measure import measure, read_produced
from simulations.lab.results import Finished, read_results
from simulations.lab.worker import Membership
from simulations.lab.workers import Workers
from simulations.service_times import ByBatch, Fixed, ServiceTime
from tests.lab.quiet import quietest

pytestmark = pytest.mark.lab


def named(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for it; how long it took (s)."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - begun


class Bench:
    """A topic, its load, and workers on it."""

    def __init__(self, bootstrap: str, folder: Path, partitions: int, rate: float, service: ServiceTime) -> None:
        self.bootstrap, self.topic = bootstrap, named("work")
        self.load = LoadRun(bootstrap, self.topic, Series(0.0, 1.0, np.full(600, rate)), partitions=partitions, seed=1)
        self.results = folder / "results.csv"
        self.folder = folder
        self.partitions = partitions
        self.workers = Workers("chat", Membership(bootstrap, self.topic, self.topic), service, self.results, folder)

    def start(self, count: int) -> list[str]:
        pods = [f"pod-{k}" for k in range(count)]
        for pod in pods:
            self.workers.start_pod(pod)
        return pods

    def spread(self, count: int) -> bool:
        """All partitions are held, and each of ``count`` pods holds some."""
        held = list(self.workers.partitions().values())
        return sum(map(len, held)) == self.partitions and sum(map(bool, held)) == count

    def finished(self) -> int:
        """Different messages finished so far."""
        got = read_results(self.results)
        return len(set(zip(got.partition.tolist(), got.offset.tolist(), strict=True)))

    def served(self) -> int:
        return len(read_results(self.results).offset)

    def committed(self) -> int:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.topic)])[self.topic].result()
        return sum(max(part.offset, 0) for part in asked.topic_partitions)


@contextmanager
def bench(lab: Any, folder: Path, partitions: int, rate: float, service: ServiceTime) -> Iterator[Bench]:
    folder.mkdir(exist_ok=True)
    made = Bench(lab.kafka.bootstrap, folder, partitions, rate, service)
    try:
        yield made
    finally:
        made.workers.stick(False)
        made.workers.close()


def test_thirty_consumers_serve_sixty_requests_a_second(
    lab: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me = psutil.Process()
    # Two of the 30 hold two partitions: 2 x 60/32 requests/s x 0.2 s keeps them below their capacity.
    with bench(lab, tmp_path, 32, 60.0, Fixed(0.2)) as at:
        at.start(30)
        took = until(lambda: at.spread(30), 20, "32 partitions over 30 pods")
        before = me.cpu_times()
        sent = at.load.run(threading.Event(), duration=10.0)
        after = me.cpu_times()
        until(lambda: at.finished() == sent.messages, 10, "all messages finished")
        memory = me.memory_info().rss / 2**20
        got = measure(read_produced(at.bootstrap, at.topic), read_results(at.results), within=2.0)
    cores = (after.user + after.system - before.user - before.system) / 10
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the test is run for
            f"\n30 consumers: {memory:.0f} MB, {cores:.2f} cores, spread after {took:.1f} s; {sent.messages} requests,"
            f" attainment {got.attainment:.4f} within 2 s, p50 {got.latency_p50:.3f} s, p99 {got.latency_p99:.3f} s"
        )
    assert memory < 4096
    assert cores < 2
    assert (got.requests, got.unfinished) == (sent.messages, 0)
    assert got.duplicates == 0, "nothing moved, so nothing is served twice"
    assert got.latency_p50 is not None
    assert got.latency_p50 >= 0.2
    assert at.committed() == sent.messages


def test_a_stopped_pod_loses_nothing_and_its_partitions_move(lab: Any, tmp_path: Path) -> None:
    with bench(lab, tmp_path, 8, 30.0, Fixed(0.05)) as at:
        pods = at.start(4)
        until(lambda: at.spread(4), 15, "8 partitions over 4 pods")
        stop = threading.Event()
        sending = threading.Thread(target=at.load.run, args=(stop,))
        sending.start()
        try:
            time.sleep(2)
            kept = {pod: held for pod, held in at.workers.partitions().items() if pod != pods[1]}
            at.workers.stop_pod(pods[1])
            assert at.workers.wait_left([pods[1]], 5.0)
            until(lambda: at.spread(3), 5, "8 partitions over 3 pods")
            now = at.workers.partitions()
            assert all(held <= now[pod] for pod, held in kept.items()), "cooperative: what one holds it keeps"
            time.sleep(2)
        finally:
            stop.set()
            sending.join()
        total = len(read_produced(at.bootstrap, at.topic).offset)
        until(lambda: at.finished() == total, 10, "all messages finished")
        assert total > 60
        assert at.served() == total, "a drained pod has committed what it finished, so nothing is served twice"
        until(lambda: at.committed() == total, 3, "all committed at the interval")


def test_a_pod_that_joins_takes_its_share_soon(lab: Any, tmp_path: Path) -> None:
    with bench(lab, tmp_path, 6, 20.0, Fixed(0.01)) as at:
        at.start(2)
        until(lambda: at.spread(2), 15, "6 partitions over 2 pods")
        at.workers.start_pod("late")
        took = until(lambda: at.spread(3), 8, "6 partitions over 3 pods")
        assert [len(held) for held in at.workers.partitions().values()] == [2, 2, 2]
        assert took < 4


def test_a_pod_that_is_ready_again_while_it_drains_gets_a_new_worker(lab: Any, tmp_path: Path) -> None:
    with bench(lab, tmp_path, 2, 20.0, Fixed(0.5)) as at:
        at.start(1)
        until(lambda: at.spread(1), 15, "2 partitions on 1 pod")
        at.load.run(threading.Event(), duration=0.5)
        at.workers.stop_pod("pod-0")
        at.workers.start_pod("pod-0")
        until(lambda: at.spread(1), 10, "the partitions are held again")
        at.workers.start_pod("pod-0")
        assert at.workers.pods == {"pod-0"}


def test_stuck_workers_stay_members_but_finish_and_commit_nothing(lab: Any, tmp_path: Path) -> None:
    with bench(lab, tmp_path, 4, 40.0, Fixed(0.02)) as at:
        at.start(2)
        until(lambda: at.spread(2), 15, "4 partitions over 2 pods")
        first = at.load.run(threading.Event(), duration=1.0)
        until(lambda: at.committed() == first.messages, 5, "the first are committed")
        held = at.workers.partitions()
        at.workers.stick(True)
        time.sleep(0.2)
        second = at.load.run(threading.Event(), duration=1.0)
        time.sleep(7.5)  # longer than a session: a member that did not heartbeat would be counted out by now
        assert at.finished() == first.messages
        assert at.committed() == first.messages
        assert at.workers.partitions() == held
        at.workers.start_pod("late")  # a rebalance goes through, too
        until(lambda: at.spread(3), 8, "4 partitions over 3 pods")
        assert at.committed() == first.messages
        at.workers.stick(False)
        total = first.messages + second.messages
        until(lambda: at.finished() == total, 10, "all messages finished once free again")
        until(lambda: at.committed() == total, 5, "and committed")
        assert at.served() == total


def test_what_a_stuck_worker_held_is_served_by_another_when_it_is_stopped(lab: Any, tmp_path: Path) -> None:
    with bench(lab, tmp_path, 2, 40.0, Fixed(0.02)) as at:
        at.start(1)
        until(lambda: at.spread(1), 15, "2 partitions on 1 pod")
        at.workers.stick(True)
        sent = at.load.run(threading.Event(), duration=1.0)
        time.sleep(1)
        at.workers.stop_pod("pod-0")
        assert at.workers.wait_left(["pod-0"], 5.0)
        assert (at.served(), at.committed()) == (0, 0)
        at.workers.stick(False)
        at.workers.start_pod("other")
        until(lambda: at.finished() == sent.messages, 15, "all messages finished by the other")


def test_waiting_requests_are_served_in_batches(lab: Any, tmp_path: Path) -> None:
    service = ByBatch(np.array([1.0, 8.0]), np.array([0.2, 0.4]), batch=8)
    attempts = itertools.count()

    def serve() -> Finished:
        with bench(lab, tmp_path / str(next(attempts)), 1, 16.0, service) as at:
            sent = at.load.write_past(10.0)
            at.start(1)
            until(lambda: at.finished() == sent.messages, 30, "all messages finished")
            got = read_results(at.results)
            until(lambda: at.committed() == sent.messages, 3, "all committed")
        return got

    got = quietest(serve, lambda seen: float((seen.finished - seen.begun).max()) < 0.6)
    sizes = np.unique(got.begun, return_counts=True)[1]
    # One at a time, 0.2 s each, the same requests would have taken four times as long.
    assert sizes.max() == 8
    assert sizes.mean() > 4
    took = got.finished - got.begun
    assert took.min() >= 0.199
    assert took.max() < 0.6


def test_load_and_workers_live_through_an_outage_of_the_broker(lab: Any, tmp_path: Path) -> None:
    # Short requests: how many the outage leaves depends on how long a broker takes to start, and the 15 s are for the
    # group's return, not for serving them.
    with bench(lab, tmp_path, 4, 30.0, Fixed(0.005)) as at:
        at.start(2)
        until(lambda: at.spread(2), 15, "4 partitions over 2 pods")
        stop, reports = threading.Event(), []
        sending = threading.Thread(target=lambda: reports.append(at.load.run(stop)))
        sending.start()
        try:
            time.sleep(2)
            lab.kafka.stop()
            time.sleep(8)  # longer than a session
            lab.kafka.start()
            time.sleep(3)
        finally:
            stop.set()
            sending.join()
        (sent,) = reports
        produced = read_produced(at.bootstrap, at.topic)
        assert (sent.failed, len(produced.offset)) == (0, sent.messages), "each message once, none lost"
        until(lambda: at.finished() == sent.messages, 15, "all messages finished")
        until(lambda: at.committed() == sent.messages, 5, "all committed")
        assert produced.arrival.max() - produced.arrival.min() > 12, "sent on, through the outage"


def test_latency_is_exported_for_each_pod_and_leaves_with_it(lab: Any, tmp_path: Path) -> None:
    with bench(lab, tmp_path, 2, 30.0, Fixed(0.05)) as at:
        at.start(2)
        until(lambda: at.spread(2), 15, "2 partitions over 2 pods")
        sent = at.load.run(threading.Event(), duration=2.0)
        until(lambda: at.finished() == sent.messages, 10, "all messages finished")
        (target,) = tmp_path.glob("*.json")
        (group,) = json.loads(target.read_text())
        assert group["targets"] == [f"127.0.0.1:{at.workers.metrics_port}"]
        counts = _counts(group["targets"][0])
        assert set(counts) == {"pod-0", "pod-1"}
        assert sum(counts.values()) == sent.messages
        at.workers.stop_pod("pod-0")
        assert at.workers.wait_left(["pod-0"], 5.0)
        until(lambda: set(_counts(group["targets"][0])) == {"pod-1"}, 3, "its series is gone")
    assert not list(tmp_path.glob("*.json")), "Prometheus is told that the target is gone"


def test_partitions_with_a_backlog_take_turns_and_the_worker_never_idles(lab: Any, tmp_path: Path) -> None:
    attempts = itertools.count()

    def serve() -> Finished:
        with bench(lab, tmp_path / str(next(attempts)), 2, 100.0, Fixed(0.01)) as at:
            sent = at.load.run(threading.Event(), duration=4.0)  # live: each message a batch of its own on the broker
            at.start(1)
            until(lambda: at.finished() == sent.messages, 20, "all messages finished")
            got = read_results(at.results)
        share = float((got.partition[:100] == 0).mean())
        assert 0.25 < share < 0.75, "neither partition's backlog is served before the other's"
        return got

    got = quietest(serve, lambda seen: float((seen.begun[1:] - seen.finished[:-1]).max()) < 0.4)
    idle = got.begun[1:] - got.finished[:-1]
    assert idle.max() < 0.4, "requests wait while the worker does nothing"
    assert float(np.median(idle)) < 0.005


def test_a_worker_that_fails_is_replaced_and_its_request_is_served(lab: Any, tmp_path: Path) -> None:
    class FailsOnce:
        batch = 1
        failed = False

        def draw(self, size: int, rng: np.random.Generator) -> float:
            if not self.failed:
                self.failed = True
                raise ArithmeticError("once")
            return 0.01

    service = FailsOnce()
    with bench(lab, tmp_path, 2, 20.0, service) as at:
        at.start(1)
        until(lambda: at.spread(1), 15, "2 partitions on 1 pod")
        sent = at.load.run(threading.Event(), duration=1.0)
        until(lambda: at.finished() == sent.messages, 15, "all messages finished by the new worker")
        assert service.failed
        assert at.workers.pods == {"pod-0"}


def test_closing_leaves_no_thread_and_no_member(lab: Any, tmp_path: Path) -> None:
    before = psutil.Process().num_threads()
    with bench(lab, tmp_path, 4, 20.0, Fixed(0.3)) as at:
        at.start(4)
        until(lambda: at.spread(4), 15, "4 partitions over 4 pods")
        at.load.run(threading.Event(), duration=1.0)
    assert not [t for t in threading.enumerate() if "worker" in t.name]
    admin = AdminClient({"bootstrap.servers": at.bootstrap})
    group = admin.describe_consumer_groups([at.topic])[at.topic].result()
    assert group.members == [], "each has left the group by itself"
    assert at.committed() == at.served() > 0
    del admin, group
    until(lambda: psutil.Process().num_threads() <= before + 12, 5, "librdkafka's threads end")


def _counts(target: str) -> dict[str, float]:
    """Requests by pod, from the metrics page."""
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("inference_latency_seconds_count{")]
    assert all('app="chat"' in line for line in counted)
    return {line.split('pod="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in counted}
