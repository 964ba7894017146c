"""A scaler of the cluster names files of its own namespace's credentials, or is not run; no path is shown."""

from __future__ import annotations

import copy
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from scaler.api.objects import parse
from scaler.api.predictive_scaler import PredictiveScaler
from scaler.api.status import Refusal
from scaler.api.yamlfile import read_documents
from scaler.resources.credentials import CREDENTIALS, outside
from scaler.resources.declared import Declared, choose, place_of
from tests.configuration.objects import GOOD

OWN = f"{CREDENTIALS}/shop"


def scaler(namespace: str = "shop", **files: str) -> PredictiveScaler:
    made: dict[str, Any] = copy.deepcopy(GOOD)
    made["metadata"]["namespace"] = namespace
    kafka = {key.replace("_", "."): path for key, path in files.items() if key.startswith(("ssl", "sasl"))}
    made["spec"]["kafka"]["properties"] = kafka
    made["spec"]["latency"] |= {"prometheus": "https://p:9090", "access": {}}
    made["spec"]["latency"]["access"] = {key: path for key, path in files.items() if key.endswith("File")}
    read = parse(made)
    assert read.faults == ()
    assert isinstance(read.resource, PredictiveScaler)
    return read.resource


def test_files_of_the_own_namespace() -> None:
    assert outside(scaler(), CREDENTIALS) == ""
    assert (
        outside(scaler(ssl_ca_location=f"{OWN}/kafka/ca.crt", tokenFile=f"{OWN}/prometheus/token"), CREDENTIALS) == ""
    )
    assert outside(scaler(tokenFile="/x/shop/t"), PurePosixPath("/x")) == ""


@pytest.mark.parametrize(
    "path",
    [
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        f"{CREDENTIALS}/other/kafka/password",
        f"{CREDENTIALS}/shopping/password",
        f"{CREDENTIALS}/shop",
        f"{CREDENTIALS}/password",
        f"{OWN}/../other/password",
        f"{OWN}/../../../../var/run/secrets/token",
        f"/{CREDENTIALS}/shop/kafka/password",  # begins with two slashes, which may mean something else
        "/proc/self/environ",
    ],
)
@pytest.mark.parametrize("field", ["tokenFile", "caFile", "ssl_ca_location", "ssl_key_password_file"])
def test_files_elsewhere(path: str, field: str) -> None:
    said = outside(scaler(**{field: path}), CREDENTIALS)
    assert field.replace("_", ".") in said
    assert f"allowed: files below {OWN}" in said
    assert path not in said.replace(f"allowed: files below {OWN}", "")


def test_such_a_scaler_is_not_run_and_takes_no_target_from_another() -> None:
    thief = scaler(tokenFile="/var/run/secrets/kubernetes.io/serviceaccount/token")
    honest = scaler()
    renamed = honest.model_copy(update={"metadata": honest.metadata.model_copy(update={"name": "other"})})
    made = [
        Declared(place_of(one), created, one, (), {})
        for one, created in ((thief, "2026-01-01T00:00:00Z"), (renamed, "2026-01-02T00:00:00Z"))
    ]
    choice = choose(made)
    assert [one.metadata.name for one in choice.run] == ["other"]
    (refused,) = choice.refused
    assert refused.reason is Refusal.CREDENTIALS_REFUSED
    assert "spec.latency.access.tokenFile" in refused.text
    assert choose(made[:1], PurePosixPath("/var")).refused != ()


def test_the_examples_of_the_page_are_right_and_of_their_own_namespace() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    fragments = [f for f in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if f.startswith("spec:")]
    assert len(fragments) == 2
    for fragment in fragments:
        (given,) = read_documents(fragment.encode())
        assert isinstance(given, dict)
        item = copy.deepcopy(GOOD)
        item["metadata"]["namespace"] = "shop"
        item["spec"] |= given["spec"]
        read = parse(item)
        assert read.faults == ()
        assert isinstance(read.resource, PredictiveScaler)
        assert outside(read.resource, CREDENTIALS) == ""
        assert "/shop/" in fragment
