"""`lagcast simulate --from-kafka`: what a real broker remembers of a topic is the load."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from simulations.commands.simulate import simulate
from simulations.lab.lab import Lab
from simulations.lab.topics import ensure_topic
from tests.lab.minutes import newest_whole_minute

pytestmark = pytest.mark.lab

PARTITIONS, MINUTES = 4, 100
RESOURCE = """
apiVersion: lagcast.io/v1alpha1
kind: PredictiveScaler
metadata: {{name: chat, namespace: prod}}
spec:
  target: {{name: chat}}
  kafka: {{bootstrapServers: "{bootstrap}", topic: {topic}, consumerGroup: {topic}}}
  objective: {{within: 10s, share: "99%"}}
  replicas: {{min: 1, max: 30, serviceRate: "1", serviceTime: 200ms, leadTime: 1m}}
  forecast: {{season: 1h, history: 1h}}
"""


def test_the_topic_s_past_is_simulated(lab: Lab, tmp_path: Path) -> None:
    bootstrap = lab.kafka.bootstrap
    topic = f"past-{uuid.uuid4().hex[:8]}"
    ensure_topic(bootstrap, topic, PARTITIONS)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50})
    last = newest_whole_minute()
    for minute in range(MINUTES):
        # 4 requests/s, and 6 in the last half an hour: more than the four consumers that can have work.
        for k in range(360 if minute >= MINUTES - 30 else 240):
            at = last - 60 * (MINUTES - minute) + k / 10
            producer.produce(topic, b"x", partition=k % PARTITIONS, timestamp=round(at * 1000))
        producer.poll(0)
    assert producer.flush(30) == 0
    config = tmp_path / "chat.yaml"
    config.write_text(RESOURCE.format(bootstrap=bootstrap, topic=topic))
    words = ["--from-kafka", "--config", str(config), "--score", "20m", "--policy", "hpa_rate", "-o", "json"]
    result = CliRunner().invoke(simulate, words)
    assert result.exit_code == 0, result.output
    (service,) = json.loads(result.stdout)["services"]
    assert service["requests"] == pytest.approx(20 * 360, rel=0.05)
    # The broker knows how many partitions there are, and they bind: 6 requests/s find at most 4 consumers with work.
    assert service["attainment"] < 0.5
