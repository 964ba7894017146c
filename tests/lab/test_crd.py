"""The definitions on a real API server: what it refuses and takes is what `lagcast validate` refuses and takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from scaler.api.crd import POOL, SCALER, documents
from scaler.api.crd import Kind as Definition
from scaler.api.objects import parse
from scaler.cli.crd import crd
from scaler.cli.validate import validate
from scaler.kube import Answer, KubeClient, connect
from simulations.lab.lab import Lab
from tests.configuration.objects import GOOD, RIGHT, RIGHT_POOLS, WRONG, WRONG_POOLS, spoil
from tests.configuration.objects import POOL as GOOD_POOL

pytestmark = pytest.mark.lab

Case = tuple[Definition, dict[str, Any]]
# How the API server says what is allowed, where the rule is not ours.
SAYS = re.compile(
    r"allowed: |must be of type|should be (greater|less|at least)|supported values|Required value|unknown field"
    r"|Duplicate value|Too long|Too many|may not be more than|must consist of|should have at least|cannot unmarshal"
    r"|must be PredictiveScaler"
)
# Who may not even be asked: the URL is made of these.
IN_THE_URL = {"metadata.namespace", "apiVersion", "kind"}


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[KubeClient]:
    """The administrator, with the definitions installed as the documentation says."""
    printed = CliRunner().invoke(crd, [])
    assert printed.exit_code == 0
    done = lab.kubernetes.run("apply", "--server-side", "-f", "-", stdin=printed.output)
    assert done.code == 0, done.output
    names = [f"crd/{name.removesuffix('.yaml')}" for name in documents()]
    done = lab.kubernetes.run("wait", "--for=condition=Established", *names, "--timeout=30s")
    assert done.code == 0, done.output
    made = connect(Path(lab.kubernetes.admin_kubeconfig))
    yield made
    made.close()


def ask(client: KubeClient, kind: Definition, item: dict[str, Any]) -> Answer:
    """What the API server says to an object, without keeping it."""
    scope = "namespaces/default/" if kind.namespaced else ""
    path = f"/apis/lagcast.io/v1alpha1/{scope}{kind.plural}"
    return client.call("POST", path, query={"dryRun": "All", "fieldValidation": "Strict"}, body=item)


def wrong() -> list[tuple[Definition, str, Any]]:
    table = [(SCALER, field, value) for field, value, _ in WRONG if field not in IN_THE_URL]
    return table + [(POOL, field, value) for field, value, _ in WRONG_POOLS if field not in IN_THE_URL]


def base(kind: Definition) -> dict[str, Any]:
    return GOOD if kind is SCALER else GOOD_POOL


def test_the_definitions_are_accepted_as_structural(client: KubeClient) -> None:
    for kind in (SCALER, POOL):
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.name}"
        conditions = {c["type"]: c for c in client.get(path, "read it")["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert conditions["NamesAccepted"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions


def test_the_table_is_long_enough() -> None:
    assert len(wrong()) >= 60


@pytest.mark.parametrize(("kind", "field", "value"), wrong())
def test_a_wrong_object_is_refused_by_both_and_the_field_is_named(
    client: KubeClient, kind: Definition, field: str, value: Any
) -> None:
    item = spoil(base(kind), field, value)
    answer = ask(client, kind, item)
    assert answer.code in (400, 422), answer
    assert SAYS.search(answer.message), answer.message
    assert "evaluat" not in answer.message, "a rule that cannot be evaluated says nothing to a user"
    faults = parse(item).faults
    assert faults
    if field.startswith("spec."):  # a field that both name
        assert any(_paths(fault) & _paths(answer.message) for fault in faults), (faults, answer.message)


def _paths(text: str) -> set[str]:
    """Paths below spec that a message names, and those above them: one may name a map, the other its entry."""
    found = re.findall(r"\bspec(?:\.[A-Za-z]+)*", text)
    parts = [path.split(".") for path in found]
    return {".".join(path[:length]) for path in parts for length in range(2, len(path) + 1)}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(SCALER, field, value) for field, value in RIGHT] + [(POOL, field, value) for field, value in RIGHT_POOLS],
)
def test_a_right_object_is_taken_by_both(client: KubeClient, kind: Definition, field: str, value: Any) -> None:
    item = spoil(base(kind), field, value)
    answer = ask(client, kind, item)
    assert answer.ok, answer.message
    assert parse(item).faults == ()
    # And what the API server made of it, defaults and all, is read just so.
    stored = parse(answer.body)
    assert stored.faults == ()
    assert stored.resource is not None
    mine = parse(item).resource
    assert mine is not None
    assert stored.resource.spec == mine.spec


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (
            "spec.replicas.leadTime",
            ["0s", "99ms", "100ms", "6h", "6h1ms", "0d", "0d1s", "360m", "21600s", "21600001ms", "1h60m", "9999d",
             "5m5m", "1s1m", "1", "s", " 1s", "1s ", "1.5s", "-1s", "+1s", "١s", "999999999ms", "0000001h", "3650d1ms"],
        ),
        (
            "spec.replicas.serviceRate",
            ["0.1", "0", "0.000001", "0.0000009", "1m", "1000000", "1000001", "1M", "1.1M", "1k", "1G", "1e3", ".5",
             "5.", "0.1234567891", "999999999999", "1000000000000", "100m", "0x1", "+1"],
        ),
        (
            "spec.objective.share",
            ["99%", "0%", "100%", "100.0%", "99.9999999991%", "0.000000001%", "150%", "99", "99 %", "-1%", "1e1%", "%"],
        ),
    ],
)  # fmt: skip
def test_the_same_spellings_and_bounds(client: KubeClient, field: str, values: list[str]) -> None:
    differing = {}
    for value in values:
        item = spoil(GOOD, field, value)
        answer = ask(client, SCALER, item)
        assert "evaluat" not in answer.message
        if answer.ok != (not parse(item).faults):
            differing[value] = (answer.message, parse(item).faults)
    assert differing == {}


def test_validate_says_offline_what_the_api_server_says(client: KubeClient, lab: Lab, tmp_path: Path) -> None:
    files = {"right": GOOD, "wrong": spoil(GOOD, "spec.replicas.leadTime", "2 minutes"), "pool": GOOD_POOL}
    for name, item in files.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(item), encoding="utf-8")
        offline = CliRunner().invoke(validate, [str(path)])
        online = lab.kubernetes.run("apply", "--dry-run=server", "-f", str(path))
        assert (offline.exit_code == 0) == (online.code == 0) == (name != "wrong"), (offline.output, online.output)
        if name == "wrong":
            rule = (
                'allowed: whole numbers with units d, h, m, s, ms, the largest first, such as "720ms", "10s", "1h30m"'
            )
            assert rule in offline.output
            assert rule in online.output
            assert "spec.replicas.leadTime" in offline.output
            assert "spec.replicas.leadTime" in online.output


def test_kubectl_explain_reads_well(client: KubeClient, lab: Lab) -> None:
    said = " ".join(lab.kubernetes.run("explain", "predictivescaler.spec.replicas").output.split())
    assert "How many there may be, and what one does." in said
    assert "max <integer> -required- Never more replicas." in said
    assert "Default 2m: image there, model of a few GB to load." in said
    said = " ".join(lab.kubernetes.run("explain", "gpunodepool.spec.provider").output.split())
    assert "exactly one of these" in said
    every = lab.kubernetes.run("explain", "predictivescaler", "--recursive").output
    for field in ("bootstrapServers", "within", "conditions", "lastTransitionTime", "desiredReplicas"):
        assert field in every


def test_the_examples_of_the_repository_are_taken(client: KubeClient, lab: Lab) -> None:
    for path in sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml")):
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if not item["apiVersion"].startswith("lagcast.io/"):  # what the pools are made of: test_nodepools.py
                continue
            item["metadata"].pop("namespace", None)
            kind = SCALER if item["kind"] == SCALER.kind else POOL
            answer = ask(client, kind, item)
            assert answer.ok, answer.message
