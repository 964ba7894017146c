"""A wrong file is refused whole; the message names file, object and field, what was found and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.api.config import MOST_BYTES, load
from scaler.errors import ConfigError
from tests.configuration.objects import WRONG, spoil

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        load(path)
    message = str(refused.value)
    assert message
    assert all(line.startswith(f"{path}: ") for line in message.splitlines())
    return message


@pytest.mark.parametrize(
    ("field", "value", "pieces"),
    WRONG,
)
def test_one_wrong_field(resource: Make, write: Write, field: str, value: object, pieces: list[str]) -> None:
    message = refusal(write(spoil(resource(), field, value)))
    for piece in pieces:
        assert piece in message
    assert "; allowed" in message or "must be given" in message or "needed by" in message
    if field not in ("metadata.name", "metadata.namespace"):
        assert "PredictiveScaler default/chat: " in message


def test_all_errors_of_a_file_come_at_once_one_line_each(resource: Make, write: Write) -> None:
    first = resource({"spec.replicas.min": 11, "spec.objective.share": 1.5, "spec.kafka.foo": 1})
    second = resource({"metadata.name": "other", "spec.mode": "On"})
    third = resource({"metadata.name": "fine", "spec.target.name": "fine"})
    lines = refusal(write(first, second, third)).splitlines()
    assert len(lines) == 4
    assert sum("default/chat: " in line for line in lines) == 3
    assert sum("default/other: spec.mode: " in line for line in lines) == 1


def test_an_object_without_a_name_is_named_by_its_position(resource: Make, write: Write) -> None:
    nameless = resource({"metadata": {}})
    assert "object 2: metadata.name: found nothing" in refusal(write(resource(), nameless))


def test_the_same_name_twice(resource: Make, write: Write) -> None:
    message = refusal(write(resource(), resource({"spec.target.name": "other"})))
    assert "default/chat: metadata.name: found a second time; allowed: once in a namespace" in message


@pytest.mark.parametrize("version", ["apps/v1", "apps/v1beta1"])
def test_two_scalers_on_one_target(resource: Make, write: Write, version: str) -> None:
    other = resource({"metadata.name": "other", "spec.target.apiVersion": version})
    message = refusal(write(resource(), other))
    assert "default/other: spec.target: found Deployment default/chat, which PredictiveScaler default/chat" in message


def test_two_scalers_with_one_uid(resource: Make, write: Write) -> None:
    twins = [resource({"metadata.name": n, "metadata.uid": "u-1", "spec.target.name": n}) for n in ("a", "b")]
    assert "default/b: metadata.uid: found that of PredictiveScaler default/a" in refusal(write(*twins))


@pytest.mark.parametrize(
    ("secret", "changes"),
    [
        ("hunter2", {"spec.kafka.properties": {"sasl.password": "hunter2"}}),
        ("hunter2", {"spec.kafka.properties": {"sasl.password.file": "hunter2"}}),
        ("hunter2", {"spec.kafka.password": "hunter2"}),
        ("hunter2", {"spec.latency.prometheus": "https://me:hunter2@prometheus"}),
        ("hunter2", {"spec.kafka.bootstrapServers": "me:hunter2@kafka:9092"}),
        ("hunter2", {"spec.kafka.properties": {"ssl.key.password.file": ["hunter2"]}}),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(
    resource: Make, write: Write, secret: str, changes: dict[str, object]
) -> None:
    assert secret not in refusal(write(resource(changes)))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ["found no object; allowed: one or more of lagcast.io/v1alpha1 PredictiveScaler"]),
        ("# nothing\n---\n---\n", ["found no object"]),
        ("[]", ["found no object"]),
        ("kind: List\nitems: []\n", ["found no object"]),
        ("kind: List\n", ["object 1: apiVersion: found nothing (null)", 'kind: found "List"']),
        ("just text", ['object 1: found "just text"; allowed: an object of']),
        ("[1, two]", ["object 1: found the number 1", 'object 2: found "two"']),
        ("a: [1\nb: 2", ["line 2", "column"]),
        ("a: 1\na: 2\n", ["line 2, column 1: the key 'a' stands twice in one mapping"]),
        ("a:\n  b: {c: 1, c: 2}\n", ["line 2", "the key 'c' stands twice"]),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", ["line 3", "merge keys are not allowed"]),
        ("{a: 1}: 2\n", ["line 1", "a key must be a plain string"]),
        ("a: !!python/object:os.system x\n", ["line 1", "could not determine a constructor"]),
        ("password: !hunter2 x\n", ["line 1", "'...'"]),
        ("password: *hunter2\n", ["line 1", "undefined alias"]),
        ("a: " + "9" * 5000, ["found a number that cannot be read"]),
        ("a: \x07\n", ["line 1: found a character that YAML does not allow (#x0007)"]),
        ("\ta: 1\n", ["line 1"]),
        ("[" * 20_000, ["found too many levels of nesting"]),
    ],
)
def test_a_file_that_is_not_what_it_should_be(write: Write, text: str, pieces: list[str]) -> None:
    message = refusal(write(text))
    for piece in pieces:
        assert piece in message
    assert "hunter2" not in message


def test_bytes_that_are_not_utf8(write: Write) -> None:
    assert "line 2: found bytes that are not UTF-8" in refusal(write(b"a: 1\nb: \xff\xfe\n"))


def test_a_file_that_is_too_large(write: Write) -> None:
    assert "found more than 4 MiB; allowed: a smaller file" in refusal(write("#" * (MOST_BYTES + 1)))


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in refusal(tmp_path / "missing.yaml")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_a_setting_whose_name_cannot_be_printed_is_refused_on_one_line(resource: Make, write: Write) -> None:
    message = refusal(write(resource({"spec.kafka.properties": {"\x1e": ""}})))
    assert message.splitlines() == [message]
    assert "properties.\\x1e: found an unknown setting" in message


def test_a_message_has_an_end(resource: Make, write: Write) -> None:
    many = [resource({"metadata.name": f"s{i}", "spec.target.name": f"s{i}", "spec.mode": "?"}) for i in range(250)]
    lines = refusal(write(many)).splitlines()
    assert len(lines) == 201
    assert lines[-1].endswith("and 50 more")


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "metadata.name", "metadata.uid", "metadata.labels", "spec.target.kind", "spec.kafka.properties", "spec.kafka.topic",
    "spec.latency.selector", "spec.latency.prometheus", "spec.objective.within", "spec.objective.share",
    "spec.replicas.max", "spec.replicas.serviceRate", "spec.forecast", "spec.mode", "spec.replicas.unknown",
]  # fmt: skip


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.sampled_from(FIELDS), JSONISH)
def test_any_value_in_any_field_is_read_or_refused_never_a_traceback(
    resource: Make, write: Write, field: str, value: object
) -> None:
    path = write(resource({field: value}))
    try:
        (scaler,) = load(path)
    except ConfigError as refused:
        message = str(refused)
    else:
        assert scaler.spec.replicas.max >= scaler.spec.replicas.min
        return
    assert all(line.startswith(f"{path}: ") for line in message.splitlines())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text("-:[]{}&*!|>'\"%@`#?, \n\tab01", max_size=40))
def test_any_bytes_are_refused_never_a_traceback(write: Write, content: bytes | str) -> None:
    path = write(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError):
        load(path)
