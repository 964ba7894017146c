"""`lagcast backtest --from-kafka`: what a real broker remembers of a topic is what models are scored on."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from simulations.commands.backtest import backtest
from simulations.lab.lab import Lab
from simulations.lab.topics import ensure_topic
from tests.lab.minutes import newest_whole_minute

pytestmark = pytest.mark.lab

MINUTES, PER_MINUTE = 90, 120
RESOURCE = """
apiVersion: lagcast.io/v1alpha1
kind: PredictiveScaler
metadata: {{name: chat, namespace: prod}}
spec:
  target: {{name: chat}}
  kafka: {{bootstrapServers: "{bootstrap}", topic: {topic}, consumerGroup: {topic}}}
  objective: {{within: 10s, share: "99%"}}
  replicas: {{min: 1, max: 30, serviceRate: "1", serviceTime: 200ms, leadTime: 1m}}
  forecast: {{season: 30m, history: 1h}}
"""


def test_the_topic_s_past_is_forecast(lab: Lab, tmp_path: Path) -> None:
    bootstrap = lab.kafka.bootstrap
    topic = f"past-{uuid.uuid4().hex[:8]}"
    ensure_topic(bootstrap, topic, 2)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50})
    last = newest_whole_minute()
    for minute in range(MINUTES):
        for k in range(PER_MINUTE):
            at = last - 60 * (MINUTES - minute) + k / 2
            producer.produce(topic, b"x", partition=k % 2, timestamp=round(at * 1000))
        producer.poll(0)
    assert producer.flush(30) == 0
    config = tmp_path / "chat.yaml"
    config.write_text(RESOURCE.format(bootstrap=bootstrap, topic=topic))
    words = ["--from-kafka", "--config", str(config), "--score", "20m", "--history", "60m", "--horizon", "5m"]
    result = CliRunner().invoke(backtest, [*words, "--every", "2m", "-o", "json", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    rows = {row["model"]: row for row in json.loads(result.stdout)["rows"]}
    # Two a second, always: known to every model within the noise that counts would have.
    assert rows["naive"]["bias"] == pytest.approx(0, abs=0.1)
    assert 0 < rows["competition"]["pinball"] < 0.3
    assert (tmp_path / "out" / "backtest.png").stat().st_size > 1000
