"""A new configuration while the controller runs: what was learned stays where it holds, a fault changes nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.errors import ConfigError
from scaler.plan.service import Service
from scaler.resources.file import ConfigFile
from tests.controller.tick_bench import Bench, Fixed, resource


def changed(part: str, **to: Any) -> PredictiveScaler:
    """The scaler ``chat`` with other values in one part of its spec."""
    dumped = resource().model_dump(by_alias=True, mode="json", exclude_none=True)
    dumped["spec"][part] |= to
    return PredictiveScaler.model_validate(dumped)


def planned(factor: str) -> PredictiveScaler:
    """The scaler ``chat`` with a planned event."""
    dumped = resource().model_dump(by_alias=True, mode="json", exclude_none=True)
    event = {"name": "sale", "begin": "2026-11-27T09:00", "end": "2026-11-27T18:00", "factor": factor}
    return PredictiveScaler.model_validate(dumped | {"spec": {**dumped["spec"], "plannedEvents": [event]}})


@pytest.mark.parametrize(
    "new",
    [
        changed("kafka", topic="topic-other"),
        changed("kafka", bootstrapServers="two:9092"),
        changed("kafka", consumerGroup="group-other"),
        changed("target", name="other"),
        changed("forecast", season="12h"),
        changed("forecast", timeZone="Europe/Berlin"),
        changed("forecast", holidays=[{"date": "2026-12-25"}]),
        changed("replicas", schedule=[{"name": "night", "end": "06:00", "max": 5}]),
        changed("fallback", policy="reactive"),
        planned("2.0"),
        changed("objective", within="20s"),
    ],
)
def test_another_topic_cluster_group_or_target_is_planned_for_from_the_start(new: PredictiveScaler) -> None:
    b = Bench({"chat": 9})
    b.controller.configure([resource()])
    b.controller.configure([new])
    assert len(b.policies["chat"]) == 2


def test_other_credentials_or_another_mode_forget_nothing() -> None:
    b = Bench({"chat": 9})
    b.controller.configure([resource()])
    b.controller.configure([changed("kafka", properties={"security.protocol": "SSL"})])
    assert len(b.policies["chat"]) == 1
    b.controller.configure([resource(mode="Recommend")])
    assert len(b.policies["chat"]) == 1


class Running:
    """A controller that runs with a file of two scalers."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench({"a": 9, "b": 4})
        self.path = folder / "scalers.yaml"
        self.write(resource("a"))
        self.bench.controller.configure([resource("a")])
        self.file = ConfigFile(self.path, b"", self.bench.controller, self.bench.telemetry)
        self.file.check()
        assert self.valid() == 1

    def write(self, *resources: PredictiveScaler) -> None:
        dumped = [one.model_dump(by_alias=True, mode="json", exclude_none=True) for one in resources]
        self.path.write_text("\n---\n".join(json.dumps(one) for one in dumped))

    def valid(self) -> float | None:
        return self.bench.telemetry.registry.get_sample_value("lagcast_config_valid")


@pytest.mark.parametrize(
    ("error", "said"),
    [(ConfigError("policy x: no batches"), "policy x: no batches"), (ValueError("hunter2"), "ValueError in ")],
)
def test_a_policy_that_refuses_a_resource_keeps_the_running_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    running = Running(tmp_path)
    controller = running.bench.controller
    make = controller._make_policy

    def refuse(scaler: PredictiveScaler, service: Service) -> Fixed:
        if scaler.metadata.name == "b":
            raise error
        return make(scaler, service)  # type: ignore[return-value]

    monkeypatch.setattr(controller, "_make_policy", refuse)
    running.write(resource("b"), resource("a", max=20))
    with caplog.at_level(logging.ERROR):
        running.file.check()
    assert "the running configuration is kept: " + said in caplog.text
    assert "hunter2" not in caplog.text
    assert running.valid() == 0
    rows = controller.tick()
    assert [r.resource.spec.replicas.max for r in rows.values()] == [30]
    monkeypatch.setattr(controller, "_make_policy", make)
    running.write(resource("b"), resource("a"))
    running.file.check()
    assert running.valid() == 1
    assert len(controller.tick()) == 2
