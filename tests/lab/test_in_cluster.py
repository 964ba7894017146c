"""The demo's service and its load, as the pods of manifests/overlays/demo start them, on the lab's broker."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import requests
from confluent_kafka import Consumer, TopicPartition

from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from simulations.lab.process import Mark, end, find, spawn

pytestmark = pytest.mark.lab

NAME, PARTITIONS = "in-cluster", 4


def begin(lab: Lab, folder: Path, command: str, *options: str) -> Mark:
    env = {"KAFKA_BOOTSTRAP": lab.kafka.bootstrap, "KAFKA_TOPIC": NAME, "KAFKA_GROUP": NAME}
    program = [sys.executable, "-m", "simulations.lab.in_cluster", command, *options]
    return spawn(program, log=folder / f"{command}.log", directory=folder, env=env)


def ends(lab: Lab) -> int:
    """Messages in the topic."""
    consumer = Consumer({"bootstrap.servers": lab.kafka.bootstrap, "group.id": "looks", "log_level": 2})
    try:
        return sum(consumer.get_watermark_offsets(TopicPartition(NAME, p), timeout=10)[1] for p in range(PARTITIONS))
    finally:
        consumer.close()


def served(port: int) -> float:
    """Requests served, by its own metrics; -1 while it does not answer."""
    try:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
    except requests.RequestException:
        return -1.0
    lines = (line for line in text.splitlines() if line.startswith("inference_latency_seconds_count"))
    return float(next(lines).split()[-1])


def test_the_past_is_not_served_and_what_comes_is(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    started = []
    try:
        worker = begin(lab, tmp_path, "serve", "--loading=1s", "--service-time=20ms", f"--port={port}")
        started.append(worker)
        time.sleep(3)
        assert served(port) == -1, "it is Ready before the load has begun"
        load = begin(lab, tmp_path, "load", f"--partitions={PARTITIONS}", "--mean=20", "--past=2m", "--every=10m")
        started.append(load)
        until = time.monotonic() + 45
        while served(port) < 60:
            assert time.monotonic() < until, [p.read_text(encoding="utf-8") for p in tmp_path.glob("*.log")]
            time.sleep(0.5)
        past = 120 * 20
        assert served(port) < ends(lab) - 0.8 * past, "the past was served, too"
        for mark, kind in ((load, "load"), (worker, "serve")):
            assert end(mark, 10.0)
            assert find(mark) is None
            assert "Traceback" not in (tmp_path / f"{kind}.log").read_text(encoding="utf-8")
        before = ends(lab)
        again = begin(lab, tmp_path, "load", f"--partitions={PARTITIONS}", "--mean=20", "--past=2m", "--every=10m")
        started.append(again)
        time.sleep(4)
        assert ends(lab) < before + past / 2, "the past was written twice"
    finally:
        for mark in started:
            end(mark, 10.0)
