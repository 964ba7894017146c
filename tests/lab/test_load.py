"""Load into a real broker: each message when it is due, the past in the past, keys where they belong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from forecasting.series import Series
from simulations.lab.keys import Keys
from simulations.lab.load_run import BUNCH, LoadRun, Sent
from simulations.lab.measure import read_produced
from tests.lab.quiet import quietest

pytestmark = pytest.mark.lab


def steady(rate: float, seconds: float) -> Series:
    return Series(0.0, 1.0, np.full(math.ceil(seconds), rate))


def named(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def messages(bootstrap: str, topic: str) -> list[Any]:
    """All messages of a topic, partition by partition."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": False}
    consumer = Consumer(settings)
    read: list[Any] = []
    try:
        parts = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p))[1] for p in parts}
        consumer.assign([TopicPartition(topic, p, 0) for p in parts])
        end = time.monotonic() + 20
        while len(read) < sum(ends.values()):
            assert time.monotonic() < end, f"read {len(read)} of {sum(ends.values())}"
            read += consumer.consume(10_000, 0.5)
    finally:
        consumer.close()
    return sorted(read, key=lambda m: (m.partition(), m.offset()))


def test_rates_are_poisson_and_nothing_is_sent_late_or_in_bunches(lab: Any) -> None:
    def send() -> tuple[str, float, Sent]:
        topic = named("steady")
        run = LoadRun(lab.kafka.bootstrap, topic, steady(100.0, 60.0), partitions=4, seed=1)
        return topic, time.time(), run.run(threading.Event(), duration=10.0)

    # A machine that stands still for a tenth of a second makes ten of them late.
    topic, begun, sent = quietest(send, lambda seen: seen[2].late <= 0.01 * seen[2].messages)
    read = messages(lab.kafka.bootstrap, topic)
    stamps = np.array(sorted(m.timestamp()[1] / 1000 for m in read))
    assert len(read) == sent.messages
    assert sent.failed == 0
    assert sent.messages == pytest.approx(1000, abs=4 * math.sqrt(1000))
    assert begun <= stamps[0]
    assert stamps[-1] <= begun + 10.1
    per_second = np.histogram(stamps, bins=10, range=(begun, begun + 10))[0]
    assert abs(per_second - 100).max() <= 5 * math.sqrt(100)
    # Two cores are shared with the servers: nearly all messages leave at once, and none much later.
    assert sent.late_p50 is not None
    assert sent.late_p50 < 0.005
    assert sent.late <= 0.01 * sent.messages, f"{sent.late} of {sent.messages} later than {BUNCH} s: {sent}"
    values = [json.loads(m.value()) for m in read]
    assert len({v["id"] for v in values}) == sent.messages
    for message, value in zip(read, values, strict=True):
        assert message.timestamp()[1] == pytest.approx(value["due"] * 1000, abs=1.1)


def test_the_past_is_seen_at_its_timestamps_and_the_present_goes_on_from_it(lab: Any) -> None:
    topic = named("past")
    # 10 requests/s, with 60/s in one minute that lies 10 minutes back.
    rates = np.full(3600, 10.0)
    rates[20 * 60 : 21 * 60] = 60.0
    run = LoadRun(lab.kafka.bootstrap, topic, Series(0.0, 1.0, rates), partitions=3, seed=2)
    past = run.write_past(1800.0)
    assert past.seconds < 1830.0
    live = run.run(threading.Event(), duration=3.0)
    assert run.anchor is not None
    admin = AdminClient({"bootstrap.servers": lab.kafka.bootstrap})

    def position(second: float) -> int:
        """Messages before this second of the load, over all partitions."""
        moment = OffsetSpec.for_timestamp(int((run.anchor + second) * 1000))
        asked = {TopicPartition(topic, p): moment for p in range(3)}
        return sum(future.result().offset for future in admin.list_offsets(asked).values())

    # Between the ramps, which last one step.
    spike = position(21 * 60 - 1) - position(20 * 60 + 1)
    before = position(20 * 60 - 1) - position(18 * 60)
    assert spike == pytest.approx(58 * 60, abs=4 * math.sqrt(58 * 60))
    assert before == pytest.approx(119 * 10, abs=4 * math.sqrt(119 * 10))
    read = messages(lab.kafka.bootstrap, topic)
    assert len(read) == past.messages + live.messages
    for number in range(3):
        stamps = [m.timestamp()[1] for m in read if m.partition() == number]
        assert stamps == sorted(stamps), "timestamps run backwards"
    gaps = np.diff(sorted(m.timestamp()[1] / 1000 for m in read))
    assert gaps.max() < 2.5, "past and present are one load, without a hole between them"


def test_a_past_can_be_written_only_first(lab: Any) -> None:
    run = LoadRun(lab.kafka.bootstrap, named("order"), steady(10.0, 60.0), partitions=1)
    with pytest.raises(ValueError, match="does not fit"):
        run.write_past(61.0)
    run.run(threading.Event(), duration=0.2)
    with pytest.raises(RuntimeError, match="only once"):
        run.write_past(10.0)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (Keys(1024), [0.125] * 8),
        (Keys(1024, hot=0.5), [0.5625] + [0.0625] * 7),
    ],
)
def test_keys_skew_the_partitions(lab: Any, keys: Keys, expected: list[float]) -> None:
    topic = named("keys")
    run = LoadRun(lab.kafka.bootstrap, topic, steady(500.0, 60.0), partitions=8, keys=keys, seed=3)
    sent = run.write_past(20.0)
    produced = read_produced(lab.kafka.bootstrap, topic)
    shares = np.bincount(produced.partition, minlength=8) / sent.messages
    assert len(produced.offset) == sent.messages
    assert shares == pytest.approx(expected, abs=4 * math.sqrt(0.25 / sent.messages))


def test_a_key_always_goes_to_one_partition(lab: Any) -> None:
    topic = named("sticky")
    keys = Keys(64, zipf=1.0)
    LoadRun(lab.kafka.bootstrap, topic, steady(200.0, 20.0), partitions=5, keys=keys).write_past(10.0)
    homes: dict[bytes, set[int]] = {}
    for message in messages(lab.kafka.bootstrap, topic):
        homes.setdefault(message.key(), set()).add(message.partition())
    assert len(homes) > 32
    assert {len(home) for home in homes.values()} == {1}


def test_a_missing_topic_is_made_only_when_asked_and_never_with_another_number(lab: Any) -> None:
    topic = named("missing")
    with pytest.raises(KafkaException, match="Unknown topic"):
        LoadRun(lab.kafka.bootstrap, topic, steady(1.0, 1.0))
    assert LoadRun(lab.kafka.bootstrap, topic, steady(1.0, 1.0), partitions=2).partitions == 2
    assert LoadRun(lab.kafka.bootstrap, topic, steady(1.0, 1.0)).partitions == 2
    with pytest.raises(ValueError, match="exists with 2 partitions, not 3"):
        LoadRun(lab.kafka.bootstrap, topic, steady(1.0, 1.0), partitions=3)


def test_reading_from_a_time_reads_only_what_is_younger(lab: Any) -> None:
    topic = named("since")
    run = LoadRun(lab.kafka.bootstrap, topic, steady(50.0, 60.0), partitions=3, seed=5)
    run.write_past(30.0)
    assert run.anchor is not None
    everything = read_produced(lab.kafka.bootstrap, topic)
    since = run.anchor + 20.0
    young = read_produced(lab.kafka.bootstrap, topic, start=since)
    assert len(young.arrival) == int((everything.arrival >= since - 0.001).sum())
    assert young.arrival.min() >= since - 0.001
    assert len(read_produced(lab.kafka.bootstrap, topic, start=run.anchor + 3600.0).arrival) == 0


def test_ctrl_c_flushes_and_reports(lab: Any) -> None:
    topic = named("interrupted")
    command = [
        sys.executable, "-c", "from scaler.cli.main import main; main()", "lab", "load",
        "--bootstrap", lab.kafka.bootstrap, "--topic", topic, "--partitions", "2",
        "--mean", "50", "--amplitude", "0", "--past", "5s", "-o", "json",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while not _there(lab.kafka.bootstrap, topic, 400):
            assert time.monotonic() < deadline, "the load never came up"
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=15)
    assert process.returncode == 130, err
    report = json.loads(out)
    assert report["past"]["messages"] + report["live"]["messages"] == len(messages(lab.kafka.bootstrap, topic))
    assert report["live"]["finished"] is False
    assert "Traceback" not in err


def _there(bootstrap: str, topic: str, count: int) -> bool:
    try:
        return len(read_produced(bootstrap, topic).offset) >= count
    except KafkaException:
        return False
