"""Kafka's certificates and keys: of a rotated one another client is made, and what cannot be read is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaler.observe.kafka import KafkaOffsets
from scaler.observe.kafka_client import Fault, certificates
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness
from scaler.plan.reasons import Reason


def test_another_digest_when_a_file_holds_something_else(tmp_path: Path) -> None:
    paths = {"ssl.ca.location": tmp_path / "ca.crt", "ssl.key.location": tmp_path / "tls.key"}
    for path in paths.values():
        path.write_text("first")
    config = {"security.protocol": "SSL", **{key: str(path) for key, path in paths.items()}}
    first = certificates(config)
    assert certificates(config) == first
    paths["ssl.key.location"].write_text("second")
    assert certificates(config) != first
    assert certificates({"sasl.password.file": str(tmp_path / "absent")}) == b""
    paths["ssl.ca.location"].unlink()
    with pytest.raises(Fault, match=r"ssl\.ca\.location in spec\.kafka\.properties \(No such file") as refused:
        certificates(config)
    assert str(tmp_path) not in refused.value.detail


def test_it_is_the_reading_that_says_so(tmp_path: Path) -> None:
    config = {"bootstrap.servers": "127.0.0.1:9", "security.protocol": "SSL", "ssl.ca.location": str(tmp_path / "x")}
    source = KafkaOffsets(config, timeout=1.0)
    one = GroupTopic("g", "t")
    reading = source.sample(1.0, [one])[one]
    source.close()
    assert (reading.freshness, reading.reason) == (Freshness.ERROR, Reason.INPUT_ERROR)
    assert "ssl.ca.location in spec.kafka.properties" in reading.detail
