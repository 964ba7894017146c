"""Settings, secrets and errors of the Kafka client, without a broker."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from scaler.observe import kafka_client
from scaler.observe.kafka import KafkaOffsets
from scaler.observe.kafka_client import Client, Fault, redact, resolve
from scaler.observe.ports import GroupTopic
from scaler.plan.observation import Freshness, Reading, TopicOffsets
from scaler.plan.reasons import Reason

ONE = GroupTopic("workers", "chat")
NOBODY = "127.0.0.1:9"


def sample(config: dict[str, str], timeout: float = 0.3) -> Reading[TopicOffsets]:
    source = KafkaOffsets({"bootstrap.servers": NOBODY, **config}, timeout)
    try:
        return source.sample(time.time(), [ONE])[ONE]
    finally:
        source.close()


def test_a_file_holds_the_value_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("two words \n")
    settings, secrets = resolve({"sasl.password.file": str(tmp_path / "password"), "sasl.mechanism": "PLAIN"})
    assert settings["sasl.password"] == "two words "
    assert "sasl.password.file" not in settings
    assert secrets == {"two words "}


def test_a_path_is_no_secret() -> None:
    assert resolve({"ssl.key.location": "/keys/tls.key", "ssl.ca.location": "/keys/ca.crt"})[1] == frozenset()


def test_a_file_that_is_not_there_is_named_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"sasl\.password\.file.*No such file"):
        resolve({"sasl.password.file": str(tmp_path / "absent")})


def test_a_file_that_is_no_text_shows_nothing_of_itself(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\xfehunter2")
    with pytest.raises(Fault) as caught:
        resolve({"sasl.password.file": str(tmp_path / "password")})
    assert "hunter2" not in caught.value.detail
    assert caught.value.__cause__ is None


def test_the_longest_secret_is_struck_out_first() -> None:
    assert redact("pass password", ["pass", "password"]) == "*** ***"


def test_a_secret_that_is_mounted_late_is_taken_up(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    config = {
        "bootstrap.servers": NOBODY,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username.file": str(secret),
        "sasl.password.file": str(secret),
    }
    source = KafkaOffsets(config, 0.2)
    before = source.sample(time.time(), [ONE])[ONE]
    secret.write_text("hunter2")
    after = source.sample(time.time(), [ONE])[ONE]
    source.close()
    assert before.reason is Reason.INPUT_ERROR
    assert "mounted Secret" in before.detail
    assert after.reason is Reason.BROKER_UNREACHABLE


@pytest.mark.parametrize(
    "config",
    [
        {"security.protocol": "hunter2"},
        {"no.such.setting": "hunter2"},
        {"security.protocol": "ssl", "ssl.key.pem": "hunter2"},
    ],
)
def test_settings_that_the_client_refuses_are_an_error_not_an_exception(config: dict[str, str]) -> None:
    reading = sample(config)
    assert reading.freshness is Freshness.ERROR
    assert reading.reason is Reason.INPUT_ERROR
    assert "spec.kafka.properties" in reading.detail
    if "ssl.key.pem" in config:
        assert "hunter2" not in reading.detail


def test_nobody_listens_says_where_and_what_to_check() -> None:
    begun = time.monotonic()
    reading = sample({})
    assert time.monotonic() - begun < 1.0
    assert reading.freshness is Freshness.ERROR
    assert reading.reason is Reason.BROKER_UNREACHABLE
    assert NOBODY in reading.detail
    assert "spec.kafka.bootstrapServers" in reading.detail


def test_a_history_without_a_broker_fails_as_soon_as_a_sample_does() -> None:
    source = KafkaOffsets({"bootstrap.servers": NOBODY}, 0.3, history_timeout=60.0)
    begun = time.monotonic()
    reading = source.history("chat", 0.0, 6000.0, 60.0)
    source.close()
    assert time.monotonic() - begun < 2.0
    assert reading.reason is Reason.BROKER_UNREACHABLE


def test_a_step_that_makes_no_sense_is_the_callers_mistake() -> None:
    source = KafkaOffsets({"bootstrap.servers": NOBODY}, 0.3)
    with pytest.raises(ValueError, match="step"):
        source.history("chat", 0.0, 10.0, 0.0)
    source.close()


def test_clients_that_may_owe_for_ever_end_the_process_once_there_is_no_room_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_up: list[bool] = []
    source = KafkaOffsets({"bootstrap.servers": NOBODY}, 0.1, give_up=lambda: given_up.append(True))
    source.sample(time.time(), [ONE])
    client = source._sampling._client
    assert client is not None
    never: Future[None] = Future()
    client.settle([never], 0.0)
    kept: list[object] = [client] * 7
    monkeypatch.setattr(kafka_client, "_retired", kept)
    assert not client.stuck, "another may still take its place"
    kept.append(client)
    reading = source.sample(time.time(), [ONE])[ONE]
    assert (given_up, reading.freshness) == ([True], Freshness.ERROR)
    never.set_result(None)
    source.close()


def test_what_nobody_waits_for_keeps_a_client_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "_retired", [])
    client = Client(*resolve({"bootstrap.servers": NOBODY}))
    late: Future[None] = Future()
    client.leave([late])
    assert not client.owes()
    assert not client.spent
    assert client.replaceable(0.0)
    client.retire()
    assert kafka_client._retired == [client], "destroyed now, it would meet the answer"
    late.set_result(None)
    kafka_client.bury()
    assert kafka_client._retired == []


def test_a_group_whose_turn_did_not_come_is_told_as_such_and_not_as_an_outage() -> None:
    settings, secrets = resolve({"bootstrap.servers": NOBODY})
    client = Client(settings, secrets)
    fault = client.prove({"workers": "chat"}, lambda: -0.4)["workers"]
    assert fault.reason is Reason.INPUT_ERROR
    assert "workers was not asked for yet" in fault.detail
    assert "-0.4" not in fault.detail
    client.retire()


def test_a_refusal_in_or_after_the_handshake_is_one_of_the_certificates() -> None:
    client = Client(*resolve({"bootstrap.servers": NOBODY}))
    real, client.admin = client.admin, SimpleNamespace(poll=lambda _: 0)  # which would tell what it met itself
    said = "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42"
    within = "error:0A000086:SSL routines::certificate verify failed (after 2ms in state SSL_HANDSHAKE)"
    settings = "ssl.* settings in spec.kafka.properties"
    for error, remedy in ((said, settings), (within, settings), ("refused", "bootstrapServers")):
        client._trouble.last = (KafkaError._TRANSPORT, error)
        assert remedy in client.fault(TimeoutError(), "the cluster", 1.0).detail
    client.admin = real
    client.retire()


@pytest.mark.parametrize("rotated", ["password", "ca.crt"])
def test_what_is_rotated_is_taken_up_by_a_client_that_never_got_in(tmp_path: Path, rotated: str) -> None:
    """It is owed an answer that cannot come any more (a certificate), or comes with the new password."""
    for name in ("username", "password", "ca.crt"):
        (tmp_path / name).write_text("old")
    config = {
        "bootstrap.servers": NOBODY,
        "sasl.mechanism": "SCRAM-SHA-512",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.username.file": str(tmp_path / "username"),
        "sasl.password.file": str(tmp_path / "password"),
        "ssl.ca.location": str(tmp_path / "ca.crt"),
    }
    source = KafkaOffsets(config, 0.1)
    source.sample(time.time(), [ONE])
    first = source._sampling._client
    assert first is not None
    assert first.owes()
    told: list[tuple[str, str]] = []
    real = first.admin  # kept: with it went what is owed
    first.admin = SimpleNamespace(poll=lambda _: 0, set_sasl_credentials=lambda *login: told.append(login))
    (tmp_path / rotated).write_text("new")
    source.sample(time.time(), [ONE])
    assert told == ([("old", "new")] if rotated == "password" else [])
    assert (source._sampling._client is first) == (rotated == "password"), "until its answer has come"
    first.admin = real
    source.close()
