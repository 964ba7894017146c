"""One controller, one healthy service and a number of wrong ones beside it, on the real servers.

Each wrong one has three replicas, no load that needs them and a hold of a second: were what is missing read as zero, it
would be scaled in at once.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from simulations.lab.bench_observe import commit
from simulations.lab.kwok import pod_annotations
from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from simulations.lab.scenario import Scenario, ScenarioSpec
from simulations.lab.topics import ensure_topic

pytestmark = pytest.mark.lab

HEALTHY = "healthy"
REPLICAS = 3
PARTITIONS = 4
# An observed NaN makes a sum NaN; the count and the buckets go on.
NAN_LATENCY = """\
# TYPE inference_latency_seconds histogram
inference_latency_seconds_bucket{{app="nan-latency",le="+Inf"}} {count}
inference_latency_seconds_count{{app="nan-latency"}} {count}
inference_latency_seconds_sum{{app="nan-latency"}} NaN
"""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A service of which one thing is wrong, and what has to be said about it."""

    name: str
    source: str
    status: str
    reason: str
    message: str  # a part of the detail


WRONG = (
    Wrong("no-topic", "kafka", "absent", "TopicNotFound", "there is no topic no-topic at"),
    Wrong("no-group", "kafka", "absent", "GroupNotFound", "there is no consumer group no-group at"),
    Wrong("no-broker", "kafka", "error", "BrokerUnreachable", "check spec.kafka.bootstrapServers"),
    Wrong("no-target", "kubernetes", "absent", "TargetNotFound", "check the name and the namespace"),
    Wrong("no-scale", "kubernetes", "absent", "TargetWithoutScale", "has no /scale subresource"),
    Wrong("no-kind", "kubernetes", "absent", "TargetNotFound", "has no kind Modelserver"),
    Wrong("nan-latency", "prometheus", "error", "MetricInvalid", "sum is nan, which no latency can be"),
)
DEPLOYED = ("no-topic", "no-group", "no-broker", "nan-latency", "recreated")


@dataclass(frozen=True, slots=True)
class Bench:
    """The running controller; its newest row for each scaler by name."""

    running: Scenario
    feed: Feed

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in requests.get(f"{self.running.url}/status", timeout=5).json()}

    def until(
        self, is_so: Callable[[dict[str, dict[str, Any]]], bool], what: str, seconds: float = 40.0
    ) -> dict[str, dict[str, Any]]:
        """The rows of which it is so."""
        end = time.time() + seconds
        rows: dict[str, dict[str, Any]] = {}
        while time.time() < end:
            rows = self.rows()
            if is_so(rows):
                return rows
            time.sleep(0.1)
        told = json.dumps({n: (r["reasons"], r["inputs"]) for n, r in rows.items()}, indent=1)
        raise AssertionError(f"not within {seconds:.0f} s: {what}; the rows:\n{told}")


class Feed:
    """Eight requests a second into a topic, each committed by its group at once, until stopped."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self.each = 0  # messages in each partition
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def make(self, each: int) -> None:
        """Make the topic with so many messages in each partition, all committed."""
        ensure_topic(self.bootstrap, self.topic, PARTITIONS)
        self.each = 0
        self.produce(each)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def produce(self, each: int) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 2})
        for n in range(each * PARTITIONS):
            producer.produce(self.topic, b"x", partition=n % PARTITIONS)
        assert producer.flush(20) == 0
        self.each += each
        places = [TopicPartition(self.topic, p, self.each) for p in range(PARTITIONS)]
        commit(self.admin, self.topic, ConsumerGroupTopicPartitions(self.topic, places))

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self.produce(1)


@pytest.fixture(scope="module")
def nan_target() -> Iterator[str]:
    """host:port of a server whose latency histogram holds NaN."""
    begun = time.time()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = NAN_LATENCY.format(count=int(10 * (time.time() - begun)) + 1).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - overrides

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def bench(lab: Lab, tmp_path_factory: pytest.TempPathFactory, nan_target: str) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bad-input")
    scraped = lab.prometheus.add_targets("nan-latency", [nan_target])
    objects = [deployment(name) for name in DEPLOYED]
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no-scale", "namespace": "default"}})
    done = lab.kubernetes.run(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    assert done.code == 0, done.output
    ensure_topic(lab.kafka.bootstrap, "no-group", PARTITIONS)
    for name in ("no-target", "no-scale", "no-kind", "nan-latency"):
        Feed(lab.kafka.bootstrap, name).make(1)
    feed = Feed(lab.kafka.bootstrap, "recreated")
    feed.make(50)
    feed.start()
    spec = ScenarioSpec(name=HEALTHY, spike=None, past=240.0, replicas=1, mean=20.0, tick=1.0)
    try:
        with Scenario(lab, folder, spec) as running:
            running.send()
            config = folder / HEALTHY / "scalers.yaml"
            every = [yaml.safe_load(config.read_text(encoding="utf-8")), *resources(lab)]
            scratch = config.with_suffix(".new")
            scratch.write_text(yaml.safe_dump_all(every), encoding="utf-8")
            scratch.replace(config)
            made = Bench(running, feed)
            made.until(lambda rows: len(rows) == len(every), "all scalers are taken up")
            yield made
    finally:
        feed.stop()
        scraped.unlink()
        for name in DEPLOYED:
            lab.kubernetes.run("delete", "deployment", name, "--wait=false")


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels, "annotations": pod_annotations(0.5, 1.0, gone_after=1.0)},
        "spec": {"containers": [{"name": "server", "image": "model-server"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template},
    }


def resources(lab: Lab) -> list[dict[str, Any]]:
    """The wrong ones, and the one whose topic is made anew."""
    target: dict[str, dict[str, str]] = {
        "no-scale": {"apiVersion": "v1", "kind": "ConfigMap", "name": "no-scale"},
        "no-kind": {"apiVersion": "apps/v1", "kind": "Modelserver", "name": "no-kind"},
    }
    bootstrap = {"no-broker": f"127.0.0.1:{free_port()}"}
    latency = {"nan-latency": {"prometheus": lab.prometheus.url, "selector": 'app="nan-latency"', "window": "5s"}}
    return [
        {
            "apiVersion": "lagcast.io/v1alpha1",
            "kind": "PredictiveScaler",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "target": target.get(name, {"name": name}),
                "kafka": {
                    "bootstrapServers": bootstrap.get(name, lab.kafka.bootstrap),
                    "topic": name,
                    "consumerGroup": name,
                },
                "objective": {"within": "3s", "share": "99%"},
                "replicas": {"min": 1, "max": 8, "serviceRate": "2", "leadTime": "3s", "scaleInHold": "1s"},
                "forecast": {"history": "0s"},
                "mode": "Enforce",
                **({"latency": latency[name]} if name in latency else {}),
            },
        }
        for name in (*(wrong.name for wrong in WRONG), "recreated")
    ]


def count(lab: Lab, name: str) -> int:
    """The count in the Deployment itself."""
    return int(lab.kubernetes.run("get", "deployment", name, "-o", "jsonpath={.spec.replicas}").output)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_status_and_metrics_name_the_fault(bench: Bench, wrong: Wrong) -> None:
    def alone(rows: dict[str, dict[str, Any]]) -> bool:
        """It is said, and only the one source is at fault."""
        row = rows[wrong.name]
        others = {one["status"] for source, one in row["inputs"].items() if source != wrong.source}
        return wrong.reason in row["reasons"] and others == {"fresh"}

    row = bench.until(alone, f"{wrong.name} says {wrong.reason}, and that all else is fresh")[wrong.name]
    reading = row["inputs"][wrong.source]
    assert (reading["status"], reading["reason"]) == (wrong.status, wrong.reason)
    assert wrong.message in reading["detail"]
    metric = bench.running.metric
    assert metric("lagcast_reason", reason=wrong.reason, namespace="default") == 1


@pytest.mark.parametrize("name", ["no-topic", "no-group", "no-broker", "nan-latency"])
def test_none_is_scaled_in(bench: Bench, lab: Lab, name: str) -> None:
    def ticks() -> float:
        return bench.running.metric("lagcast_tick_seconds_count") or 0.0

    begun = ticks()
    bench.until(lambda _: ticks() >= begun + 5, "five ticks, five times the hold")
    row = bench.rows()[name]
    assert row["desired"] == row["current"] == REPLICAS
    assert count(lab, name) == REPLICAS


def test_the_healthy_one_beside_them_is_scaled_out(bench: Bench, lab: Lab) -> None:
    bench.until(lambda rows: rows[HEALTHY]["current"] > 1, "more than one replica for 20 requests/s at 10 each")
    assert count(lab, HEALTHY) > 1
    row = bench.rows()[HEALTHY]
    assert {one["status"] for one in row["inputs"].values()} <= {"fresh", "absent"}, row["inputs"]
    assert row["inputs"]["kafka"]["status"] == "fresh"


def test_a_topic_made_anew_is_not_read_as_load_gone(bench: Bench, lab: Lab) -> None:
    bench.until(lambda rows: (rows["recreated"]["numbers"]["arrival_rate"] or 0) > 2, "its load is seen")
    bench.feed.stop()
    before = count(lab, "recreated")
    assert before >= REPLICAS
    bench.feed.admin.delete_topics(["recreated"])["recreated"].result(20)
    bench.until(lambda rows: "TopicNotFound" in rows["recreated"]["reasons"], "the topic is gone")
    begun = bench.running.metric("lagcast_tick_seconds_count") or 0.0
    bench.until(
        lambda _: (bench.running.metric("lagcast_tick_seconds_count") or 0.0) >= begun + 5, "five ticks without it"
    )
    assert count(lab, "recreated") >= before, "a topic that is gone is not load that is gone"
    bench.feed.make(1)
    metric = bench.running.metric  # a counter: the reason itself stands for one tick only
    bench.until(
        lambda _: (metric("lagcast_decisions_total", reason="TopicRecreated") or 0.0) >= 1,
        "the topic was made anew with fewer messages",
    )
    lines = [line for line in bench.running.log("controller").splitlines() if "TopicRecreated" in line]
    assert [line for line in lines if "default/recreated" in line], "the log says so, too"
    assert not [line for line in lines if " -> " in line], "and nothing was patched for it"
    bench.until(lambda rows: rows["recreated"]["inputs"]["kafka"]["status"] == "fresh", "it is read again")


def test_no_traceback_and_no_internal_error(bench: Bench) -> None:
    assert bench.running.runs("controller")
    log = bench.running.log("controller")
    assert "Traceback" not in log
    assert "InternalError" not in log
    assert "please report it" not in log
